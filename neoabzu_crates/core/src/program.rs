//! A compiled expression.

use std::collections::HashSet;

use cel::common::ast::{Expr, SourceInfo};
use cel::parser::ParseErrors;
use cel::{Context, ExecutionError, IdedExpr, Value as CelValue};

use crate::environment::{self, ENVIRONMENT};
use crate::error::{Error, ErrorKind, Position};
use crate::explain;
use crate::instrument::instrument;
use crate::limits::Limits;
use crate::meter::{Metered, Spent};
use crate::regex;
use crate::scan;
use crate::shape::{Path, Shape};
use crate::stack;
use crate::value::{Value, Variables};
use crate::walk::{self, Measure};

/// An expression, ready to be evaluated any number of times from any number of threads.
#[derive(Debug)]
pub struct Program {
    expr: IdedExpr,
    metered: IdedExpr,
    info: SourceInfo,
    shape: Shape,
    measure: Measure,
    metered_depth: usize,
    references: Vec<String>,
    /// The patterns of `matches`, unless some are not known before.
    patterns: Option<Vec<Box<str>>>,
}

impl Program {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`], or [`ErrorKind::Limit`] for text that is too long or nested too deep.
    pub fn compile(source: &str) -> Result<Program, Error> {
        let limits = &Limits::DEFAULT;
        let extent = scan::extent(source, limits)?;
        stack::run(stack::to_parse(&extent), || Self::parse(source, limits))?
    }

    fn parse(source: &str, limits: &Limits) -> Result<Program, Error> {
        let parsed = environment::parser().parse_with_source_info(source);
        let (expr, info) = parsed.map_err(|errors| syntax_error(source, &errors))?;
        let measure = walk::measure(&expr);
        if measure.nodes > limits.nodes {
            return Err(Error::limit("nodes", limits.nodes, "the expression expands to more than", "nodes")
                .at(Position::START));
        }
        let metered = instrument(&expr);
        let metered_depth = walk::measure(&metered).depth;
        let shape = Shape::of(&expr);
        let references = references(&expr, &shape);
        let patterns = walk::patterns(&expr);
        Ok(Program { expr, metered, info, shape, measure, metered_depth, references, patterns })
    }

    /// Which parts of which variables the expression reads.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The variables the expression names, sorted. Names of types are not among them.
    pub fn references(&self) -> &[String] {
        &self.references
    }

    /// Finds functions and variables that nobody defines, and patterns of `matches` that are none.
    /// Variables are left alone where `variables` is `None`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] or [`ErrorKind::Syntax`] for the first one.
    pub fn check(&self, variables: Option<&dyn Fn(&str) -> bool>) -> Result<(), Error> {
        let known = |name: &str| match variables {
            None => true,
            Some(defined) => {
                self.references.binary_search_by(|named| named.as_str().cmp(name)).is_err() || defined(name)
            }
        };
        let fault =
            stack::run(stack::to_evaluate(self.measure.depth), || explain::check(&self.expr, &known))?;
        fault.map_err(|(id, error)| error.at(self.position(id)))
    }

    /// Whether an evaluation with variables of so many steps ([`Variables::size`]) is likely to end within 50 µs.
    pub fn is_brief(&self, size: u64) -> bool {
        let size = size + self.measure.literals;
        let turns = size.saturating_pow(self.measure.loops as u32);
        self.measure.nodes <= 100
            && size <= 500
            && !self.measure.grows
            && turns <= 50
            && self.finds_quickly(size.saturating_mul(turns))
    }

    /// Whether no pattern is left to be compiled by this thread, which may take milliseconds.
    fn finds_quickly(&self, steps: u64) -> bool {
        let quick = |patterns: &Vec<Box<str>>| patterns.iter().all(|pattern| regex::is_quick(pattern, steps));
        self.patterns.as_ref().is_some_and(quick)
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// [`ErrorKind::Evaluation`], [`ErrorKind::UnknownName`], [`ErrorKind::Conversion`] for a result
    /// without a value, [`ErrorKind::Limit`], or [`ErrorKind::Internal`] where the evaluator panicked.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<Value<'static>, Error> {
        self.evaluate_within(variables, &Limits::DEFAULT)
    }

    pub(crate) fn evaluate_within(
        &self,
        variables: &Variables<'_>,
        limits: &Limits,
    ) -> Result<Value<'static>, Error> {
        if variables.size() > limits.input {
            return Err(limits.input_exceeded());
        }
        if variables.depth() > limits.value_depth {
            return Err(Error::limit(
                "value_depth",
                limits.value_depth,
                "a variable is nested deeper than",
                "levels",
            ));
        }
        self.run(variables, limits, !self.is_bounded(variables, limits))
    }

    fn run(
        &self,
        variables: &Variables<'_>,
        limits: &Limits,
        metered: bool,
    ) -> Result<Value<'static>, Error> {
        let (expr, depth) = match metered {
            true => (&self.metered, self.metered_depth),
            false => (&self.expr, self.measure.depth),
        };
        // Values nest as deep as the variables and the expression together, and comparing or dropping
        // them recurses too.
        let stack = stack::to_evaluate(depth + variables.depth());
        stack::run(stack, || {
            let mut context = Context::with_env(ENVIRONMENT.clone());
            context.set_variable_resolver(variables);
            let meter = Metered::start(limits, metered);
            let outcome = CelValue::resolve_val(expr, &context);
            match meter.finish() {
                Some(Spent::Steps) => {
                    Err(Error::limit("steps", limits.steps, "the evaluation takes more than", "steps"))
                }
                Some(Spent::Time) => Err(Error::limit(
                    "milliseconds",
                    limits.milliseconds,
                    "the evaluation takes longer than",
                    "milliseconds",
                )),
                None => match outcome {
                    Ok(value) => Value::from_val(value.as_ref()),
                    Err(error) => Err(self.explained(&error, &context, limits)),
                },
            }
        })?
    }

    /// Whether the work is within the limits whatever the values are: without loops, a value cannot
    /// become larger than all the leaves together, and no node does more than look at one.
    fn is_bounded(&self, variables: &Variables<'_>, limits: &Limits) -> bool {
        let nodes = self.measure.nodes as u64;
        let leaf = variables.size() + self.measure.literals + 1;
        self.measure.loops == 0
            && !self.measure.grows
            && nodes.saturating_mul(nodes).saturating_mul(leaf) <= limits.steps
    }

    fn explained(&self, error: &ExecutionError, context: &Context<'_, '_>, limits: &Limits) -> Error {
        let at = explain::locate(&self.metered, error, context, limits);
        explain::explain(error).at(self.position(at))
    }

    /// Where the node is written: its operator, or the name of the function it calls.
    fn position(&self, id: u64) -> Position {
        let Some((start, _)) = self.info.offset_for(id) else { return Position::START };
        let source = &self.info.source;
        let start = start as usize;
        let name_end = match source.get(..start) {
            // The parser puts a call at its opening bracket.
            Some(before) if source[start..].starts_with('(') => before.trim_end(),
            _ => return Position::of_byte(source, start),
        };
        let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let name = name_end.len() - name_end.trim_end_matches(is_name).len();
        Position::of_byte(source, if name == 0 { start } else { name_end.len() - name })
    }
}

fn references(expr: &IdedExpr, shape: &Shape) -> Vec<String> {
    let mut parts_of_types = HashSet::new();
    roots_of_type_names(expr, &mut parts_of_types);
    let named = shape.variables[..shape.named].iter().map(|part| &*part.name);
    let mut names: Vec<String> = named
        .filter(|name| !environment::is_type(name))
        // `math` in `math.abs(x)` names no variable.
        .filter(|name| !environment::is_namespace(name) || uses_as_value(expr, name))
        .filter(|name| !parts_of_types.contains(name))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

fn uses_as_value(expr: &IdedExpr, name: &str) -> bool {
    if let Expr::Call(call) = &expr.expr
        && let Some(target) = &call.target
        && matches!(&target.expr, Expr::Ident(root) if root == name)
        && environment::knows_function(&format!("{name}.{}", call.func_name), false)
    {
        return call.args.iter().any(|arg| uses_as_value(arg, name));
    }
    if matches!(&expr.expr, Expr::Ident(root) if root.trim_start_matches('.') == name) {
        return true;
    }
    let mut uses = false;
    walk::children(expr, &mut |child| uses |= uses_as_value(child, name));
    uses
}

/// `google` in `google.protobuf.Timestamp` names no variable.
fn roots_of_type_names<'e>(expr: &'e IdedExpr, found: &mut HashSet<&'e str>) {
    let Some(path) = Path::of(expr) else {
        walk::children(expr, &mut |child| roots_of_type_names(child, found));
        return;
    };
    let root = path.root.trim_start_matches('.');
    let selected = path.fields[..path.selected].iter().copied();
    let qualified: Vec<&str> = std::iter::once(root).chain(selected).collect();
    if environment::is_type(&qualified.join(".")) {
        found.insert(root);
    }
}

fn syntax_error(source: &str, errors: &ParseErrors) -> Error {
    if let Some(fault) = scan::plain_fault(source) {
        return fault;
    }
    let Some(first) = errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first()) else {
        return Error::syntax("not an expression".to_owned());
    };
    let (line, column) = first.pos;
    let position = Position::of_line(source, line.max(1) as usize, column.max(1) as usize);
    Error::new(ErrorKind::Syntax, explain::syntax(source, &first.msg)).at(position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables<'v>() -> Variables<'v> {
        let record =
            Value::from([("n", Value::Int(3)), ("s", Value::from("text")), ("l", Value::from(vec![1, 2]))]);
        let values = [
            ("i", Value::Int(7)),
            ("d", Value::Float(0.5)),
            ("s", Value::from("a-b-c")),
            ("xs", Value::from(vec![3, 1, 2])),
            ("ws", Value::from(vec!["x", "yy", ""])),
            ("m", record.clone()),
            ("ms", Value::List(vec![record, Value::Null])),
        ];
        values.into_iter().collect()
    }

    /// Expressions that make sense, mostly.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "i",
            "d",
            "s",
            "xs",
            "ws",
            "m",
            "ms",
            "x",
            "1",
            "0",
            "-2",
            "2u",
            "1.5",
            "true",
            "null",
            "'a'",
            "'-'",
            "b'z'",
            "[]",
            "{}",
            "m.n",
            "m.s",
            "m.l",
            "ms[0]",
            "missing",
            "duration('1s')",
            "timestamp('2025-01-01T00:00:00Z')",
        ])
        .prop_map(str::to_owned);
        leaf.prop_recursive(5, 40, 3, |inner| {
            let binary = prop::sample::select(vec![
                "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
            ]);
            let method = prop::sample::select(vec![
                "size()",
                "map(x, E)",
                "filter(x, E)",
                "all(x, E)",
                "exists(x, E)",
                "exists_one(x, E)",
                "contains(E)",
                "startsWith(E)",
                "matches('[a-z]+')",
                "split(E)",
                "join(E)",
                "replace(E, 'zz')",
                "indexOf(E)",
                "distinct()",
                "sort()",
                "flatten()",
                "sortBy(x, E)",
                "upperAscii()",
                "reverse()",
                "slice(0, 1)",
                "n",
                "s",
                "?s",
                "substring(1)",
            ]);
            prop_oneof![
                (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
                (inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
                (inner.clone(), method, inner.clone())
                    .prop_map(|(a, f, b)| format!("{a}.{}", f.replace('E', &b))),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[{b}]")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}[?{b}]")),
                (
                    prop::sample::select(vec![
                        "size",
                        "string",
                        "int",
                        "type",
                        "dyn",
                        "!",
                        "-",
                        "optional.of",
                        "math.abs"
                    ]),
                    inner
                )
                    .prop_map(|(f, a)| format!("{f}({a})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn metering_changes_no_outcome(source in expression()) {
            let Ok(program) = Program::compile(&source) else { return Ok(()) };
            let variables = variables();
            let plain = program.run(&variables, &Limits::DEFAULT, false);
            let metered = program.run(&variables, &Limits::DEFAULT, true);
            let kind = |outcome: &Result<Value<'static>, Error>| outcome.as_ref().map_err(|e| e.kind.clone()).cloned();
            prop_assert!(!matches!(&metered, Err(error) if error.kind == ErrorKind::Internal), "{source}: {metered:?}");
            let unordered = |outcome: Result<Value<'static>, ErrorKind>| format!("{outcome:?}");
            prop_assert_eq!(unordered(kind(&plain)), unordered(kind(&metered)), "{}", source);
        }

        #[test]
        fn the_shape_holds_all_that_is_read(source in expression()) {
            let Ok(program) = Program::compile(&source) else { return Ok(()) };
            for name in program.references() {
                prop_assert!(program.shape().variables.iter().any(|part| *part.name == **name), "{source}: {name}");
            }
        }

        #[test]
        fn any_text_compiles_or_fails(source in "[a-c0-9_.,:?!+*/%<>=&|()\\[\\]{}'\"`\\\\rbu@ \n-]{0,60}|\\PC{0,30}") {
            match Program::compile(&source) {
                Ok(program) => {
                    let outcome = program.evaluate(&variables());
                    prop_assert!(!matches!(&outcome, Err(error) if error.kind == ErrorKind::Internal), "{source}: {outcome:?}");
                }
                Err(error) => {
                    prop_assert!(error.kind != ErrorKind::Internal, "{source}: {error}");
                    let offset = error.position.map_or(0, |at| at.offset);
                    prop_assert!(offset <= source.chars().count(), "{source}: {error:?}");
                }
            }
        }
    }
}
