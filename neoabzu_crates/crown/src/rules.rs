//! Rules and policies: CEL expressions over a request.

use std::borrow::Cow;

use neoabzu_core::{Key, Program, Value as Cel, Variables};
use serde_json::Value;

/// The variables a rule may name.
pub const VARIABLES: [&str; 5] = ["text", "size", "emotion", "context", "servants"];

/// Whom a rule chooses.
#[derive(Debug)]
pub enum Choice {
    /// These servants, by name.
    Names(Vec<String>),
    /// All servants with this capability.
    Capability(String),
    /// An expression: a name, a list of names, or a list of entries of `servants`.
    Expression(Box<Program>),
}

/// A rule: the first whose `when` is true chooses.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub when: Option<Program>,
    pub choice: Choice,
    /// Nobody else may be asked, Kimicho neither.
    pub only: bool,
}

/// A reason to refuse a request.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub when: Program,
    pub reason: String,
}

/// Compiles an expression over [`VARIABLES`].
///
/// # Errors
/// What is wrong, with its place.
pub fn compile(source: &str) -> Result<Program, String> {
    let program = Program::compile(source).map_err(|error| error.to_string())?;
    program.check(Some(&|name| VARIABLES.contains(&name))).map_err(|error| error.to_string())?;
    Ok(program)
}

/// What a rule sees of a request.
#[derive(Debug)]
pub struct Subject<'r> {
    pub text: &'r str,
    /// Bytes of the whole request's text.
    pub size: usize,
    pub context: &'r Value,
}

/// Evaluates a condition.
///
/// # Errors
/// Why it has no truth value.
pub fn holds(program: &Program, variables: &Variables<'_>) -> Result<bool, String> {
    match program.evaluate(variables) {
        Ok(Cel::Bool(truth)) => Ok(truth),
        Ok(_) => Err("it is neither true nor false".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The names an expression chooses.
///
/// # Errors
/// Why it chooses nobody.
pub fn chosen(program: &Program, variables: &Variables<'_>) -> Result<Vec<String>, String> {
    let name = |value: &Cel<'_>| match value {
        Cel::String(name) => Some(name.clone().into_owned()),
        Cel::Map(entries) => entries.iter().find_map(|(key, value)| match (key, value) {
            (Key::String(key), Cel::String(name)) if key == "name" => Some(name.clone().into_owned()),
            _ => None,
        }),
        _ => None,
    };
    let value = program.evaluate(variables).map_err(|error| error.to_string())?;
    let names = match &value {
        Cel::List(items) => items.iter().map(name).collect(),
        single => name(single).map(|name| vec![name]),
    };
    names.ok_or_else(|| "it is neither a name nor a list of servants".to_owned())
}

/// Binds the variables; `servants` only if an expression among those given reads it.
pub fn variables<'r>(subject: &Subject<'r>, servants: Option<Vec<Cel<'r>>>) -> Variables<'r> {
    let emotion = subject.context.get("emotion").and_then(Value::as_str).unwrap_or("");
    let mut variables = Variables::new();
    variables.insert("text", subject.text);
    variables.insert("size", i64::try_from(subject.size).unwrap_or(i64::MAX));
    variables.insert("emotion", emotion);
    variables.insert("context", cel(subject.context));
    if let Some(servants) = servants {
        variables.insert("servants", Cel::List(servants));
    }
    variables
}

/// A JSON value as CEL sees it: whole numbers are `int` where they fit, else `uint`.
pub fn cel(value: &Value) -> Cel<'_> {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Cel::Int(int),
            (None, Some(uint)) => Cel::Uint(uint),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Cow::Borrowed(text)),
        Value::Array(items) => Cel::List(items.iter().map(cel).collect()),
        Value::Object(entries) => Cel::Map(
            entries.iter().map(|(key, value)| (Key::String(Cow::Borrowed(key)), cel(value))).collect(),
        ),
    }
}
