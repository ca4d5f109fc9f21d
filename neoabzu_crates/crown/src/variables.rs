//! The variables of rules and policies: what a set of programs reads of a request is bound for them, and no more.

use std::borrow::Cow;

use neoabzu_core::{Error, Key, Part, Program, Value as Cel, Variables as Bound};
use serde_json::Value;

use crate::servants::Servant;

/// Up to this size, in steps, what several programs read is bound once for all of them. None is brief beyond it.
const SHARED: u64 = 1_000;
/// Beyond this depth a value counts as large: no program may read one that is much deeper.
const DEEP: usize = 48;
/// Bytes of text in a step, as programs count them.
const TEXT: usize = 128;

/// What a rule sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'r> {
    pub text: &'r str,
    /// Bytes of the whole request's text.
    pub size: usize,
    pub context: &'r Value,
}

/// What a set of programs reads.
#[derive(Clone, Debug)]
pub struct Reads {
    parts: Parts,
    /// Size of `servants` in steps, if it is read.
    servants: u64,
}

impl Reads {
    pub fn of<'p>(programs: impl Iterator<Item = &'p Program>, servants: &[Servant]) -> Reads {
        let entry = |servant: &Servant| {
            let text = servant.name.len() + servant.model.len();
            16 + text / TEXT + servant.capabilities.iter().map(|name| 1 + name.len() / TEXT).sum::<usize>()
        };
        let parts = Parts::of(programs);
        let size = if parts.servants { 1 + servants.iter().map(entry).sum::<usize>() } else { 0 };
        Reads { parts, servants: size as u64 }
    }

    /// Whether the programs, those of the set, are likely to end at once for this request on this thread.
    pub fn is_brief<'p>(&self, subject: &Subject<'_>, programs: impl Iterator<Item = &'p Program>) -> bool {
        let mut programs = programs.peekable();
        if programs.peek().is_none() {
            return true;
        }
        let size = self.size(subject, SHARED);
        size <= SHARED && programs.all(|program| program.is_brief(size))
    }

    /// Binds the variables; `servants` are made only if they are read.
    pub fn bind<'r>(&self, subject: Subject<'r>, servants: impl FnOnce() -> Vec<Cel<'r>>) -> Variables<'r> {
        let servants = if self.parts.servants { servants() } else { Vec::new() };
        if self.size(&subject, SHARED) > SHARED {
            return Variables { subject, servants, shared: None };
        }
        let shared = Some(self.parts.bind(&subject, servants));
        Variables { subject, servants: Vec::new(), shared }
    }

    /// Size of the variables in steps, as programs count it; counting ends beyond `enough`.
    fn size(&self, subject: &Subject<'_>, enough: u64) -> u64 {
        let texts = 3 + ((subject.text.len() + emotion(subject.context).len()) / TEXT) as u64;
        let fixed = texts + self.servants;
        let context = self.parts.context.as_ref();
        fixed + context.map_or(0, |part| size(subject.context, Some(part), 0, enough.saturating_sub(fixed)))
    }
}

/// The variables of a request, bound for the programs of one set.
#[derive(Debug)]
pub struct Variables<'r> {
    subject: Subject<'r>,
    servants: Vec<Cel<'r>>,
    /// None if they are large: then a program gets those it reads itself, so that it does not fail for the size of
    /// what another one reads.
    shared: Option<Bound<'r>>,
}

impl Variables<'_> {
    /// Evaluates one of the programs.
    ///
    /// # Errors
    /// Those of [`Program::evaluate`].
    pub fn evaluate(&self, program: &Program) -> Result<Cel<'static>, Error> {
        match &self.shared {
            Some(shared) => program.evaluate(shared),
            None => {
                let parts = Parts::of(std::iter::once(program));
                program.evaluate(&parts.bind(&self.subject, self.servants.clone()))
            }
        }
    }
}

/// The variables that are read, of those that are not always at hand.
#[derive(Clone, Debug, Default)]
struct Parts {
    context: Option<Part>,
    servants: bool,
}

impl Parts {
    fn of<'p>(programs: impl Iterator<Item = &'p Program>) -> Parts {
        let mut parts = Parts::default();
        for part in programs.flat_map(|program| &program.shape().variables) {
            match (&*part.name, &mut parts.context) {
                ("context", Some(context)) => merge(context, part),
                ("context", none) => *none = Some(part.clone()),
                ("servants", _) => parts.servants = true,
                _ => {}
            }
        }
        parts
    }

    fn bind<'r>(&self, subject: &Subject<'r>, servants: Vec<Cel<'r>>) -> Bound<'r> {
        let mut bound = Bound::new();
        bound.insert("text", subject.text);
        bound.insert("size", i64::try_from(subject.size).unwrap_or(i64::MAX));
        bound.insert("emotion", emotion(subject.context));
        if let Some(context) = &self.context {
            bound.insert("context", cel(subject.context, Some(context)));
        }
        if self.servants {
            bound.insert("servants", Cel::List(servants));
        }
        bound
    }
}

fn emotion(context: &Value) -> &str {
    context.get("emotion").and_then(Value::as_str).unwrap_or("")
}

/// Adds what another program reads of the same value.
fn merge(part: &mut Part, other: &Part) {
    let Some(entries) = part.entries.as_mut() else { return };
    let Some(others) = &other.entries else {
        part.entries = None;
        return;
    };
    for other in others {
        match entries.iter_mut().find(|entry| entry.name == other.name) {
            Some(entry) => merge(entry, other),
            None => entries.push(other.clone()),
        }
    }
}

/// Size of what is read of a value, in steps; more than `enough` for one that is too deep.
fn size(value: &Value, part: Option<&Part>, depth: usize, enough: u64) -> u64 {
    if depth > DEEP {
        return enough + 1;
    }
    let mut total = 1;
    match value {
        Value::String(text) => total += (text.len() / TEXT) as u64,
        Value::Array(items) => {
            for item in items {
                if total > enough {
                    break;
                }
                total += size(item, None, depth + 1, enough - total);
            }
        }
        Value::Object(entries) => {
            let read = part.and_then(|part| part.entries.as_ref());
            let named = read.into_iter().flatten();
            let named = named.filter_map(|part| Some((entries.get_key_value(&*part.name)?, Some(part))));
            let all = entries.iter().filter(|_| read.is_none()).map(|entry| (entry, None));
            for ((key, value), part) in named.chain(all) {
                total += 1 + (key.len() / TEXT) as u64;
                if total > enough {
                    break;
                }
                total += size(value, part, depth + 1, enough - total);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    total
}

/// What is read of a JSON value, as CEL sees it: whole numbers are `int` where they fit, else `uint`.
fn cel<'r>(value: &'r Value, part: Option<&Part>) -> Cel<'r> {
    let entry = |key: &'r String, value: Cel<'r>| (Key::String(Cow::Borrowed(key.as_str())), value);
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Cel::Int(int),
            (None, Some(uint)) => Cel::Uint(uint),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Cow::Borrowed(text)),
        Value::Array(items) => Cel::List(items.iter().map(|item| cel(item, None)).collect()),
        Value::Object(entries) => Cel::Map(match part.and_then(|part| part.entries.as_ref()) {
            None => entries.iter().map(|(key, value)| entry(key, cel(value, None))).collect(),
            Some(read) => {
                let found = |part: &Part| {
                    let (key, value) = entries.get_key_value(&*part.name)?;
                    Some(entry(key, cel(value, Some(part))))
                };
                read.iter().filter_map(found).collect()
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn programs(sources: &[&str]) -> Vec<Program> {
        sources.iter().map(|source| Program::compile(source).unwrap()).collect()
    }

    fn subject(context: &Value) -> Subject<'_> {
        Subject { text: "hi", size: 2, context }
    }

    #[test]
    fn only_what_is_read_is_bound() {
        let context = json!({"a": {"b": 1, "c": [2]}, "d": "x", "emotion": "joy"});
        for (sources, read) in [
            (&["text == 'x' && size > 1"][..], None),
            (&["emotion == 'joy'"], None),
            (&["context.a.b == 1", "has(context.none)"], Some(json!({"a": {"b": 1}}))),
            (&["context.a.b == 1", "context['a'].c == [2]"], Some(json!({"a": {"b": 1, "c": [2]}}))),
            (&["context.a.b == 1", "'d' in context"], Some(context.clone())),
            (&["context.d.e == 1", "context.a != 1"], Some(json!({"d": "x", "a": {"b": 1, "c": [2]}}))),
        ] {
            let parts = Parts::of(programs(sources).iter());
            let bound = parts.context.as_ref().map(|part| cel(&context, Some(part)));
            assert_eq!(bound, read.as_ref().map(|read| cel(read, None)), "{sources:?}");
        }
    }

    #[test]
    fn a_size_is_what_programs_count() {
        let long = "x".repeat(1000);
        let context = json!({"a": {"b": [1, null, long], "c": {long.as_str(): true}}, "d": 1});
        for source in ["context == 1", "context.a.b == 1", "context.a.c.d == 1", "text == ''"] {
            let programs = programs(&[source]);
            let reads = Reads::of(programs.iter(), &[]);
            let bound = reads.parts.bind(&subject(&context), Vec::new());
            assert_eq!(reads.size(&subject(&context), SHARED), bound.size(), "{source}");
        }
    }

    #[test]
    fn what_is_brief() {
        let context = json!({"large": vec![1; 2000], "small": [1, 2, 3], "deep": (0..60).fold(json!(1), |v, _| json!([v]))});
        for (sources, brief) in [
            (&[][..], true),
            (&["text == 'x'", "context.other == 1"], true),
            (&["context.small.exists(a, a == 1)"], true),
            (&["context.large.exists(a, a == 1)"], false),
            (&["text == 'x'", "size(context.large) == 1"], false),
            (&["context.small.all(a, context.small.all(b, context.small.all(c, a + b + c > 0)))"], false),
            (&["text.split('') == []"], false),
            (&["context.deep == 1"], false),
            (&["text.matches(context.d)"], false),
        ] {
            let programs = programs(sources);
            let reads = Reads::of(programs.iter(), &[]);
            assert_eq!(reads.is_brief(&subject(&context), programs.iter()), brief, "{sources:?}");
        }
    }

    #[test]
    fn a_program_does_not_fail_for_what_another_one_reads() {
        let context = json!({"large": vec![1; 1_100_000]});
        let programs = programs(&["text == 'hi'", "context.large == [1]"]);
        let variables = Reads::of(programs.iter(), &[]).bind(subject(&context), Vec::new);
        assert_eq!(variables.evaluate(&programs[0]), Ok(Cel::Bool(true)));
        assert!(variables.evaluate(&programs[1]).is_err());
    }
}
