//! The functions by which an expression charges what it does.
//!
//! The `cel` crate bounds nothing, so the expression is rewritten (see `instrument.rs`) to call them
//! wherever work depends on the size of a value.

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelString, DOUBLE_TYPE, DYN_TYPE, INT_TYPE, Kind, STRING_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use crate::cost::{TEXT_PER_STEP, bytes, size};
use crate::meter::{charge, remaining};
use crate::regex;

/// Charges the size of its argument and hands it back.
pub(crate) const CHARGE: &str = "@charge";
/// The same where a list or map costs nothing: `size`, `type`.
pub(crate) const CHARGE_TEXT: &str = "@charge_text";
/// The same where a map costs nothing: `in`.
pub(crate) const CHARGE_SEARCH: &str = "@charge_search";
/// Charges one step for each byte: `split` can make an element of every character.
pub(crate) const CHARGE_BYTES: &str = "@charge_bytes";
/// Charges the value of an integer: `lists.range`.
pub(crate) const CHARGE_COUNT: &str = "@charge_count";
/// Charges the square of a list's length: `distinct`.
pub(crate) const CHARGE_PAIRS: &str = "@charge_pairs";
/// Charges a list or map that is about to be iterated, given the cost of one turn.
pub(crate) const CHARGE_TURNS: &str = "@charge_turns";
/// Charges the product of the sizes of two values; true.
pub(crate) const CHARGE_PRODUCT: &str = "@charge_product";
/// Charges an index, and replaces a fractional one, whose error would copy the whole list.
pub(crate) const CHECK_INDEX: &str = "@check_index";

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn first<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    args.into_iter().next().ok_or_else(ExecutionError::missing_argument_or_target)
}

fn charge_all<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    charge(size(args[0].as_ref(), remaining()))?;
    first(args)
}

fn charge_text<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    charge(match args[0].get_type().kind() {
        Kind::String => size(args[0].as_ref(), u64::MAX),
        _ => 1,
    })?;
    first(args)
}

fn charge_search<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    charge(match args[0].get_type().kind() {
        Kind::Map => 1,
        _ => size(args[0].as_ref(), remaining()),
    })?;
    first(args)
}

fn charge_bytes<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    charge(bytes(args[0].as_ref(), remaining()))?;
    first(args)
}

fn charge_count<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let count = args[0].downcast_ref::<CelInt>().map_or(1, |n| *n.inner());
    charge(u64::try_from(count).unwrap_or(1))?;
    first(args)
}

fn charge_pairs<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let all = size(args[0].as_ref(), remaining());
    let length = args[0].downcast_ref::<CelList>().map_or(1, |l| l.inner().len() as u64);
    charge(all.saturating_mul(length))?;
    first(args)
}

fn charge_turns<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let turns = match args[0].as_sizer() {
        Some(sizer) => u64::try_from(sizer.size().into_inner()).unwrap_or(0),
        None => 0,
    };
    let cost = args[1].downcast_ref::<CelInt>().map_or(1, |n| n.inner().unsigned_abs());
    let copies = size(args[0].as_ref(), remaining());
    charge(turns.saturating_mul(cost).saturating_add(copies))?;
    first(args)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn charge_product<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let enough = remaining().saturating_mul(TEXT_PER_STEP as u64);
    let (a, b) = (bytes(args[0].as_ref(), enough), bytes(args[1].as_ref(), enough));
    charge(1 + (a + 1).saturating_mul(b + 1) / TEXT_PER_STEP as u64)?;
    Ok(CowVal::owned(CelBool::from(true)))
}

fn check_index<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    charge(size(args[0].as_ref(), remaining()))?;
    if args[0].downcast_ref::<CelDouble>().is_some_and(|d| d.inner().fract() != 0.0) {
        return Ok(CowVal::owned(Fraction));
    }
    first(args)
}

/// A double that is no index. The evaluator refuses it as it refuses 1.5, but without a copy of the list.
#[derive(Debug)]
struct Fraction;

impl Val for Fraction {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        static DOUBLE: Type = DOUBLE_TYPE;
        &DOUBLE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Fraction)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a CEL function")]
fn matches<'b, 'v>(args: Args<'b, 'v>) -> Outcome<'b, 'v> {
    let (Some(text), Some(pattern)) =
        (args[0].downcast_ref::<CelString>(), args[1].downcast_ref::<CelString>())
    else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    regex::is_match(pattern.inner(), text.inner()).map(|found| CowVal::owned(CelBool::from(found)))
}

/// Adds the functions of this module, and `matches`, to an environment.
pub(crate) fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    let one: [(&str, cel::common::functions::Function); 7] = [
        (CHARGE, charge_all),
        (CHARGE_TEXT, charge_text),
        (CHARGE_SEARCH, charge_search),
        (CHARGE_BYTES, charge_bytes),
        (CHARGE_COUNT, charge_count),
        (CHARGE_PAIRS, charge_pairs),
        (CHECK_INDEX, check_index),
    ];
    for (name, function) in one {
        env.add_overload(name, name, vec![DYN_TYPE], function)?;
    }
    env.add_overload(CHARGE_TURNS, CHARGE_TURNS, vec![DYN_TYPE, INT_TYPE], charge_turns)?;
    env.add_overload(CHARGE_PRODUCT, CHARGE_PRODUCT, vec![DYN_TYPE, DYN_TYPE], charge_product)?;
    env.add_overload("matches", "matches", vec![STRING_TYPE, STRING_TYPE], matches)?;
    env.add_member_overload("matches", "matches_string", STRING_TYPE, vec![STRING_TYPE], matches)?;
    Ok(())
}
