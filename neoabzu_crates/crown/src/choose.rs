//! Picks one servant of several: two are drawn by weight, the one with less to do is taken.
//!
//! Two random choices keep the load even without the herd that always taking the idlest makes
//! (M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of a servant that may be picked.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub index: usize,
    pub weight: f64,
    pub under_way: u32,
    /// Average latency in seconds.
    pub latency: Option<f64>,
}

/// A stream of random numbers that threads share (SplitMix64, S. Vigna, <https://prng.di.unimi.it>).
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Default for Random {
    fn default() -> Self {
        Random::new(RandomState::new().hash_one(0_u8))
    }
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(AtomicU64::new(seed))
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&self) -> f64 {
        let mut z =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Picks one of the candidates; `None` if there are none.
pub fn pick(candidates: &[Candidate], random: &Random) -> Option<usize> {
    match candidates {
        [] => None,
        [only] => Some(only.index),
        several => {
            let first = draw(several, None, random);
            let second = draw(several, Some(first), random);
            let (first, second) = (several[first], several[second]);
            Some(if better(&second, &first) { second.index } else { first.index })
        }
    }
}

fn draw(candidates: &[Candidate], without: Option<usize>, random: &Random) -> usize {
    let weight = |place: usize| if without == Some(place) { 0.0 } else { candidates[place].weight };
    let mut left = random.unit() * (0..candidates.len()).map(weight).sum::<f64>();
    let mut last = usize::from(without == Some(0));
    for place in (0..candidates.len()).filter(|&place| without != Some(place)) {
        last = place;
        left -= weight(place);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Whether `other` is to be preferred although `first` was drawn first: it has less to do, or as much
/// and answers in less than half the time.
fn better(other: &Candidate, first: &Candidate) -> bool {
    if other.under_way != first.under_way {
        return other.under_way < first.under_way;
    }
    matches!((other.latency, first.latency), (Some(other), Some(first)) if 2.0 * other < first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: usize, weight: f64) -> Candidate {
        Candidate { index, weight, under_way: 0, latency: None }
    }

    #[test]
    fn equals_share_by_weight() {
        let random = Random::new(7);
        let candidates = [candidate(0, 3.0), candidate(1, 1.0)];
        let first = (0..10_000).filter(|_| pick(&candidates, &random) == Some(0)).count();
        assert!((7_300..7_700).contains(&first), "{first}");
    }

    #[test]
    fn the_one_with_less_to_do_wins() {
        let random = Random::new(7);
        let busy = Candidate { under_way: 3, ..candidate(0, 100.0) };
        let slow = Candidate { latency: Some(1.0), ..candidate(0, 100.0) };
        let fast = Candidate { latency: Some(0.1), ..candidate(1, 0.01) };
        for _ in 0..1000 {
            assert_eq!(pick(&[busy, candidate(1, 0.01)], &random), Some(1));
            assert_eq!(pick(&[slow, fast], &random), Some(1));
        }
        assert_eq!(pick(&[], &random), None);
        assert_eq!(pick(&[candidate(4, 1.0)], &random), Some(4));
    }

    #[test]
    fn every_candidate_is_drawn() {
        let random = Random::new(1);
        let candidates: Vec<Candidate> = (0..5).map(|index| candidate(index, 1.0)).collect();
        for index in 0..5 {
            assert!((0..1000).any(|_| pick(&candidates, &random) == Some(index)), "{index}");
        }
    }
}
