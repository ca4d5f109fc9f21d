//! A compiled expression.

use cel::common::ast::{Expr, SourceInfo};
use cel::parser::ParseErrors;
use cel::{Context, ExecutionError, IdedExpr, Value as CelValue};

use crate::environment::{self, ENVIRONMENT};
use crate::error::{Error, ErrorKind, Position};
use crate::explain;
use crate::instrument::instrument;
use crate::limits::Limits;
use crate::meter::{Metered, Spent};
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
        Ok(Program { shape: Shape::of(&expr), expr, metered, info, measure, metered_depth })
    }

    /// Which parts of which variables the expression reads.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The variables the expression names, sorted. Names of types are not among them.
    pub fn references(&self) -> Vec<&str> {
        let named = self.shape.variables[..self.shape.named].iter().map(|part| &*part.name);
        let mut names: Vec<&str> = named.filter(|name| !environment::is_type(name)).collect();
        let function_namespaces: Vec<&str> = names.iter().copied().filter(|n| self.only_a_namespace(n)).collect();
        names.retain(|name| !function_namespaces.contains(name));
        names.retain(|name| !is_part_of_type_name(&self.expr, name));
        names.sort_unstable();
        names
    }

    /// Finds functions and variables that nobody defines, and patterns of `matches` that are none.
    /// Variables are left alone where `variables` is `None`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownName`] or [`ErrorKind::Syntax`] for the first one.
    pub fn check(&self, variables: Option<&dyn Fn(&str) -> bool>) -> Result<(), Error> {
        let known = |name: &str| match variables {
            None => true,
            Some(defined) => !self.references().contains(&name) || defined(name),
        };
        explain::check(&self.expr, &known).map_err(|(id, error)| error.at(self.position(id)))
    }

    /// Whether an evaluation is likely to end within 50 µs.
    pub fn is_brief(&self, variables: &Variables<'_>) -> bool {
        let size = variables.size() + self.measure.literals;
        let turns = size.saturating_pow(self.measure.loops as u32);
        self.measure.nodes <= 100 && size <= 500 && !self.measure.grows && turns <= 50
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// [`ErrorKind::Evaluation`], [`ErrorKind::UnknownName`], [`ErrorKind::Conversion`] for a result
    /// without a value, [`ErrorKind::Limit`], or [`ErrorKind::Internal`] where the evaluator panicked.
    pub fn evaluate(&self, variables: &Variables<'_>) -> Result<Value<'static>, Error> {
        self.evaluate_within(variables, &Limits::DEFAULT)
    }

    pub(crate) fn evaluate_within(&self, variables: &Variables<'_>, limits: &Limits) -> Result<Value<'static>, Error> {
        if variables.size() > limits.input {
            return Err(Error::limit("input", limits.input, "the variables are larger than", "steps of size"));
        }
        if variables.depth() > limits.value_depth {
            return Err(Error::limit("value_depth", limits.value_depth, "a variable is nested deeper than", "levels"));
        }
        let (expr, depth) = if self.is_bounded(variables, limits) {
            (&self.expr, self.measure.depth)
        } else {
            (&self.metered, self.metered_depth)
        };
        // Values nest as deep as the variables and the expression together, and comparing or dropping
        // them recurses too.
        let stack = stack::to_evaluate(depth + variables.depth());
        stack::run(stack, || {
            let mut context = Context::with_env(ENVIRONMENT.clone());
            context.set_variable_resolver(variables);
            let metered = Metered::start(limits);
            let outcome = CelValue::resolve_val(expr, &context);
            match metered.finish() {
                Some(Spent::Steps) => Err(Error::limit("steps", limits.steps, "the evaluation takes more than", "steps")),
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

    /// `math` in `math.abs(x)` names no variable.
    fn only_a_namespace(&self, name: &str) -> bool {
        environment::is_namespace(name) && !uses_as_value(&self.expr, name)
    }
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
fn is_part_of_type_name(expr: &IdedExpr, name: &str) -> bool {
    if let Some(path) = Path::of(expr) {
        let selected = path.fields[..path.selected].iter().copied();
        let qualified: Vec<&str> = std::iter::once(path.root.trim_start_matches('.')).chain(selected).collect();
        return qualified[0] == name && environment::is_type(&qualified.join("."));
    }
    let mut part = false;
    walk::children(expr, &mut |child| part |= is_part_of_type_name(child, name));
    part
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

