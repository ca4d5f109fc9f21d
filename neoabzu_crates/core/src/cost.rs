//! What copying, comparing or searching a value costs, in steps.

use cel::common::types::{CelBytes, CelList, CelMap, CelOptional, CelString, Kind};
use cel::common::value::Val;

/// Bytes of text that cost as much as one element.
pub(crate) const TEXT_PER_STEP: usize = 128;

/// What it costs to copy, compare or search `value`; counting stops once `enough` is passed.
pub(crate) fn size(value: &dyn Val, enough: u64) -> u64 {
    match value.get_type().kind() {
        Kind::String => text(value.downcast_ref::<CelString>().map_or(0, |s| s.inner().len())),
        Kind::Bytes => text(value.downcast_ref::<CelBytes>().map_or(0, |b| b.inner().len())),
        Kind::List => {
            let mut total = 1;
            for item in value.downcast_ref::<CelList>().map_or(&[][..], |l| l.inner()) {
                if total > enough {
                    break;
                }
                total += size(item.as_ref(), enough - total);
            }
            total
        }
        Kind::Map => {
            let mut total = 1;
            for (key, item) in value.downcast_ref::<CelMap>().into_iter().flat_map(|m| m.inner().iter()) {
                if total > enough {
                    break;
                }
                total += size(key.inner(), u64::MAX);
                total += size(item.as_ref(), enough.saturating_sub(total));
            }
            total
        }
        Kind::Opaque => match value.downcast_ref::<CelOptional>().and_then(|o| o.inner()) {
            Some(inner) => 1 + size(inner, enough),
            None => 1,
        },
        _ => 1,
    }
}

/// The cost of text of `bytes` bytes.
pub(crate) fn text(bytes: usize) -> u64 {
    1 + (bytes / TEXT_PER_STEP) as u64
}

/// Bytes of text in `value`, an element counting as 16; counting stops once `enough` is passed.
pub(crate) fn bytes(value: &dyn Val, enough: u64) -> u64 {
    if let Some(string) = value.downcast_ref::<CelString>() {
        return string.inner().len() as u64;
    }
    let mut total = 16;
    for item in value.downcast_ref::<CelList>().map_or(&[][..], |list| list.inner()) {
        if total > enough {
            break;
        }
        total += 16 + bytes(item.as_ref(), enough - total);
    }
    total
}
