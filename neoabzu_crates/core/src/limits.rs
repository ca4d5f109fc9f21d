//! The bounds every evaluation keeps to.

use crate::cost;
use crate::error::Error;

/// What an expression may cost. Exceeding one is an error that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the source text, in bytes of UTF-8.
    pub source_bytes: usize,
    /// Tokens in the source text.
    pub tokens: usize,
    /// Nesting of brackets and conditionals. The CEL specification asks for at least 32.
    pub nesting: usize,
    /// Operators, selections and calls that build on one another.
    pub depth: usize,
    /// Nodes of the syntax tree once its macros are expanded.
    pub nodes: usize,
    /// Work of one evaluation. One step is one node evaluated, one element copied or compared, or
    /// 128 bytes of text; a million take about 0.1 s.
    pub steps: u64,
    /// Nesting of lists and maps in a variable.
    pub value_depth: usize,
    /// Size of the variables an expression reads, in steps.
    pub input: u64,
    /// Size of a result, in steps.
    pub output: u64,
    /// Wall time of one evaluation, in milliseconds: for what the steps miss, and far above it, so that a
    /// machine under load does not fail what an idle one does not.
    pub milliseconds: u64,
}

impl Limits {
    /// The limits in force.
    pub const DEFAULT: Limits = Limits {
        source_bytes: 16 * 1024,
        tokens: 4_000,
        nesting: 64,
        depth: 250,
        nodes: 20_000,
        steps: 1_000_000,
        value_depth: 64,
        input: 1_000_000,
        output: 100_000,
        milliseconds: 3_000,
    };

    /// What text of `bytes` bytes costs as a part of the variables, in steps.
    pub fn steps_of_text(bytes: usize) -> u64 {
        cost::text(bytes)
    }

    /// The error for variables that are larger than `input`: whoever converts them can stop there.
    pub fn input_exceeded(&self) -> Error {
        Error::limit("input", self.input, "the variables are larger than", "steps of size")
    }

    /// Each limit by name, in the order of the fields.
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("source_bytes", self.source_bytes as u64),
            ("tokens", self.tokens as u64),
            ("nesting", self.nesting as u64),
            ("depth", self.depth as u64),
            ("nodes", self.nodes as u64),
            ("steps", self.steps),
            ("value_depth", self.value_depth as u64),
            ("input", self.input),
            ("output", self.output),
            ("milliseconds", self.milliseconds),
        ]
    }
}
