//! Which records of a layer are looked at, without looking at all that have a common word.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::error::Result;
use crate::layer::RecordId;
use crate::ranking::{self, Best, Weights};
use crate::survey::{MAX_RANKED, Surveyed, quoted};
use crate::{index_place, word_counts};

/// Records for each hit that are enough to choose from.
const ENOUGH: i64 = 4;
/// Common words that take part.
const MAX_COMMON: usize = 4;
/// Words that are looked up for each record of the budget, on average. When there are as many hits as were asked
/// for, what would take more is left out.
const WORK: i64 = 4;
/// The newest ids among which records with several common words are sought.
const WINDOW: i64 = index_place::first(200_000);

/// A record on its way to being a hit.
pub(crate) struct Candidate {
    pub id: RecordId,
    pub score: f64,
}

/// A way to choose records of a layer, in FTS5's language.
struct Tier {
    expression: String,
    /// Which word of the layer's order each word of the expression is, as far as `word_counts()` gives them.
    places: Vec<usize>,
    /// Only the newest `most` of them and only places above `after`; else all there are, in any order.
    newest: Option<(i64, i64)>,
    /// What a record that is not chosen here, or earlier, can reach with each of its words once.
    bound: f64,
    /// How many words of how many records are looked up, about.
    work: i64,
}

impl Tier {
    /// Groups of words, joined within a group by the first operator and from group to group by the second.
    fn new(
        found: &Surveyed,
        weights: &Weights<'_>,
        groups: &[&[usize]],
        within: &str,
        between: &str,
    ) -> Self {
        let texts = groups.iter().map(|group| {
            let quoted: Vec<String> =
                group.iter().map(|&place| quoted(&weights.words[found.order[place]])).collect();
            format!("({})", quoted.join(within))
        });
        let expression = texts.collect::<Vec<_>>().join(between);
        let places = groups.concat().into_iter().take(word_counts::WORDS).collect();
        Self { expression, places, newest: None, bound: 0.0, work: 0 }
    }
}

/// The tiers for one layer, in the order in which they are tried.
fn tiers(found: &Surveyed, weights: &Weights<'_>, limit: i64, budget: i64) -> Vec<Tier> {
    let places: Vec<usize> = (0..found.order.len()).collect();
    let worth = |places: &[usize]| places.iter().map(|&place| weights.idf[found.order[place]]).sum::<f64>();
    let up_to = |most: i64| {
        let sums = found.order.iter().scan(0, |sum, &word| {
            *sum += found.occurs[word];
            Some(*sum)
        });
        sums.take_while(|sum| *sum <= most).count()
    };
    let rare = up_to(budget);
    // The rarest words alone are mostly enough, and there are few records to look at.
    let rarest = rare.min(up_to(ENOUGH * limit) + 1);
    let common = &places[rare..places.len().min(rare + MAX_COMMON)];
    let occurs = |place: &usize| found.occurs[found.order[*place]];
    let mut tiers = Vec::new();
    for (chosen, rest) in [(&places[..rarest], &places[rarest..]), (&places[rarest..rare], &places[rare..])] {
        if chosen.is_empty() {
            continue;
        }
        let counted = [&rest[..rest.len().min(MAX_RANKED - chosen.len())], chosen].concat();
        // The second group is always true: it is there so that its words are counted, too.
        let groups: &[&[usize]] = if rest.is_empty() { &[chosen] } else { &[chosen, &counted] };
        let work = chosen.iter().map(occurs).sum::<i64>() * groups.concat().len() as i64;
        tiers.push(Tier { bound: worth(rest), work, ..Tier::new(found, weights, groups, " OR ", " AND ") });
    }
    let mut newest =
        |most: i64, after: i64, bound: &[usize], words: &[&[usize]], within: &str, between: &str| {
            let work = most * words.concat().len() as i64;
            let tier = Tier::new(found, weights, words, within, between);
            tiers.push(Tier { newest: Some((most, after)), bound: worth(bound), work, ..tier });
        };
    let lately = found.newest - WINDOW;
    if rare == 0 && places.len() > MAX_COMMON {
        newest(ENOUGH * limit, lately, &places[..places.len() - 1], &[&places], " AND ", "");
    }
    if common.len() > 1 {
        newest(ENOUGH * limit, lately, &common[..common.len() - 1], &[common], " AND ", "");
    }
    if common.len() > 2 {
        let pairs = (1..common.len()).flat_map(|at| common[..at].iter().map(move |&one| [one, common[at]]));
        let pairs: Vec<[usize; 2]> = pairs.collect();
        let pairs: Vec<&[usize]> = pairs.iter().map(|pair| &pair[..]).collect();
        newest(budget / 4, lately, &common[..1], &pairs, " AND ", " OR ");
    }
    if !common.is_empty() {
        newest(budget, 0, &[], &[common], " OR ", "");
    }
    tiers
}

/// The records of one layer that may be among the best; in each tier about `budget` are looked at.
pub(crate) fn choose(
    connection: &Connection,
    found: &Surveyed,
    weights: &Weights<'_>,
    best: &mut Best,
    budget: i64,
) -> Result<Vec<Candidate>> {
    let layer = found.layer;
    let mut chosen = Vec::new();
    let mut seen = HashSet::new();
    let sql =
        format!("SELECT rowid, word_counts({layer}_index) FROM {layer}_index WHERE {layer}_index MATCH ?1");
    // In no order is in the order of the index, which is faster than backwards.
    let mut any = connection.prepare_cached(&format!("{sql} LIMIT ?2"))?;
    let mut newest =
        connection.prepare_cached(&format!("{sql} AND rowid > ?3 ORDER BY rowid DESC LIMIT ?2"))?;
    let (mut work, mut left) = (0, f64::INFINITY);
    for tier in tiers(found, weights, best.limit as i64, budget) {
        work += tier.work;
        if let Some(worst) = best.worst() {
            // What is left could only come behind: surely, or in all likelihood and to be sure would take long.
            let behind = worst >= ranking::MOST * left || (worst >= left && tier.work > budget);
            if behind || work > WORK * budget {
                break;
            }
        }
        left = tier.bound;
        let mut rows = match tier.newest {
            // Twice: the numbers of records that the tier goes by may be estimates.
            None => any.query(params![tier.expression, 2 * budget])?,
            Some((most, after)) => newest.query(params![tier.expression, most, after])?,
        };
        while let Some(row) = rows.next()? {
            let place: i64 = row.get(0)?;
            if !seen.insert(place) {
                continue;
            }
            let packed = row.get(1)?;
            let mut counts = [0; MAX_RANKED];
            for (at, &place) in tier.places.iter().enumerate() {
                counts[place] = word_counts::count(packed, at).max(counts[place]);
            }
            let (row, length) = index_place::split(place);
            let score = weights.score(&found.order, &counts, length);
            best.add(score);
            chosen.push(Candidate { id: RecordId { layer, row }, score });
        }
    }
    Ok(chosen)
}
