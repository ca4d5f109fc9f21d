//! What can go wrong, and where in the expression.

use std::fmt;

/// A place in the source text. Lines and columns count from 1, the offset from 0; columns and
/// offset count characters (code points).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
    pub offset: usize,
}

impl Position {
    /// The first character.
    pub const START: Position = Position { line: 1, column: 1, offset: 0 };

    pub(crate) fn of_byte(source: &str, byte: usize) -> Position {
        Self::of(source.char_indices().take_while(|&(at, _)| at < byte).map(|(_, c)| c))
    }

    /// From a line and a column that count from 1; beyond the end of the text is its end.
    pub(crate) fn of_line(source: &str, line: usize, column: usize) -> Position {
        let mut left = line.saturating_sub(1);
        let before: usize = source
            .split_inclusive('\n')
            .take_while(|_| {
                let more = left > 0;
                left = left.saturating_sub(1);
                more
            })
            .map(|l| l.chars().count())
            .sum();
        Self::of(source.chars().take(before + column.saturating_sub(1)))
    }

    fn of(before: impl Iterator<Item = char>) -> Position {
        before.fold(Self::START, |at, c| {
            let offset = at.offset + 1;
            if c == '\n' {
                Position { line: at.line + 1, column: 1, offset }
            } else {
                Position { column: at.column + 1, offset, ..at }
            }
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The kinds of failure, each of which a caller may want to treat differently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is not an expression.
    Syntax,
    /// The expression has no value for these variables.
    Evaluation,
    /// A variable or function that nobody defined.
    UnknownName(String),
    /// A variable, or the result, is of a type CEL does not have.
    Conversion,
    /// A limit of [`crate::Limits`], by its name, with the value it has.
    Limit { name: &'static str, allowed: u64 },
    /// The evaluator failed; the expression may be right.
    Internal,
}

/// A failure: what, and where if that is known.
///
/// The message never holds a value of a variable: those may be secret, and of any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub position: Option<Position>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), position: None }
    }

    pub(crate) fn syntax(message: String) -> Self {
        Self::new(ErrorKind::Syntax, message)
    }

    pub(crate) fn limit(name: &'static str, allowed: impl TryInto<u64>, text: &str, unit: &str) -> Self {
        let allowed = allowed.try_into().unwrap_or(u64::MAX);
        Self::new(ErrorKind::Limit { name, allowed }, format!("{text} {allowed} {unit}"))
    }

    /// A value that CEL has no type for; `message` says where it stands.
    pub fn conversion(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conversion, message)
    }

    pub(crate) fn at(mut self, position: Position) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// The name of the limit that was exceeded.
    pub fn limit_name(&self) -> Option<&'static str> {
        match self.kind {
            ErrorKind::Limit { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{position}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let source = "é +\n ü";
        let at = |line, column, offset| Position { line, column, offset };
        assert_eq!(Position::of_byte(source, 0), Position::START);
        assert_eq!(Position::of_byte(source, 3), at(1, 3, 2));
        assert_eq!(Position::of_byte(source, 6), at(2, 2, 5));
        assert_eq!(Position::of_line(source, 2, 2), at(2, 2, 5));
        assert_eq!(Position::of_line(source, 9, 9), at(2, 3, 6));
    }
}
