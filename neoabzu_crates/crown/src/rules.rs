//! Rules and policies: CEL expressions over a request.

use neoabzu_core::{Key, Program, Value as Cel};

use crate::variables::Variables;

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

impl Rule {
    pub fn programs(&self) -> impl Iterator<Item = &Program> + Clone {
        let choice = match &self.choice {
            Choice::Expression(program) => Some(&**program),
            Choice::Names(_) | Choice::Capability(_) => None,
        };
        self.when.iter().chain(choice)
    }
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

/// Evaluates a condition.
///
/// # Errors
/// Why it has no truth value.
pub fn holds(program: &Program, variables: &Variables<'_>) -> Result<bool, String> {
    match variables.evaluate(program) {
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
    let value = variables.evaluate(program).map_err(|error| error.to_string())?;
    let names = match &value {
        Cel::List(items) => items.iter().map(name).collect(),
        single => name(single).map(|name| vec![name]),
    };
    names.ok_or_else(|| "it is neither a name nor a list of servants".to_owned())
}
