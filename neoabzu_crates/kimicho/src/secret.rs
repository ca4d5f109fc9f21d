//! Text that must not be shown.

use std::fmt;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// A key, token or password. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether an HTTP header can carry it: visible ASCII, and not empty.
    pub fn fits_header(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|b| (0x21..=0x7e).contains(&b))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Makes a peer's text fit for a message: printable, on one line, at most `limit` characters, without
/// the secrets given.
pub fn clean(text: &str, limit: usize, secrets: &[&Secret]) -> String {
    // A secret the cut would halve must still be recognised: mask before cutting.
    let reach = text.char_indices().nth(limit.saturating_mul(8)).map_or(text.len(), |(at, _)| at);
    let mut text = text[..reach].to_owned();
    for secret in secrets.iter().filter(|secret| secret.0.len() >= 4) {
        text = text.replace(&secret.0, MASK);
    }
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || hidden(c)).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    line.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("sk-abcdef");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(clean("wrong key sk-abcdef\r\n\u{1b}[31m", 60, &[&secret]), "wrong key *** [31m");
        assert_eq!(clean("aaaa sk-abcdef", 7, &[&secret]), "aaaa *…");
        assert_eq!(clean("é".repeat(100).as_str(), 3, &[]), "éé…");
    }

    #[test]
    fn what_a_header_cannot_carry() {
        for text in ["", "a b", "a\r\nX: 1", "kéy", "\u{7f}"] {
            assert!(!Secret::new(text).fits_header(), "{text:?}");
        }
        assert!(Secret::new("sk-1~!").fits_header());
    }
}
