//! Recursion on a stack that is large enough, whoever calls.
//!
//! The parser and the evaluator of the `cel` crate recurse without a guard, and an overflow aborts the
//! process. Both run here: on the caller's stack where enough of it is left, else on one of their own.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::error::{Error, ErrorKind};
use crate::scan::Extent;

/// A third of these passes `tests/stack.rs`. A level of brackets takes the parser about 8 KiB in a release
/// build and 175 KiB in a debug build.
const PARSE_LEVEL: usize = if cfg!(debug_assertions) { 800 << 10 } else { 32 << 10 };
const PARSE_LINK: usize = if cfg!(debug_assertions) { 16 << 10 } else { 4 << 10 };
/// The evaluator, for a node on the way from the root to the deepest leaf.
const EVALUATE_NODE: usize = if cfg!(debug_assertions) { 160 << 10 } else { 12 << 10 };
const BASE: usize = if cfg!(debug_assertions) { 1 << 20 } else { 128 << 10 };

pub(crate) fn to_parse(extent: &Extent) -> usize {
    BASE + (extent.nesting + 2) * PARSE_LEVEL + extent.depth * PARSE_LINK
}

pub(crate) fn to_evaluate(depth: usize) -> usize {
    BASE + (depth + 2) * EVALUATE_NODE
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` with `bytes` of stack. A panic inside becomes an error and prints nothing.
pub(crate) fn run<T>(bytes: usize, work: impl FnOnce() -> T) -> Result<T, Error> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    let was_quiet = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| stacker::maybe_grow(bytes, bytes + BASE, work)));
    QUIET.set(was_quiet);
    outcome.map_err(|cause| {
        let text = cause.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let text: String = text.chars().take(200).collect();
        Error::new(ErrorKind::Internal, format!("the evaluator failed: {text}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(levels: usize) -> usize {
        let mut page = [0u8; 4096];
        page[levels % 4096] = 1;
        std::hint::black_box(&mut page);
        if levels == 0 { page.len() } else { deep(levels - 1) }
    }

    #[test]
    fn a_small_thread_gets_a_larger_stack() {
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let outcome = thread.spawn(|| run(64 << 20, || deep(4_000))).unwrap().join().unwrap();
        assert_eq!(outcome, Ok(4096));
    }

    #[test]
    fn a_panic_is_an_error() {
        let outcome: Result<(), Error> = run(1 << 20, || panic!("what {}", "happened"));
        assert_eq!(outcome.unwrap_err().message, "the evaluator failed: what happened");
        let grown: Result<(), Error> = run(512 << 20, || panic!("on a stack of its own"));
        assert_eq!(grown.unwrap_err().kind, ErrorKind::Internal);
    }
}
