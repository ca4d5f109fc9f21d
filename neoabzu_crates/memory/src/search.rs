//! Full-text search: the records that answer a text best, in bounded time.
//!
//! Ranking is BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) with the statistics of all
//! layers together, so that scores of different layers can be compared. To rank every record that has a common word
//! takes time in proportion to the file. So in each layer records are chosen in tiers, until those that are left
//! could only come behind: the records with the rarest words, those with a rare word, the newest with all of the
//! common words, with two of them, with one. The order is exact as long as all words are rare; with common words, a
//! record may be missed that is short or has them more than once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use crate::connection::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::layer::{Layer, RecordId};
use crate::ranking::{Best, Weights};
use crate::record::check_text;
use crate::store::Store;
use crate::survey::{Statistics, survey};
use crate::tiers::{Candidate, choose};
use crate::words;

/// Hits one query may ask for.
pub const MAX_LIMIT: usize = 1000;
/// The longest time a query may be given.
pub const MAX_DEADLINE: Duration = Duration::from_secs(60);
/// Records that are looked at in each tier, in all layers together.
const BUDGET: i64 = 4096;

/// A question to the bundle.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub text: &'a str,
    pub layers: &'a [Layer],
    pub limit: usize,
    pub deadline: Duration,
}

impl<'a> Query<'a> {
    /// All layers, ten hits, a quarter of a second.
    pub fn new(text: &'a str) -> Self {
        Self { text, layers: &Layer::ALL, limit: 10, deadline: Duration::from_millis(250) }
    }

    fn check(&self) -> Result<()> {
        check_text("query", self.text)?;
        if self.layers.is_empty() {
            return Err(Error::invalid("no layer is named to search in"));
        }
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            return Err(Error::invalid(format!("the limit is {}, it may be 1 to {MAX_LIMIT}", self.limit)));
        }
        if self.deadline.is_zero() || self.deadline > MAX_DEADLINE {
            let most = MAX_DEADLINE.as_secs();
            return Err(Error::invalid(format!(
                "the deadline is {:?}, it may be up to {most} s",
                self.deadline
            )));
        }
        Ok(())
    }
}

/// A record that answers the query. A higher score is better; `created` in epoch seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub id: RecordId,
    pub score: f64,
    pub text: String,
    /// A JSON object.
    pub metadata: String,
    pub created: f64,
}

/// The hits, best first, and the layers that could not be asked.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub hits: Vec<Hit>,
    pub failed_layers: Vec<(Layer, Error)>,
    pub elapsed: Duration,
}

pub(crate) fn query(store: &Store, statistics: &Statistics, query: &Query<'_>) -> Result<Answer> {
    query.check()?;
    let start = Instant::now();
    let end = start + query.deadline;
    let mut answer = Answer::default();
    let words = words::distinct(query.text);
    if !words.is_empty() {
        let mut layers = query.layers.to_vec();
        layers.sort_unstable();
        layers.dedup();
        let searched = search(store, statistics, &words, &layers, query.limit, end, &mut answer);
        if let Err(error) = searched {
            if matches!(error.kind, ErrorKind::Closed | ErrorKind::Forked) {
                return Err(error);
            }
            answer.hits.clear();
            answer.failed_layers = layers.into_iter().map(|layer| (layer, error.clone())).collect();
        }
    }
    for (_, error) in &mut answer.failed_layers {
        error.locate(store.path());
    }
    answer.elapsed = start.elapsed();
    Ok(answer)
}

/// Fills the answer. An error concerns all layers; one that concerns a single layer is noted in the answer.
fn search(
    store: &Store,
    statistics: &Statistics,
    words: &[String],
    layers: &[Layer],
    limit: usize,
    end: Instant,
    answer: &mut Answer,
) -> Result<()> {
    let mut lease = store.reader(end)?;
    let mut time = Time { clock: Arc::clone(lease.clock()), end, stages: 2 * layers.len() as u32 + 1 };
    let content = lease.content;
    // One view of the file for all statements, and its locks taken once.
    let transaction = lease.transaction()?;
    let failed = &mut answer.failed_layers;
    let mut surveyed = Vec::new();
    for &layer in layers {
        match time.next_stage().and_then(|()| survey(&transaction, statistics, content, layer, words)) {
            Ok(found) => surveyed.push(found),
            Err(error) => failed.push((layer, error)),
        }
    }
    let weights = Weights::new(words, &surveyed);
    let budget = BUDGET / layers.len() as i64;
    let mut best = Best::new(limit);
    let mut candidates = Vec::new();
    for found in &surveyed {
        let chosen =
            time.next_stage().and_then(|()| choose(&transaction, found, &weights, &mut best, budget));
        match chosen {
            Ok(chosen) => candidates.extend(chosen),
            Err(error) => failed.push((found.layer, error)),
        }
    }
    // The best first; among equals the newest.
    candidates.sort_unstable_by(|a, b| {
        b.score.total_cmp(&a.score).then(b.id.row.cmp(&a.id.row)).then(a.id.cmp(&b.id))
    });
    candidates.truncate(limit);
    for candidate in candidates {
        time.stages = 1;
        match time.next_stage().and_then(|()| fetch(&transaction, &candidate)) {
            Ok(hit) => answer.hits.extend(hit),
            Err(error) => failed.push((candidate.id.layer, error)),
        }
    }
    // A layer that failed half way through gives nothing, rather than an unknown part.
    failed.sort_by_key(|(layer, _)| *layer);
    failed.dedup_by_key(|(layer, _)| *layer);
    answer.hits.retain(|hit| !failed.iter().any(|(layer, _)| *layer == hit.id.layer));
    Ok(())
}

/// Shares the time of a query among its stages, so that one slow layer does not use up that of the others.
struct Time {
    clock: Arc<Clock>,
    end: Instant,
    /// Stages to come; what one does not use is shared by the rest.
    stages: u32,
}

impl Time {
    fn next_stage(&mut self) -> Result<()> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::Deadline, "the time limit was reached"));
        }
        self.clock.set(Some(Instant::now() + left / self.stages.max(1)));
        self.stages = self.stages.saturating_sub(1);
        Ok(())
    }
}

fn fetch(connection: &Connection, candidate: &Candidate) -> Result<Option<Hit>> {
    let RecordId { layer, row } = candidate.id;
    let hit = connection
        .prepare_cached(&format!("SELECT text, metadata, created FROM {layer} WHERE id = ?1"))?
        .query_row([row], |row| {
            Ok(Hit {
                id: candidate.id,
                score: candidate.score,
                text: row.get(0)?,
                metadata: row.get(1)?,
                created: row.get(2)?,
            })
        });
    Ok(hit.optional()?)
}
