//! The nodes of a syntax tree, in the order in which they are evaluated.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};

use crate::cost;

/// Calls `visit` with each child of `expr`.
pub(crate) fn children<'e>(expr: &'e IdedExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match &expr.expr {
        Expr::Call(call) => {
            call.args.iter().for_each(&mut *visit);
            if let Some(target) = &call.target {
                visit(target);
            }
        }
        Expr::Comprehension(loops) => {
            for part in
                [&loops.accu_init, &loops.iter_range, &loops.loop_cond, &loops.loop_step, &loops.result]
            {
                visit(part);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entry_parts(&entry.expr, visit)),
        Expr::Struct(fields) => fields.entries.iter().for_each(|entry| entry_parts(&entry.expr, visit)),
        Expr::Select(select) => visit(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn entry_parts<'e>(entry: &'e EntryExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match entry {
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
        EntryExpr::StructField(field) => visit(&field.value),
    }
}

/// The patterns of `matches` in the expression, each once, if all of them are literals.
pub(crate) fn patterns(expr: &IdedExpr) -> Option<Vec<Box<str>>> {
    let mut found = Vec::new();
    collect_patterns(expr, &mut found).then(|| {
        found.sort_unstable();
        found.dedup();
        found
    })
}

fn collect_patterns(expr: &IdedExpr, found: &mut Vec<Box<str>>) -> bool {
    if let Expr::Call(call) = &expr.expr
        && call.func_name == "matches"
    {
        match call.args.last().map(|pattern| &pattern.expr) {
            Some(Expr::Literal(LiteralValue::String(text))) => found.push(text.inner().into()),
            _ => return false,
        }
    }
    let mut literal = true;
    children(expr, &mut |child| literal = literal && collect_patterns(child, found));
    literal
}

/// What is known of a tree before it is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    pub nodes: usize,
    pub depth: usize,
    /// Nesting of loops: `map`, `filter`, `all`, `exists` and `exists_one`.
    pub loops: usize,
    /// Size of the literals, in steps.
    pub literals: u64,
    /// Calls a function whose result can be larger than its arguments together.
    pub grows: bool,
}

/// Functions whose work or result is not linear in the size of their arguments.
pub(crate) fn grows(function: &str) -> bool {
    matches!(
        function,
        "replace"
            | "join"
            | "indexOf"
            | "lastIndexOf"
            | "split"
            | "range"
            | "distinct"
            | "flatten"
            | "format"
    )
}

pub(crate) fn measure(expr: &IdedExpr) -> Measure {
    let mut here = Measure { nodes: 1, ..Measure::default() };
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => here.literals = cost::text(text.inner().len()),
        Expr::Literal(LiteralValue::Bytes(bytes)) => here.literals = cost::text(bytes.inner().len()),
        Expr::Literal(_) => here.literals = 1,
        Expr::Call(call) => here.grows = grows(&call.func_name),
        _ => {}
    }
    children(expr, &mut |child| {
        let below = measure(child);
        here.nodes += below.nodes;
        here.depth = here.depth.max(below.depth);
        here.loops = here.loops.max(below.loops);
        here.literals += below.literals;
        here.grows |= below.grows;
    });
    here.depth += 1;
    here.loops += usize::from(matches!(expr.expr, Expr::Comprehension(_)));
    here
}
