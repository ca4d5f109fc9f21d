//! The place of a record in its layer's index: its id and, in the lowest bits, about how long it is.
//!
//! So the search knows every match's length without a look at the record. A step is a quarter of a power of two, at
//! most 9 % off; the ranking does not need more.

const BITS: u32 = 6;
const LONGEST: i64 = (1 << BITS) - 1;

/// The first place that record `id` may have. Places are in the order of ids.
pub(crate) const fn first(id: i64) -> i64 {
    id << BITS
}

/// The place of record `id` of so many words.
pub(crate) fn of(id: i64, words: i64) -> i64 {
    first(id) | ((4.0 * (words.max(1) as f64).log2()).round() as i64).min(LONGEST)
}

/// The id, and about how many words the record has.
pub(crate) fn split(place: i64) -> (i64, f64) {
    (place >> BITS, ((place & LONGEST) as f64 / 4.0).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_the_id_and_about_the_length() {
        for words in [1, 2, 3, 10, 24, 100, 5_000] {
            let (id, length) = split(of(42, words));
            assert_eq!(id, 42);
            assert!((length / words as f64 - 1.0).abs() < 0.1, "{words} words were taken for {length}");
        }
        assert_eq!(split(of(1, 0)), (1, 1.0));
        assert_eq!(split(of(i64::MAX >> BITS, i64::MAX)).0, i64::MAX >> BITS);
        assert!(of(1, 1 << 20) < first(2));
    }
}
