//! `matches`, with a bound on its work.
//!
//! The syntax is RE2's, as CEL asks, in the dialect of the `regex` crates. Patterns are compiled once
//! and kept. A search runs as a lazily built automaton, linear in the text; where that would thrash,
//! it gives up and the slower simulation takes over, which is charged for states times text.

use std::cell::RefCell;
use std::rc::Rc;

use cel::ExecutionError;
use hashlink::LruCache;
use regex_automata::hybrid::dfa::{Cache as LazyCache, Config as LazyConfig, DFA as Lazy};
use regex_automata::nfa::thompson::pikevm::{Cache as SlowCache, PikeVM};
use regex_automata::nfa::thompson::{Config as NfaConfig, NFA};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use crate::{cost, meter};

const PATTERN_BYTES: usize = 4 * 1024;
/// Bounds what `(a{1000}){1000}` may become; `\w{50}` fits.
const NFA_BYTES: usize = 2 * 1024 * 1024;
/// What compiling a pattern of that size costs, in steps.
const TOO_LARGE: u64 = 50_000;
const LAZY_CACHE_BYTES: usize = 1024 * 1024;
const KEPT_PER_THREAD: usize = 16;
/// States times bytes that the slow simulation gets through in one step of the meter.
const SLOW_PER_STEP: usize = 16;

thread_local! {
    static KEPT: RefCell<LruCache<String, Rc<Result<Pattern, String>>>> = RefCell::new(LruCache::new(KEPT_PER_THREAD));
}

struct Pattern {
    nfa: NFA,
    lazy: Lazy,
    lazy_cache: RefCell<LazyCache>,
    slow: RefCell<Option<(PikeVM, SlowCache)>>,
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES {
            return Err(format!("longer than {PATTERN_BYTES} bytes"));
        }
        let nfa = NFA::compiler()
            .syntax(syntax::Config::new().nest_limit(64))
            .configure(NfaConfig::new().nfa_size_limit(Some(NFA_BYTES)))
            .build(pattern)
            .map_err(|error| match error.size_limit() {
                Some(_) => "too large once its repetitions are written out".to_owned(),
                None => first_line(&error),
            })?;
        let config = LazyConfig::new()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(LAZY_CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(2))
            .minimum_bytes_per_state(Some(10));
        let lazy =
            Lazy::builder().configure(config).build_from_nfa(nfa.clone()).map_err(|e| e.to_string())?;
        let lazy_cache = RefCell::new(lazy.create_cache());
        Ok(Pattern { nfa, lazy, lazy_cache, slow: RefCell::new(None) })
    }

    fn is_match(&self, text: &str) -> Result<bool, ExecutionError> {
        meter::charge(cost::text(text.len()))?;
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        if let Ok(found) = self.lazy.try_search_fwd(&mut self.lazy_cache.borrow_mut(), &input) {
            return Ok(found.is_some());
        }
        let work = self.nfa.states().len().saturating_mul(text.len() + 1);
        meter::charge((work / SLOW_PER_STEP) as u64)?;
        let mut slow = self.slow.borrow_mut();
        if slow.is_none() {
            let vm = PikeVM::new_from_nfa(self.nfa.clone())
                .map_err(|error| ExecutionError::function_error("matches", error))?;
            let cache = vm.create_cache();
            *slow = Some((vm, cache));
        }
        let (vm, cache) = slow.as_mut().expect("made above");
        Ok(vm.is_match(cache, input))
    }
}

/// Whether `pattern` is found in `text`.
pub(crate) fn is_match(pattern: &str, text: &str) -> Result<bool, ExecutionError> {
    if pattern.len() > PATTERN_BYTES {
        meter::charge(1)?;
        return Err(invalid(&format!("longer than {PATTERN_BYTES} bytes")));
    }
    let kept = KEPT.with_borrow_mut(|kept| kept.get(pattern).cloned());
    let compiled = match kept {
        Some(compiled) => compiled,
        None => {
            meter::charge(100 + pattern.len() as u64 * 10)?;
            let compiled = Rc::new(Pattern::compile(pattern));
            KEPT.with_borrow_mut(|kept| kept.insert(pattern.to_owned(), compiled.clone()));
            meter::charge(match compiled.as_ref() {
                Ok(compiled) => compiled.nfa.states().len() as u64,
                Err(_) => TOO_LARGE,
            })?;
            compiled
        }
    };
    match compiled.as_ref() {
        Ok(compiled) => compiled.is_match(text),
        Err(fault) => Err(invalid(fault)),
    }
}

/// States times steps of text that surely take less than a few microseconds, once the automaton is built, and mostly so
/// while it is: each byte makes a new state of it at worst.
const QUICK: u64 = 1_500;

/// Whether this thread has compiled the pattern, and finds it quickly in text of so many steps.
pub(crate) fn is_quick(pattern: &str, steps: u64) -> bool {
    KEPT.with_borrow_mut(|kept| match kept.get(pattern).map(AsRef::as_ref) {
        Some(Ok(compiled)) => (compiled.nfa.states().len() as u64).saturating_mul(steps) <= QUICK,
        Some(Err(_)) => true,
        None => false,
    })
}

fn invalid(fault: &str) -> ExecutionError {
    ExecutionError::function_error("matches", format!("not a regular expression: {fault}"))
}

/// Why `pattern` is not a regular expression.
pub(crate) fn fault(pattern: &str) -> Option<String> {
    Pattern::compile(pattern).err().map(|error| format!("not a regular expression: {error}"))
}

/// The messages of the parser draw the pattern with a caret below; its last line says what is wrong.
fn first_line(error: &dyn std::error::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::meter::{Metered, Spent};

    fn run(pattern: &str, text: &str) -> (Result<bool, ExecutionError>, Option<Spent>) {
        let metered = Metered::start(&Limits::DEFAULT, true);
        (is_match(pattern, text), metered.finish())
    }

    fn found(pattern: &str, text: &str) -> bool {
        run(pattern, text).0.unwrap()
    }

    #[test]
    fn finds_anywhere_in_unicode_text() {
        assert!(found("b+", "aabbcc"));
        assert!(!found("^b+$", "aabbcc"));
        assert!(found(r"^\w+é$", "caf\u{e9}é"));
        assert!(found(r"\bété\b", "un été chaud"));
        assert!(!found(r"\bté\b", "un été chaud"));
        assert!(found("", ""));
        assert!(found("(?i)HELLO", "say hello"));
    }

    #[test]
    fn only_what_was_compiled_here_is_quick() {
        let pattern = "^/api/v[0-9]+/only_here$";
        assert!(!is_quick(pattern, 4));
        assert!(found(pattern, "/api/v1/only_here"));
        assert!(is_quick(pattern, 4) && !is_quick(pattern, 1_000));
        assert!(std::thread::scope(|scope| scope.spawn(|| !is_quick(pattern, 4)).join().unwrap()));
        assert!(found(r"\w{20}", &"x".repeat(20)) && !is_quick(r"\w{20}", 4));
    }

    #[test]
    fn hostile_patterns_end() {
        for pattern in [
            "(x+x+)+y",
            "(a{1000}){1000}",
            "((((((a*)*)*)*)*)*)*b",
            "[01]*1[01]{900}",
            r"(\w{50}){50}",
            "(?:a?){3000}a{3000}",
        ] {
            for text in ["xxxxxxxxxxxxxxxxxxxxxxxx".repeat(4_000), "01".repeat(50_000), "a".repeat(100_000)] {
                let (outcome, spent) = run(pattern, &text);
                assert!(
                    outcome.is_ok() || spent.is_some() || fault(pattern).is_some(),
                    "{pattern}: {outcome:?}"
                );
            }
        }
    }

    #[test]
    fn faults_are_told_in_one_line() {
        assert_eq!(fault("a{1,2"), Some("not a regular expression: unclosed counted repetition".to_owned()));
        assert!(fault("(a{1000}){1000}").unwrap().contains("too large"));
        assert_eq!(fault("a|b"), None);
    }
}
