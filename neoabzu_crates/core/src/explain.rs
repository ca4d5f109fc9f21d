//! Errors of the evaluator in plain words, and the place in the expression they come from.

use cel::common::ast::{Expr, LiteralValue, operators};
use cel::{Context, ExecutionError, IdedExpr, Value};

use crate::environment::{is_namespace, knows_function};
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::meter::Metered;
use crate::shape::Path;
use crate::{regex, walk};

/// Longest name repeated in a message, in characters.
const NAME_SHOWN: usize = 80;

/// What `error` means, without the values it holds.
pub(crate) fn explain(error: &ExecutionError) -> Error {
    let evaluation = |message: String| Error::new(ErrorKind::Evaluation, message);
    match error {
        ExecutionError::UndeclaredReference(name) => {
            Error::new(ErrorKind::UnknownName(name.to_string()), format!("'{}' is not defined", shown(name)))
        }
        ExecutionError::NoSuchKey(name) => evaluation(format!("there is no key '{}'", shown(name))),
        ExecutionError::NoSuchOverload(overload) => {
            let types: Vec<String> = overload.argument_types().iter().map(|name| shown(name)).collect();
            evaluation(no_overload(overload.function(), &types, overload.is_member_function()))
        }
        ExecutionError::UnsupportedBinaryOperator(name, left, right)
        | ExecutionError::Overflow(name, left, right) => {
            let overflow = matches!(error, ExecutionError::Overflow(..));
            let verb = symbol(name);
            evaluation(match overflow {
                true => format!("'{verb}' overflows"),
                false => format!("'{verb}' is not defined for {} and {}", left.type_of(), right.type_of()),
            })
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            evaluation(format!("{} cannot be compared with {}", left.type_of(), right.type_of()))
        }
        ExecutionError::UnexpectedType { got, want } => {
            evaluation(format!("expected {}, found {}", shown(want), shown(got)))
        }
        ExecutionError::DivisionByZero(_) => evaluation("division by zero".to_owned()),
        ExecutionError::RemainderByZero(_) => evaluation("remainder of a division by zero".to_owned()),
        ExecutionError::IndexOutOfBounds(_) => evaluation("the index is out of bounds".to_owned()),
        ExecutionError::UnsupportedIndex(index, value) => {
            evaluation(format!("{} cannot be indexed with {}", value.type_of(), index.type_of()))
        }
        ExecutionError::UnsupportedKeyType(value) => {
            evaluation(format!("{} cannot be the key of a map", value.type_of()))
        }
        ExecutionError::DuplicateKey(_) => evaluation("the map has a key twice".to_owned()),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            evaluation(format!("expected {expected} arguments, found {actual}"))
        }
        ExecutionError::MissingArgumentOrTarget => evaluation("an argument is missing".to_owned()),
        ExecutionError::NotSupportedAsMethod { method, target } => {
            evaluation(format!("'{}' is not a method of {}", shown(method), target.type_of()))
        }
        ExecutionError::UnsupportedTargetType { target } => {
            evaluation(format!("not supported for {}", target.type_of()))
        }
        // The messages of the library's functions may repeat a value.
        ExecutionError::FunctionError { function, message } if function == "matches" => {
            evaluation(format!("matches: {message}"))
        }
        ExecutionError::FunctionError { function, .. } => {
            evaluation(format!("'{}' is not defined for this value", shown(function)))
        }
        _ => evaluation("the expression cannot be evaluated".to_owned()),
    }
}

fn no_overload(function: &str, types: &[String], member: bool) -> String {
    match (symbol(function), types) {
        ("_._", [value, _]) => format!("{value} has no fields"),
        ("_[_]", [value, index]) => format!("{value} cannot be indexed with {index}"),
        (name, [one]) if member => format!("'{name}' is not a method of {one}"),
        (name, [one, rest @ ..]) if member => {
            format!("'{name}' is not a method of {one} with ({})", rest.join(", "))
        }
        (name, [left, right]) if name != function => {
            format!("'{name}' is not defined for {left} and {right}")
        }
        (name, types) => format!("'{name}' is not defined for ({})", types.join(", ")),
    }
}

fn symbol(function: &str) -> &str {
    match function {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        "_._" | "_[_]" => function,
        operators::IN => "in",
        operators::CONDITIONAL => "?:",
        _ => {
            let bare = function.trim_matches('_');
            if bare.is_empty() { function } else { bare }
        }
    }
}

fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = name.chars().take(NAME_SHOWN).map(plain).collect();
    if name.chars().nth(NAME_SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// What the parser says, without the list of all tokens it would have taken.
pub(crate) fn syntax(source: &str, message: &str) -> String {
    if source.trim().is_empty() {
        return "the expression is empty".to_owned();
    }
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message = message.replace("mismatched input '<EOF>'", "the expression ends too early");
    let message = message.replace("no viable alternative at input", "nothing begins with");
    let message = message.replace("token recognition error at:", "unknown character");
    let message = message.replace("mismatched input", "unexpected").replace("extraneous input", "unexpected");
    shown(&message)
}

/// The id of the innermost node that fails with `error`.
///
/// The evaluator does not say where it failed, so the failing branch is followed by evaluating the
/// children of each node on their own. Inside a loop they need the loop's variable: there the node is
/// found by the name the error holds, if only one can be meant.
pub(crate) fn locate(
    root: &IdedExpr,
    error: &ExecutionError,
    context: &Context<'_, '_>,
    limits: &Limits,
) -> u64 {
    let metered = Metered::start(limits, true);
    let mut best = root.id;
    let mut here = root;
    loop {
        if here.id != 0 {
            best = here.id;
        }
        if let Expr::Comprehension(loops) = &here.expr {
            let outside = [&loops.accu_init, &loops.iter_range];
            if let Some(next) = outside.into_iter().find(|part| fails(part, error, context)) {
                here = next;
                continue;
            }
            return only_suspect(here, error).unwrap_or(best);
        }
        let mut next = None;
        walk::children(here, &mut |child| {
            if next.is_none() && metered.left() > 0 && fails(child, error, context) {
                next = Some(child);
            }
        });
        match next {
            Some(child) => here = child,
            None => return best,
        }
    }
}

fn fails(expr: &IdedExpr, error: &ExecutionError, context: &Context<'_, '_>) -> bool {
    matches!(Value::resolve_val(expr, context), Err(found) if same(&found, error))
}

/// Operands are compared by the kind of error alone: they may be large, and NaN is not equal to itself.
fn same(a: &ExecutionError, b: &ExecutionError) -> bool {
    match (a, b) {
        (ExecutionError::UndeclaredReference(a), ExecutionError::UndeclaredReference(b)) => a == b,
        (ExecutionError::NoSuchKey(a), ExecutionError::NoSuchKey(b)) => a == b,
        (ExecutionError::NoSuchOverload(a), ExecutionError::NoSuchOverload(b)) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn only_suspect(root: &IdedExpr, error: &ExecutionError) -> Option<u64> {
    let mut found = Vec::new();
    suspects(root, error, &mut found);
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn suspects(expr: &IdedExpr, error: &ExecutionError, found: &mut Vec<u64>) {
    let suspect = match (&expr.expr, error) {
        (Expr::Ident(name), ExecutionError::UndeclaredReference(missing)) => name == missing.as_str(),
        (Expr::Call(call), ExecutionError::UndeclaredReference(missing)) => {
            call.func_name == missing.as_str()
        }
        (Expr::Select(select), ExecutionError::NoSuchKey(key)) => {
            !select.test && select.field == key.as_str()
        }
        (Expr::Literal(LiteralValue::String(text)), ExecutionError::NoSuchKey(key)) => {
            text.inner() == key.as_str()
        }
        (Expr::Select(_), ExecutionError::NoSuchOverload(overload)) => overload.function() == "_._",
        (Expr::Call(call), ExecutionError::NoSuchOverload(overload)) => call.func_name == overload.function(),
        (Expr::Call(call), ExecutionError::DivisionByZero(_)) => call.func_name == operators::DIVIDE,
        (Expr::Call(call), ExecutionError::RemainderByZero(_)) => call.func_name == operators::MODULO,
        (Expr::Call(call), ExecutionError::IndexOutOfBounds(_)) => call.func_name == operators::INDEX,
        _ => false,
    };
    if suspect && expr.id != 0 {
        found.push(expr.id);
    }
    walk::children(expr, &mut |child| suspects(child, error, found));
}

/// The first name that is not defined or pattern that is none, with the id of its node.
pub(crate) fn check(expr: &IdedExpr, variable: &dyn Fn(&str) -> bool) -> Result<(), (u64, Error)> {
    check_in(expr, variable, &mut Vec::new())
}

fn check_in<'e>(
    expr: &'e IdedExpr,
    variable: &dyn Fn(&str) -> bool,
    bound: &mut Vec<&'e str>,
) -> Result<(), (u64, Error)> {
    let unknown = |what: &str, name: &str| {
        let error = Error::new(
            ErrorKind::UnknownName(name.to_owned()),
            format!("there is no {what} '{}'", shown(name)),
        );
        Err((expr.id, error))
    };
    match &expr.expr {
        Expr::Ident(name) => {
            let name = name.trim_start_matches('.');
            if !bound.contains(&name) && !variable(name) {
                return unknown("variable", name);
            }
        }
        Expr::Comprehension(loops) => {
            check_in(&loops.accu_init, variable, bound)?;
            check_in(&loops.iter_range, variable, bound)?;
            let outer = bound.len();
            bound.extend([loops.iter_var.as_str(), loops.accu_var.as_str()]);
            bound.extend(loops.iter_var2.as_deref());
            for part in [&loops.loop_cond, &loops.loop_step, &loops.result] {
                check_in(part, variable, bound)?;
            }
            bound.truncate(outer);
            return Ok(());
        }
        Expr::Call(call) => {
            let qualified = call.target.as_deref().and_then(Path::of).filter(|path| is_namespace(path.root));
            let qualified = qualified.map(|path| format!("{}.{}", path.root, call.func_name));
            match &qualified {
                Some(name) if knows_function(name, false) => {
                    return call.args.iter().try_for_each(|arg| check_in(arg, variable, bound));
                }
                Some(name) if !knows_function(&call.func_name, true) => return unknown("function", name),
                _ => {}
            }
            let operator = call.func_name.contains(['_', '@']) && !knows_function(&call.func_name, false);
            let operator = operator && call.func_name.starts_with(['_', '@', '!', '-']);
            let member = call.target.is_some();
            if !operator && !knows_function(&call.func_name, member) {
                return unknown(if member { "method" } else { "function" }, &call.func_name);
            }
            if call.func_name == "matches"
                && let Some(pattern) = call.args.last()
                && let Expr::Literal(LiteralValue::String(text)) = &pattern.expr
                && let Some(fault) = regex::fault(text.inner())
            {
                return Err((pattern.id, Error::syntax(fault)));
            }
        }
        _ => {}
    }
    let mut outcome = Ok(());
    walk::children(expr, &mut |child| {
        if outcome.is_ok() {
            outcome = check_in(child, variable, bound);
        }
    });
    outcome
}
