//! The header that names the span a request belongs to.

/// Whether a text is a `traceparent` of the W3C's Trace Context (<https://www.w3.org/TR/trace-context/>).
pub fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let nothing = |part: &str| part.bytes().all(|b| b == b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, _] = parts.as_slice() else { return false };
    parts.iter().zip([2, 32, 16, 2]).all(|(part, length)| part.len() == length && hex(part))
        && *version != "ff"
        && !nothing(trace)
        && !nothing(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let made = |version: &str, trace: &str, span: &str| {
            format!("{version}-{}-{}-01", trace.repeat(32), span.repeat(16))
        };
        assert!(is_traceparent(&made("00", "a", "b")));
        for text in [
            "",
            "00-x\r\nEvil: 1",
            &made("00", "A", "b"),
            &made("ff", "a", "b"),
            &made("00", "0", "b"),
            &made("00", "a", "0"),
            &format!("{}-00", made("00", "a", "b")),
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
