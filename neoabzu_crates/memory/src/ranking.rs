//! What a record's words make it worth.

use crate::survey::{MAX_RANKED, Surveyed};

/// BM25's two parameters: how soon a repeated word stops to count, how much a long text is discounted.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// What a word adds to a score at most, as a multiple of what it is worth.
pub(crate) const MOST: f64 = K1 + 1.0;

/// What a word is worth, by its rarity in all layers.
pub(crate) struct Weights<'a> {
    pub words: &'a [String],
    pub idf: Vec<f64>,
    average: f64,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(words: &'a [String], surveyed: &[Surveyed]) -> Self {
        let records: i64 = surveyed.iter().map(|found| found.part.records).sum();
        let length: i64 = surveyed.iter().map(|found| found.part.words).sum();
        let idf = (0..words.len()).map(|word| {
            let occurs = surveyed.iter().map(|found| found.occurs[word]).sum::<i64>() as f64;
            (1.0 + (records as f64 - occurs + 0.5).max(0.0) / (occurs + 0.5)).ln()
        });
        Self { words, idf: idf.collect(), average: length.max(1) as f64 / records.max(1) as f64 }
    }

    /// BM25 of a record of `length` words; `counts` are of the words of `order`.
    pub(crate) fn score(&self, order: &[usize], counts: &[u8; MAX_RANKED], length: f64) -> f64 {
        let discount = K1 * (1.0 - B + B * length / self.average);
        let terms = order.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(&word, &count)| {
            let count = f64::from(count);
            self.idf[word] * count * (K1 + 1.0) / (count + discount)
        });
        terms.sum()
    }
}

/// The best scores so far.
pub(crate) struct Best {
    scores: Vec<f64>,
    pub limit: usize,
}

impl Best {
    pub(crate) fn new(limit: usize) -> Self {
        Self { scores: Vec::new(), limit }
    }

    pub(crate) fn add(&mut self, score: f64) {
        if self.worst().is_none_or(|worst| worst < score) {
            let place = self.scores.partition_point(|other| *other >= score);
            self.scores.insert(place, score);
            self.scores.truncate(self.limit);
        }
    }

    /// What a record must surpass to be a hit; `None` while there are fewer than were asked for.
    pub(crate) fn worst(&self) -> Option<f64> {
        if self.scores.len() < self.limit { None } else { self.scores.last().copied() }
    }
}
