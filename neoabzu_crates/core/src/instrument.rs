//! Rewrites a syntax tree so that its evaluation is metered.
//!
//! Every place where work depends on the size of a value gets a call to a function of `meter.rs`,
//! which charges for that size and hands the value through. The forms by which the evaluator
//! recognises `map`, `filter`, `all` and `exists` are left as they are: it runs those in place.

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, MapEntryExpr,
    MapExpr, SelectExpr, operators,
};

use crate::environment::{is_namespace, knows_function};
use crate::shape::Path;
use crate::{charges, cost, walk};

pub(crate) fn instrument(expr: &IdedExpr) -> IdedExpr {
    let rewritten = match &expr.expr {
        Expr::Call(call) => return self::call(expr, call),
        Expr::Comprehension(loops) => Expr::Comprehension(Box::new(comprehension(loops))),
        Expr::List(list) => Expr::List(ListExpr::new_with_optionals(
            list.elements.iter().map(charged).collect(),
            list.optional_indices.clone(),
        )),
        Expr::Map(map) => Expr::Map(MapExpr { entries: map.entries.iter().map(entry).collect() }),
        Expr::Select(select) => {
            Expr::Select(SelectExpr { operand: Box::new(instrument(&select.operand)), ..select.clone() })
        }
        other => other.clone(),
    };
    IdedExpr { id: expr.id, expr: rewritten }
}

fn entry(entry: &IdedEntryExpr) -> IdedEntryExpr {
    let expr = match &entry.expr {
        EntryExpr::MapEntry(item) => EntryExpr::MapEntry(MapEntryExpr {
            key: charged(&item.key),
            value: charged(&item.value),
            optional: item.optional,
        }),
        EntryExpr::StructField(field) => EntryExpr::StructField(field.clone()),
    };
    IdedEntryExpr { id: entry.id, expr }
}

fn call(expr: &IdedExpr, call: &CallExpr) -> IdedExpr {
    if let Some(target) = &call.target {
        return method(expr.id, call, target);
    }
    let args = call.args.iter();
    let args: Vec<IdedExpr> = match call.func_name.as_str() {
        operators::CONDITIONAL
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::NEGATE => args.map(instrument).collect(),
        // The loop step of `map` and `filter`: its left side is the accumulator.
        operators::ADD if is_accumulator(&call.args[0]) => args.map(instrument).collect(),
        operators::INDEX => vec![instrument(&call.args[0]), wrapped(charges::CHECK_INDEX, &call.args[1])],
        // These copy the element they find.
        operators::OPT_INDEX => {
            let args = vec![instrument(&call.args[0]), wrapped(charges::CHECK_INDEX, &call.args[1])];
            return call_to(charges::CHARGE, vec![with_args(expr.id, call, args)]);
        }
        operators::OPT_SELECT => {
            return call_to(charges::CHARGE, vec![with_args(expr.id, call, args.map(instrument).collect())]);
        }
        operators::IN => vec![charged(&call.args[0]), wrapped(charges::CHARGE_SEARCH, &call.args[1])],
        operators::EQUALS | operators::NOT_EQUALS if call.args.iter().any(is_scalar_literal) => {
            args.map(instrument).collect()
        }
        "size" | "type" => args.map(|arg| wrapped(charges::CHARGE_TEXT, arg)).collect(),
        "matches" => args.map(instrument).collect(),
        _ => args.map(charged).collect(),
    };
    with_args(expr.id, call, args)
}

fn method(id: u64, call: &CallExpr, target: &IdedExpr) -> IdedExpr {
    if is_qualified_function(target, &call.func_name) {
        let guard = if call.func_name == "range" { charges::CHARGE_COUNT } else { charges::CHARGE };
        let args = call.args.iter().map(|arg| wrapped(guard, arg)).collect();
        return with_args(id, call, args);
    }
    match (call.func_name.as_str(), call.args.len()) {
        // Work or result grow with the product of two sizes.
        ("replace", 2 | 3) => with_product(id, call, target, 1),
        ("indexOf" | "lastIndexOf", 1 | 2) | ("join", 1) => with_product(id, call, target, 0),
        (name, _) => {
            let guard = match name {
                "size" => charges::CHARGE_TEXT,
                "split" => charges::CHARGE_BYTES,
                "distinct" => charges::CHARGE_PAIRS,
                _ => charges::CHARGE,
            };
            let guarded = if name == "matches" { instrument(target) } else { wrapped(guard, target) };
            IdedExpr {
                id,
                expr: Expr::Call(CallExpr {
                    func_name: call.func_name.clone(),
                    target: Some(Box::new(guarded)),
                    args: call.args.iter().map(charged).collect(),
                }),
            }
        }
    }
}

/// Whether `target.f` spells the name of a function, as `math.abs` does.
fn is_qualified_function(target: &IdedExpr, function: &str) -> bool {
    let Some(path) = Path::of(target) else { return false };
    is_namespace(path.root)
        && path.fields.is_empty()
        && knows_function(&format!("{}.{function}", path.root), false)
}

/// `target.f(args)` as a binding of target and arguments to names, so that the product of two sizes
/// is charged before the call and nothing is evaluated twice.
fn with_product(id: u64, call: &CallExpr, target: &IdedExpr, other: usize) -> IdedExpr {
    let name = |at: usize| format!("@{id}.{at}");
    let names = (1..=call.args.len()).map(|at| ident(name(at)));
    let guarded = node(Expr::Call(CallExpr {
        func_name: operators::CONDITIONAL.to_owned(),
        target: None,
        args: vec![
            call_to(charges::CHARGE_PRODUCT, vec![ident(name(0)), ident(name(other + 1))]),
            IdedExpr {
                id,
                expr: Expr::Call(CallExpr {
                    func_name: call.func_name.clone(),
                    target: Some(Box::new(ident(name(0)))),
                    args: names.collect(),
                }),
            },
            node(Expr::Literal(LiteralValue::Null)),
        ],
    }));
    // The evaluator takes the target last, so it is bound innermost.
    let target = std::iter::once((0, target));
    let args = call.args.iter().enumerate().map(|(at, arg)| (at + 1, arg)).rev();
    target.chain(args).fold(guarded, |body, (at, value)| {
        node(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: node(Expr::List(ListExpr::new(Vec::new()))),
            iter_var: "@unused".to_owned(),
            iter_var2: None,
            accu_var: name(at),
            accu_init: charged(value),
            loop_cond: node(Expr::Literal(LiteralValue::Boolean(false.into()))),
            loop_step: ident(name(at)),
            result: body,
        })))
    })
}

fn comprehension(loops: &ComprehensionExpr) -> ComprehensionExpr {
    let binds_only = matches!(&loops.iter_range.expr, Expr::List(list) if list.elements.is_empty());
    let turn = 1 + own_nodes(&loops.loop_step) + own_nodes(&loops.loop_cond);
    let cost = node(Expr::Literal(LiteralValue::Int((turn as i64).into())));
    ComprehensionExpr {
        iter_range: if binds_only {
            loops.iter_range.clone()
        } else {
            call_to(charges::CHARGE_TURNS, vec![instrument(&loops.iter_range), cost])
        },
        iter_var: loops.iter_var.clone(),
        iter_var2: loops.iter_var2.clone(),
        accu_var: loops.accu_var.clone(),
        accu_init: if binds_only { charged(&loops.accu_init) } else { loops.accu_init.clone() },
        loop_cond: instrument(&loops.loop_cond),
        loop_step: instrument(&loops.loop_step),
        result: instrument(&loops.result),
    }
}

/// Nodes evaluated in one turn, without the turns of loops inside: those are charged on their own.
fn own_nodes(expr: &IdedExpr) -> usize {
    let mut nodes = 1;
    if let Expr::Comprehension(inner) = &expr.expr {
        return nodes + own_nodes(&inner.iter_range) + own_nodes(&inner.accu_init) + own_nodes(&inner.result);
    }
    walk::children(expr, &mut |child| nodes += own_nodes(child));
    nodes
}

/// `expr`, charged for the size of its value unless that is known to be small.
fn charged(expr: &IdedExpr) -> IdedExpr {
    if is_small(expr) { instrument(expr) } else { wrapped(charges::CHARGE, expr) }
}

fn wrapped(guard: &str, expr: &IdedExpr) -> IdedExpr {
    let fraction =
        guard == charges::CHECK_INDEX && matches!(&expr.expr, Expr::Literal(LiteralValue::Double(_)));
    if is_scalar_literal(expr) && !fraction { expr.clone() } else { call_to(guard, vec![instrument(expr)]) }
}

/// A value of constant size, made by an operation that is charged as a node.
fn is_small(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(_) => is_scalar_literal(expr),
        Expr::Select(select) => select.test,
        Expr::Call(call) => matches!(
            call.func_name.as_str(),
            operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS
                | operators::IN
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE
                | "size"
                | "matches"
                | "contains"
                | "startsWith"
                | "endsWith"
        ),
        _ => false,
    }
}

fn is_scalar_literal(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => text.inner().len() < cost::TEXT_PER_STEP,
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len() < cost::TEXT_PER_STEP,
        Expr::Literal(_) => true,
        _ => false,
    }
}

/// Names that begin with `@` cannot be written in CEL: the macros make them.
fn is_accumulator(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name.starts_with('@'))
}

fn with_args(id: u64, call: &CallExpr, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr {
        id,
        expr: Expr::Call(CallExpr { func_name: call.func_name.clone(), target: call.target.clone(), args }),
    }
}

fn call_to(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args }))
}

fn ident(name: String) -> IdedExpr {
    node(Expr::Ident(name))
}

fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
