//! Words of a text, as far as the search cares: runs of letters and digits.

use std::cmp::Reverse;
use std::collections::HashSet;

/// Different words of a query that are looked at.
const MAX_WORDS: usize = 32;
/// Bytes of a word that are looked at.
const MAX_BYTES: usize = 128;

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// How many words a text has: its length for the ranking.
pub(crate) fn count(text: &str) -> i64 {
    split(text).count() as i64
}

/// The different words of a query in lower case; of very many the longest, which are rare as a rule. Only letters and
/// digits are left, so that none of them can be taken for an operator once it stands in quotes.
pub(crate) fn distinct(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let words = split(text).filter(|word| word.len() <= MAX_BYTES).map(str::to_lowercase);
    let mut words: Vec<String> = words.filter(|word| seen.insert(word.clone())).collect();
    if words.len() > MAX_WORDS {
        words.sort_by_key(|word| Reverse(word.chars().count()));
        words.truncate(MAX_WORDS);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            distinct("Errno 111: Connection_refused (connection)"),
            ["errno", "111", "connection", "refused"]
        );
        assert_eq!(count("Errno 111: Connection_refused (connection)"), 5);
        assert_eq!(distinct("\"a\" OR * NEAR(b) ^c\0d \u{301}"), ["a", "or", "near", "b", "c", "d"]);
        assert!(distinct(" \n\"'*^-(): ").is_empty());
    }

    #[test]
    fn a_query_is_cut_to_its_longest_words() {
        let text: String = (0..100_000).map(|n| format!("w{n} ")).collect();
        let words = distinct(&text);
        assert_eq!(words.len(), MAX_WORDS);
        assert!(words.iter().all(|word| word.len() == 6), "{words:?}");
        assert!(distinct(&"x".repeat(1 << 20)).is_empty());
    }
}
