//! The one environment every expression is compiled and evaluated in.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, operators};
use cel::parser::{Macro, MacroExprHelper, ParseError, Parser};
use cel::{Context, Env, ExecutionError, IdedExpr, Value, extensions};

use crate::charges;
use crate::limits::Limits;

/// CEL's standard library with optionals, the extensions `math`, `strings`, `lists` and `encoders`, and
/// `cel.bind(name, value, expression)` of the extension `bindings`.
pub(crate) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [extensions::math, extensions::strings, extensions::lists, extensions::encoders] {
        env.add_extension(extension).expect("the extensions declare different names");
    }
    env.add_macro(Macro::receiver("bind", 3, bind)).expect("no other extension has it");
    env.add_macro(Macro::receiver("getMilliseconds", 0, milliseconds)).expect("no other extension has it");
    charges::declare(&mut env).expect("these names cannot be written in CEL");
    Arc::new(env)
});

/// Expands `cel.bind(name, value, expression)` to a loop of no turns whose accumulator is the name.
fn bind(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    if !target.as_ref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "cel")) {
        return Ok(None);
    }
    let name = match args.first() {
        Some(IdedExpr { expr: Expr::Ident(name), .. }) if !name.starts_with('.') => name.clone(),
        first => {
            let at = first.map_or(0, |arg| arg.id);
            return Err(helper.new_error(at, "cel.bind takes a name first"));
        }
    };
    let (Some(body), Some(value)) = (args.pop(), args.pop()) else {
        return Err(helper.new_error(0, "cel.bind takes three arguments"));
    };
    let expanded = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "@unused".to_owned(),
        iter_var2: None,
        accu_var: name.clone(),
        accu_init: value,
        loop_cond: helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: helper.next_expr(Expr::Ident(name)),
        result: body,
    };
    Ok(Some(helper.next_expr(Expr::Comprehension(Box::new(expanded)))))
}

/// Expands `x.getMilliseconds()` to `x.getMilliseconds() % 1000`: of a duration the evaluator gives all of it,
/// where the specification asks for the part below a second. Of a timestamp it is below 1000 anyway.
fn milliseconds(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    _: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    let Some(target) = target.take() else { return Ok(None) };
    let call = |target, func_name: &str, args| {
        Expr::Call(CallExpr { target, func_name: func_name.to_owned(), args })
    };
    let whole = helper.next_expr(call(Some(Box::new(target)), "getMilliseconds", Vec::new()));
    let thousand = helper.next_expr(Expr::Literal(LiteralValue::Int(1000.into())));
    Ok(Some(helper.next_expr(call(None, operators::MODULO, vec![whole, thousand]))))
}

/// Errors after the tenth help nobody, and recovering from each costs time.
const ERRORS_TOLD: u32 = 10;

pub(crate) fn parser() -> Parser {
    // The bound on nesting is ours (scan.rs); this one only has to be larger.
    let depth = u16::try_from(Limits::DEFAULT.nesting * 2).unwrap_or(u16::MAX);
    ENVIRONMENT
        .parser()
        .enable_ident_escape_syntax(true)
        .max_recursion_depth(depth)
        .error_recovery_limit(ERRORS_TOLD)
}

/// Whether a function of this name exists, for whatever arguments.
///
/// The environment does not list its functions: a call without arguments tells a name it does not
/// know from one it has no overload for.
pub(crate) fn knows_function(name: &str, member: bool) -> bool {
    let null = || IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    let call = CallExpr {
        func_name: name.to_owned(),
        target: member.then(|| Box::new(null())),
        args: if member { vec![null(), null(), null(), null(), null()] } else { Vec::new() },
    };
    let expr = IdedExpr { id: 0, expr: Expr::Call(call) };
    let outcome = Value::resolve(&expr, &Context::with_env(ENVIRONMENT.clone()));
    !matches!(outcome, Err(ExecutionError::UndeclaredReference(_)))
}

/// The first parts of the names of functions such as `math.abs`.
pub(crate) fn is_namespace(name: &str) -> bool {
    matches!(name, "math" | "strings" | "lists" | "optional" | "base64")
}

/// Whether `name` is a type, such as `int` or `google.protobuf.Timestamp`.
pub(crate) fn is_type(name: &str) -> bool {
    ENVIRONMENT.types().find_type(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_name() {
        for name in ["size", "int", "math.abs", "base64.encode", "optional.of", "lists.range", "matches"] {
            assert!(knows_function(name, false), "{name}");
        }
        for name in ["startsWith", "matches", "size", "getFullYear", "replace", "join", "orValue"] {
            assert!(knows_function(name, true), "{name}");
        }
        for name in ["siez", "math.bas", "startsWith", "foo"] {
            assert!(!knows_function(name, false), "{name}");
        }
        assert!(!knows_function("startWith", true));
    }

    #[test]
    fn namespaces_are_those_of_the_environment() {
        for name in ["math.abs", "strings.quote", "lists.range", "optional.none", "base64.decode"] {
            assert!(is_namespace(name.split('.').next().unwrap()) && knows_function(name, false), "{name}");
        }
    }
}
