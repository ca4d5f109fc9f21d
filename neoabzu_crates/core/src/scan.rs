//! One pass over the text of an expression, before the parser sees it.
//!
//! The parser of the `cel` crate is recursive and cannot be interrupted, so what it would have to
//! recurse into is counted here first, in linear time and constant space per open bracket.

use crate::error::{Error, Position};
use crate::limits::Limits;

/// Upper bounds on what parsing the text can need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Deepest nesting of brackets and conditionals: how deep the parser recurses.
    pub nesting: usize,
    /// Deepest chain of operators, selections and calls: how deep the syntax tree can become.
    pub depth: usize,
    pub tokens: usize,
}

/// What stands inside one pair of brackets, or at the top level.
#[derive(Default)]
struct Frame {
    /// Operators since the last separator, and the deepest bracket among their operands.
    links: usize,
    child: usize,
    /// Deepest operand of `&&` and `||` so far, how many of those there are, and `?` likewise.
    term: usize,
    logical: usize,
    conditionals: usize,
    /// Deepest of the elements separated by commas so far.
    element: usize,
}

impl Frame {
    fn end_term(&mut self) {
        self.term = self.term.max(self.links + self.child);
        self.links = 0;
        self.child = 0;
    }

    fn end_element(&mut self) {
        self.end_term();
        // The parser builds `&&` and `||` as balanced trees.
        let balanced = 2 * (usize::BITS - self.logical.leading_zeros()) as usize;
        self.element = self.element.max(self.term + balanced + self.conditionals);
        self.term = 0;
        self.logical = 0;
        self.conditionals = 0;
    }
}

/// Counts what the parser would recurse into.
///
/// # Errors
/// A limit that the text exceeds.
pub(crate) fn extent(source: &str, limits: &Limits) -> Result<Extent, Error> {
    if source.len() > limits.source_bytes {
        return Err(Error::limit(
            "source_bytes",
            limits.source_bytes,
            "the expression is longer than",
            "bytes",
        ));
    }
    let mut scan = Scan::new(source);
    let mut extent = Extent::default();
    let mut frames = vec![Frame::default()];
    let mut conditionals = 0usize;
    while let Some((at, token)) = scan.next() {
        extent.tokens += 1;
        if extent.tokens > limits.tokens {
            return Err(Error::limit("tokens", limits.tokens, "the expression has more than", "tokens")
                .at(Position::of_byte(source, at)));
        }
        let inside = frames.len() > 1;
        let frame = frames.last_mut().expect("the top level is never closed");
        match token {
            b'(' | b'[' | b'{' => {
                frame.links += 1;
                frames.push(Frame::default());
            }
            b')' | b']' | b'}' if inside => {
                let mut closed = frames.pop().expect("checked");
                conditionals -= closed.conditionals;
                closed.end_element();
                let parent = frames.last_mut().expect("the top level is never closed");
                parent.child = parent.child.max(closed.element + 1);
            }
            b',' => {
                conditionals -= frame.conditionals;
                frame.end_element();
            }
            b'&' | b'|' => {
                frame.end_term();
                frame.logical += 1;
            }
            b'?' => {
                frame.end_term();
                frame.conditionals += 1;
                conditionals += 1;
            }
            b':' => frame.end_term(),
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'i' => frame.links += 1,
            _ => {}
        }
        extent.nesting = extent.nesting.max(frames.len() - 1 + conditionals);
        if extent.nesting > limits.nesting {
            return Err(Error::limit(
                "nesting",
                limits.nesting,
                "the expression is nested deeper than",
                "levels",
            )
            .at(Position::of_byte(source, at)));
        }
    }
    while let Some(mut frame) = frames.pop() {
        frame.end_element();
        extent.depth = extent.depth.max(frame.element + 1);
        if let Some(parent) = frames.last_mut() {
            parent.child = parent.child.max(frame.element + 1);
        }
    }
    if extent.depth > limits.depth {
        return Err(Error::limit("depth", limits.depth, "the expression chains more than", "operations")
            .at(Position::START));
    }
    Ok(extent)
}

/// A fault that the parser describes in terms of its grammar and that has a plainer name.
pub(crate) fn plain_fault(source: &str) -> Option<Error> {
    let mut scan = Scan::new(source);
    let mut open: Vec<(u8, usize)> = Vec::new();
    while let Some((at, token)) = scan.next() {
        match token {
            b'(' | b'[' | b'{' => open.push((token, at)),
            b')' | b']' | b'}' => match open.pop() {
                Some((opened, _)) if closing(opened) == token => {}
                Some((opened, from)) => {
                    let from = Position::of_byte(source, from);
                    return Some(
                        Error::syntax(format!(
                            "'{}' does not close '{}' of line {}, column {}",
                            token as char, opened as char, from.line, from.column
                        ))
                        .at(Position::of_byte(source, at)),
                    );
                }
                None => {
                    return Some(
                        Error::syntax(format!("'{}' closes nothing", token as char))
                            .at(Position::of_byte(source, at)),
                    );
                }
            },
            UNTERMINATED => {
                return Some(
                    Error::syntax("the string is not closed".to_owned()).at(Position::of_byte(source, at)),
                );
            }
            _ => {}
        }
    }
    let (opened, at) = open.pop()?;
    Some(Error::syntax(format!("'{}' is not closed", opened as char)).at(Position::of_byte(source, at)))
}

fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}

/// Tokens by their first byte: `a` for a name, `i` for `in`, `0` for a number, `"` for a string,
/// `&` and `|` for the logical operators, anything else as it stands.
struct Scan<'s> {
    bytes: &'s [u8],
    at: usize,
}

const UNTERMINATED: u8 = 0;

impl<'s> Scan<'s> {
    fn new(source: &'s str) -> Self {
        Scan { bytes: source.as_bytes(), at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && keep(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            self.skip_while(|b| b.is_ascii_whitespace() || b == 0x0b);
            if self.peek(0) == b'/' && self.peek(1) == b'/' {
                self.skip_while(|b| b != b'\n');
            } else {
                break;
            }
        }
        let start = self.at;
        let first = *self.bytes.get(start)?;
        let token = match first {
            b'"' | b'\'' => self.string(false),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.name(),
            b'0'..=b'9' => {
                self.number();
                b'0'
            }
            b'`' => {
                self.at += 1;
                self.skip_while(|b| b != b'`' && b != b'\n');
                self.at = (self.at + 1).min(self.bytes.len());
                b'a'
            }
            b'&' | b'|' | b'=' | b'!' | b'<' | b'>' => {
                self.at += 1;
                if matches!((first, self.peek(0)), (b'&', b'&') | (b'|', b'|') | (_, b'=')) {
                    self.at += 1;
                }
                first
            }
            _ => {
                self.at += 1;
                self.skip_while(|b| first >= 0x80 && b >= 0x80);
                first
            }
        };
        Some((start, token))
    }

    /// A name, or the prefix of a string (`r`, `b`, `br`, `rb` in either case) and that string.
    fn name(&mut self) -> u8 {
        let start = self.at;
        self.skip_while(|b| b == b'_' || b.is_ascii_alphanumeric());
        let name = &self.bytes[start..self.at];
        if matches!(self.peek(0), b'"' | b'\'') {
            let raw = name.iter().any(|b| b.eq_ignore_ascii_case(&b'r'));
            let prefix = match name {
                [one] => matches!(one, b'r' | b'R' | b'b' | b'B'),
                [one, two] => matches!(
                    (one.to_ascii_lowercase(), two.to_ascii_lowercase()),
                    (b'b', b'r') | (b'r', b'b')
                ),
                _ => false,
            };
            if prefix {
                return self.string(raw);
            }
        }
        if name == b"in" { b'i' } else { b'a' }
    }

    fn number(&mut self) {
        self.skip_while(|b| b.is_ascii_alphanumeric());
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_alphanumeric());
        }
        let exponent = matches!(self.bytes[self.at - 1], b'e' | b'E');
        if exponent && matches!(self.peek(0), b'+' | b'-') && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
        }
    }

    fn string(&mut self, raw: bool) -> u8 {
        let quote = self.bytes[self.at];
        let long = self.peek(1) == quote && self.peek(2) == quote;
        self.at += if long { 3 } else { 1 };
        while self.at < self.bytes.len() {
            let byte = self.bytes[self.at];
            if byte == b'\\' && !raw {
                self.at += 2;
            } else if byte == quote && (!long || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.at += if long { 3 } else { 1 };
                return b'"';
            } else if !long && matches!(byte, b'\n' | b'\r') {
                return UNTERMINATED;
            } else {
                self.at += 1;
            }
        }
        self.at = self.bytes.len();
        UNTERMINATED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(source: &str) -> Extent {
        extent(source, &Limits::DEFAULT).unwrap()
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        for source in
            ["'((((('", "\"[[[\" // ((((\n + 1", "r'\\' + '('", "'''it's ((('''", "b'({' == b'\\'('"]
        {
            assert_eq!(measure(source).nesting, 0, "{source}");
        }
    }

    #[test]
    fn depth_covers_the_left_and_the_right_end_of_a_chain() {
        assert!(measure("((1)) + 2 + 3 + 4").depth >= 6);
        assert!(measure("1 + 2 + 3 + ((4))").depth >= 3);
        assert!(measure(&"a.".repeat(100)).depth >= 100);
        assert!(measure(&vec!["x == 'a'"; 300].join(" || ")).depth < 40, "balanced by the parser");
    }

    #[test]
    fn every_limit_is_told_by_name() {
        let name = |source: &str| extent(source, &Limits::DEFAULT).unwrap_err().limit_name().unwrap();
        assert_eq!(name(&" ".repeat(1 << 20)), "source_bytes");
        assert_eq!(name(&"(".repeat(1000)), "nesting");
        assert_eq!(name(&"a?b:".repeat(200)), "nesting");
        assert_eq!(name(&"1,".repeat(5000)), "tokens");
        assert_eq!(name(&"a+".repeat(1000)), "depth");
    }

    #[test]
    fn faults_have_plain_names() {
        let fault = |source: &str| plain_fault(source).map(|e| e.message).unwrap_or_default();
        assert_eq!(fault("f(1"), "'(' is not closed");
        assert_eq!(fault("f(1]"), "']' does not close '(' of line 1, column 2");
        assert_eq!(fault("1)"), "')' closes nothing");
        assert_eq!(fault("x == 'abc"), "the string is not closed");
        assert_eq!(fault("x + 1"), "");
    }
}
