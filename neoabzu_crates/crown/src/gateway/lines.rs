//! Server-sent events on their way through: whole lines only, and what they say.
//!
//! The format is that of the OpenAI API: `data: {chunk}` per event, `data: [DONE]` last. Comments and the other
//! fields of an event (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) are passed on and say nothing.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem, memrchr};
use neoabzu_kimicho::{Secret, clean};
use serde::Deserialize;
use serde_json::Value;

/// The longest line, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Whole lines, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Piece {
    /// What may be passed on. With an end, nothing after it.
    pub lines: Bytes,
    /// Whether they hold a piece of an answer.
    pub says: bool,
    pub end: Option<End>,
}

/// How a stream ends.
#[derive(Debug, PartialEq)]
pub enum End {
    /// With its end mark.
    Done,
    /// With an error, whose message is without secrets. The line itself is not among the lines.
    Failed(String),
}

/// Cuts a byte stream into whole lines.
#[derive(Debug)]
pub struct Lines {
    rest: BytesMut,
    secrets: Vec<Secret>,
    in_event: bool,
    /// Whether there was a piece of an answer.
    begun: bool,
}

impl Lines {
    /// `secrets` are masked in the messages of errors.
    pub fn new(secrets: Vec<Secret>) -> Lines {
        Lines { rest: BytesMut::new(), secrets, in_event: false, begun: false }
    }

    /// Takes bytes in and returns the whole lines there are.
    ///
    /// # Errors
    /// A line is too long.
    pub fn feed(&mut self, data: &Bytes) -> Result<Piece, &'static str> {
        let whole = match memrchr(b'\n', data) {
            None => {
                self.rest.extend_from_slice(data);
                Bytes::new()
            }
            Some(last) => {
                let head = data.slice(..=last);
                let whole = if self.rest.is_empty() {
                    head
                } else {
                    self.rest.extend_from_slice(&head);
                    self.rest.split().freeze()
                };
                self.rest.extend_from_slice(&data[last + 1..]);
                whole
            }
        };
        match self.rest.len() > MAX_LINE {
            true => Err("a line of the stream is too long"),
            false => Ok(self.read(whole)),
        }
    }

    /// What is left at the end of the bytes. It counts as a line if it is a whole one, which can be told of an
    /// end mark and of an error only.
    pub fn finish(&mut self) -> Piece {
        // A part of a line may begin with anything.
        self.begun = true;
        self.rest.extend_from_slice(b"\n");
        let whole = self.rest.split().freeze();
        let piece = self.read(whole);
        if piece.end.is_some() { piece } else { Piece::default() }
    }

    /// An error as an event, after whatever was passed on before it.
    pub fn error_event(&self, message: &str) -> Bytes {
        let error = serde_json::json!({"error": {"message": message, "type": "server_error", "param": null, "code": "stream_broken"}});
        let end_before = if self.in_event { "\n" } else { "" };
        Bytes::from(format!("{end_before}data: {error}\n\n"))
    }

    fn read(&mut self, whole: Bytes) -> Piece {
        let (mut at, mut says) = (0, false);
        while let Some(length) = memchr(b'\n', &whole[at..]) {
            let (line, next) = (&whole[at..at + length], at + length + 1);
            let data = data_of(line);
            match data {
                Some(b"[DONE]") => return Piece { lines: ended(&whole, next), says, end: Some(End::Done) },
                // What an answer begins with. Later on it is nobody's business here.
                Some(data) if !data.is_empty() && !self.begun && !data.starts_with(b"{") => {
                    let end = Some(End::Failed("an event that is no JSON object".to_owned()));
                    return Piece { lines: whole.slice(..at), says, end };
                }
                Some(data) if !data.is_empty() => {
                    if let Some(message) = self.error_in(data) {
                        let end = Some(End::Failed(message));
                        return Piece { lines: whole.slice(..at), says, end };
                    }
                    says = true;
                    self.begun = true;
                }
                _ => {}
            }
            self.in_event = data.is_some();
            at = next;
        }
        Piece { lines: whole, says, end: None }
    }

    /// The message, if these contents of an event are an error.
    fn error_in(&self, data: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Event {
            error: Option<Value>,
        }
        // Nearly every event is none, and need not be parsed.
        memmem::find(data, b"\"error\"")?;
        let error = serde_json::from_slice::<Event>(data).ok()?.error?;
        let message = error.get("message").unwrap_or(&error).as_str().unwrap_or("no message");
        Some(clean(message, 300, &self.secrets.iter().collect::<Vec<_>>()))
    }
}

/// The contents of a `data:` line. The first line may begin with a byte order mark.
pub fn data_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}

/// The lines up to `end`, and the blank line that ends the event.
fn ended(lines: &Bytes, end: usize) -> Bytes {
    for blank in [&b"\n"[..], b"\r\n"] {
        if lines[end..].starts_with(blank) {
            return lines.slice(..end + blank.len());
        }
    }
    Bytes::from([&lines[..end], b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines::new(vec![Secret::new("sk-1")])
    }

    fn fed(text: &str) -> Piece {
        lines().feed(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn lines_are_passed_on_whole() {
        let text = b"\xef\xbb\xbfdata: {\"a\": 1}\n\nid: 1\r\ndata: [DONE]\r\n\r\n".as_slice();
        for size in 1..=text.len() {
            let mut lines = lines();
            let (mut passed, mut says, mut end) = (Vec::new(), false, None);
            for chunk in text.chunks(size) {
                let piece = lines.feed(&Bytes::copy_from_slice(chunk)).unwrap();
                assert!(piece.lines.is_empty() || piece.lines.ends_with(b"\n"));
                passed.extend_from_slice(&piece.lines);
                says |= piece.says;
                end = piece.end;
                if end.is_some() {
                    break;
                }
            }
            assert!(passed == text || passed == [&text[..text.len() - 2], b"\n"].concat(), "{size}");
            assert_eq!((says, end), (true, Some(End::Done)), "{size}");
        }
        let piece = fed("data: {\"x\": \"[DONE]\"}\ndata: [DO");
        assert_eq!((piece.lines.len(), piece.says, piece.end), (22, true, None));
        assert!(lines().feed(&Bytes::from(vec![b'x'; MAX_LINE + 1])).is_err());
    }

    #[test]
    fn comments_and_other_fields_say_nothing() {
        let text = ": PROCESSING\n\nevent: chunk\nid: 7\nretry: 1000\ndata:\ndata\n\n";
        assert_eq!(fed(text), Piece { lines: Bytes::from(text), says: false, end: None });
        assert!(fed(": \ndata: {}\n").says);
    }

    #[test]
    fn an_error_ends_a_stream_wherever_it_stands() {
        let error = "data: {\"error\": {\"message\": \"no\\nroom for sk-1\"}}\n";
        let failed = || Some(End::Failed("no room for ***".to_owned()));
        for before in ["", ": hi\n\n", "event: error\n", "data: {\"choices\": []}\n\n"] {
            let piece = fed(&format!("{before}{error}\ndata: [DONE]\n\n"));
            assert_eq!((&piece.lines[..], piece.end), (before.as_bytes(), failed()));
        }
        let mut cut = lines();
        cut.feed(&Bytes::from(error.trim_end())).unwrap();
        assert_eq!(cut.finish().end, failed());
        for no_error in
            [r#"{"error": null}"#, r#"{"choices": [{"delta": {"content": "\"error\""}, "error": 1}]}"#]
        {
            assert_eq!(fed(&format!("data: {no_error}\n")).end, None, "{no_error}");
        }
    }

    #[test]
    fn an_answer_begins_with_an_object() {
        for text in ["Internal Server Error", "<html>", "[1]", "\"x\""] {
            let piece = fed(&format!(": hi\ndata: {text}\n\n"));
            assert_eq!((&piece.lines[..], piece.says), (b": hi\n".as_slice(), false), "{text}");
            assert!(matches!(piece.end, Some(End::Failed(_))), "{text}");
        }
        let several = "data: {\ndata: \"a\": 1}\n\ndata: x\n\n";
        assert_eq!(fed(several), Piece { lines: Bytes::from(several), says: true, end: None });
    }

    #[test]
    fn what_is_left_at_the_end() {
        for (text, end, passed) in [
            ("data: [DONE]", Some(End::Done), "data: [DONE]\n\n"),
            ("data: [DO", None, ""),
            ("data: {\"choices\": [", None, ""),
            ("", None, ""),
        ] {
            let mut lines = lines();
            assert_eq!(lines.feed(&Bytes::from(text)).unwrap().lines.len(), 0);
            let piece = lines.finish();
            assert_eq!((&piece.lines[..], piece.end), (passed.as_bytes(), end));
        }
    }

    #[test]
    fn an_error_of_ours_is_an_event_of_its_own() {
        for (before, begins) in
            [("data: {}\n", "\ndata: {"), ("data: {}\n\n", "data: {"), ("event: x\n", "data: {")]
        {
            let mut lines = lines();
            lines.feed(&Bytes::from(before)).unwrap();
            let event = lines.error_event("why");
            assert!(event.starts_with(begins.as_bytes()) && event.ends_with(b"}\n\n"), "{before}");
        }
    }
}
