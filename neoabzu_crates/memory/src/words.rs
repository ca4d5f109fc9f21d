//! Words of a text, as far as the search cares: runs of letters and digits, with the marks that are written over and
//! below them. The index leaves accents out, composed ("\u{e9}") or not ("e\u{301}").

use std::cmp::Reverse;
use std::collections::HashSet;

/// Different words of a query that are looked at.
const MAX_WORDS: usize = 32;
/// Bytes of a word that are looked at.
const MAX_BYTES: usize = 128;

fn split(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|letter: char| !letter.is_alphanumeric() && !is_mark(letter));
    // A mark over something else begins no word.
    runs.map(|run| run.trim_start_matches(is_mark)).filter(|word| !word.is_empty())
}

/// The blocks of combining marks for letters of any script.
fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// How many words a text has: its length for the ranking.
pub(crate) fn count(text: &str) -> i64 {
    split(text).count() as i64
}

/// The different words of a query in lower case; of very many the longest, which are rare as a rule. Only letters,
/// digits and marks are left, so that none of them can be taken for an operator once it stands in quotes.
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
        assert_eq!(distinct("re\u{301}sume\u{301}=\u{338}x"), ["re\u{301}sume\u{301}", "x"]);
        assert_eq!(count("\u{301}re\u{301}sume\u{301} \u{301} na\u{308}ive"), 2);
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
