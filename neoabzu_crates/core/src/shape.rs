//! Which parts of which variables an expression can read.
//!
//! `env.MODE == "prod"` reads one entry of `env`, however many there are. Whoever converts values for
//! the evaluator need convert no more than the shape holds: the outcome is the same.

use std::borrow::Cow;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};
use hashlink::LinkedHashMap;

use crate::walk;

/// A variable, or an entry of a map, that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: Box<str>,
    /// The entries of it that are read if it is a map; `None`: all of it.
    pub entries: Option<Vec<Part>>,
}

/// The variables an expression reads, in the order in which they first appear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    pub variables: Vec<Part>,
    /// How many of `variables` the text names; after them come qualified names such as `a.b`, which
    /// stand for a variable of that name where there is one.
    pub named: usize,
}

impl Shape {
    pub(crate) fn of(expr: &IdedExpr) -> Shape {
        let mut collector = Collector::default();
        collector.visit(expr);
        let mut variables = collector.variables;
        let named = variables.len();
        for name in &collector.qualified {
            read(&mut variables, name, &[]);
        }
        Shape { variables: parts(variables), named }
    }
}

#[derive(Default)]
struct Collector<'e> {
    variables: Entries<'e>,
    qualified: Vec<String>,
    bound: Vec<&'e str>,
}

impl<'e> Collector<'e> {
    fn visit(&mut self, expr: &'e IdedExpr) {
        if let Some(path) = Path::of(expr) {
            self.read(&path);
            return;
        }
        match &expr.expr {
            Expr::Comprehension(loops) => {
                self.visit(&loops.accu_init);
                self.visit(&loops.iter_range);
                let outer = self.bound.len();
                self.bound.push(&loops.iter_var);
                self.bound.push(&loops.accu_var);
                self.bound.extend(loops.iter_var2.as_deref());
                self.visit(&loops.loop_cond);
                self.visit(&loops.loop_step);
                self.visit(&loops.result);
                self.bound.truncate(outer);
            }
            _ => walk::children(expr, &mut |child| self.visit(child)),
        }
    }

    fn read(&mut self, path: &Path<'e>) {
        let name = match path.root.strip_prefix('.') {
            Some(absolute) => absolute,
            None if self.bound.contains(&path.root) => return,
            None => path.root,
        };
        read(&mut self.variables, name, &path.fields);
        let mut qualified = name.to_owned();
        for field in &path.fields[..path.selected] {
            qualified.push('.');
            qualified.push_str(field);
            self.qualified.push(qualified.clone());
        }
    }
}

/// Names in the order in which they first appear, each with the entries of it that are read; `None`: all of it.
type Entries<'n> = LinkedHashMap<Cow<'n, str>, Option<Box<Read<'n>>>>;

#[derive(Default)]
struct Read<'n>(Entries<'n>);

fn read<'n>(entries: &mut Entries<'n>, name: impl Into<Cow<'n, str>>, fields: &[&'n str]) {
    let part = entries.entry(name.into()).or_insert_with(|| Some(Box::default()));
    match fields.split_first() {
        None => *part = None,
        Some((field, rest)) => {
            if let Some(below) = part {
                read(&mut below.0, *field, rest);
            }
        }
    }
}

fn parts(entries: Entries<'_>) -> Vec<Part> {
    let part = |(name, below): (Cow<'_, str>, Option<Box<Read<'_>>>)| Part {
        name: name.into(),
        entries: below.map(|below| parts(below.0)),
    };
    entries.into_iter().map(part).collect()
}

/// `a.b["c"].d`: a variable and the fields selected from it.
pub(crate) struct Path<'e> {
    pub root: &'e str,
    pub fields: Vec<&'e str>,
    /// How many of the fields, from the first on, are written `.field`.
    pub selected: usize,
}

impl<'e> Path<'e> {
    pub(crate) fn of(expr: &'e IdedExpr) -> Option<Path<'e>> {
        match &expr.expr {
            Expr::Ident(name) => Some(Path { root: name, fields: Vec::new(), selected: 0 }),
            Expr::Select(select) => {
                let mut path = Path::of(&select.operand)?;
                path.selected += usize::from(path.selected == path.fields.len());
                path.fields.push(&select.field);
                Some(path)
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let [container, index] = call.args.as_slice() else { return None };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else { return None };
                let mut path = Path::of(container)?;
                path.fields.push(key.inner());
                Some(path)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(source: &str) -> String {
        let expr = crate::environment::parser().parse(source).unwrap();
        let shape = Shape::of(&expr);
        fn show(part: &Part) -> String {
            match &part.entries {
                None => part.name.to_string(),
                Some(entries) => {
                    let entries: Vec<_> = entries.iter().map(show).collect();
                    format!("{}{{{}}}", part.name, entries.join(" "))
                }
            }
        }
        shape.variables[..shape.named].iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_what_is_read() {
        assert_eq!(shape("env.MODE == 'prod'"), "env{MODE}");
        assert_eq!(shape("env['MODE'].x + env.Y"), "env{MODE{x} Y}");
        assert_eq!(shape("env.MODE == 'prod' && size(env) > 1"), "env");
        assert_eq!(shape("has(a.b.c) && a.b.d"), "a{b{c d}}");
        assert_eq!(shape("a.b && a.b.c"), "a{b}");
        assert_eq!(shape("a[b.c].d"), "a b{c}");
        assert_eq!(shape("a[0].d"), "a");
    }

    #[test]
    fn bound_names_are_not_variables() {
        assert_eq!(shape("xs.all(x, x.y > limit)"), "xs limit");
        assert_eq!(shape("xs.all(x, x.y) && x.z"), "xs x{z}");
        assert_eq!(shape("xs.all(x, .x.z > x)"), "xs x{z}");
        assert_eq!(shape("a.b.all(x, x.c.exists(y, y == x.d + e.f))"), "a{b} e{f}");
    }

    #[test]
    fn qualified_names_are_offered() {
        let expr = crate::environment::parser().parse("a.b.c + d['e'].f").unwrap();
        let shape = Shape::of(&expr);
        let names: Vec<&str> = shape.variables.iter().map(|part| &*part.name).collect();
        assert_eq!(names, ["a", "d", "a.b", "a.b.c"]);
    }
}
