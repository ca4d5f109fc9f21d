//! The `crown` object within the first event of a servant's stream.

use bytes::Bytes;
use memchr::memmem;

use super::lines::data_of;
use crate::trail::Envelope;

/// Puts the object into the first event, as its first member. An event that is empty, or has one by that name, stays
/// as it is.
pub fn with_envelope(lines: Bytes, crown: &Envelope<'_>) -> Bytes {
    let Some(at) = place(&lines) else { return lines };
    let mut told = Vec::with_capacity(lines.len() + 512);
    told.extend_from_slice(&lines[..at]);
    told.extend_from_slice(b"\"crown\":");
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(&mut told, crown);
    told.push(b',');
    told.extend_from_slice(&lines[at..]);
    told.into()
}

/// Where the members of the first event begin.
fn place(lines: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if let Some(data) = data_of(line).filter(|data| !data.is_empty()) {
            let members = data.strip_prefix(b"{")?.trim_ascii_start();
            let fits = members.starts_with(b"\"") && !has_one(members);
            let before = memchr::memchr(b'{', line)?;
            return fits.then_some(start + before + 1);
        }
        start += line.len();
    }
    None
}

fn has_one(members: &[u8]) -> bool {
    const NAME: &[u8] = b"\"crown\"";
    // As a value it stands before a comma, as a name before a colon.
    memmem::find_iter(members, NAME).any(|at| members[at + NAME.len()..].trim_ascii_start().starts_with(b":"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn told(lines: &str) -> String {
        let crown = Envelope {
            servant: "a",
            model: "m",
            source: "servant",
            reason: "it is healthy",
            rule: None,
            trail: &[],
            memory: None,
            latency_seconds: Duration::from_millis(5),
        };
        String::from_utf8(with_envelope(Bytes::copy_from_slice(lines.as_bytes()), &crown).to_vec()).unwrap()
    }

    #[test]
    fn the_first_event_has_it() {
        for (before, after) in
            [("", "\n\n"), (": hi\nid: {1}\n\n", "\r\n\r\ndata: {\"id\":2}\n\n"), ("\u{feff}", "\n")]
        {
            for data in ["data: {\"id\":1.10}", "data:{ \"id\":1.10}"] {
                let text = told(&format!("{before}{data}{after}"));
                let rest = text.strip_prefix(before).unwrap().strip_suffix(after).unwrap();
                let event: Value = serde_json::from_str(rest.strip_prefix("data:").unwrap()).unwrap();
                assert_eq!(event["crown"]["servant"], "a");
                assert_eq!((&event["crown"]["trail"], &event["id"]), (&json!([]), &json!(1.1)));
                assert!(rest.ends_with("\"id\":1.10}"), "what came is passed on as it came");
            }
        }
        assert!(told("data: {\"model\":\"crown\",\"id\":1}\n\n").starts_with("data: {\"crown\":{"));
        assert!(told("data: {\ndata:\"id\":1}\n\n").starts_with("data: {\ndata:\"id\""));
    }

    #[test]
    fn an_event_that_cannot_have_it_stays_as_it_is() {
        for lines in
            ["data: {}\n\n", "data: { }\n\n", "data: {\"crown\":1}\n\n", "data: [DONE]\n\n", ": hi\n\n", ""]
        {
            assert_eq!(told(lines), lines);
        }
    }
}
