//! What a query finds, in which order, and what it says about what it could not do.

use std::collections::HashMap;
use std::time::Duration;

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query, Record};
use rusqlite::Connection;
use tempfile::TempDir;

/// A query with time enough for a busy machine.
fn ask(text: &str) -> Query<'_> {
    Query { deadline: Duration::from_secs(20), ..Query::new(text) }
}

struct Fixture {
    folder: TempDir,
    bundle: Bundle,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let bundle = Bundle::new(&folder.path().join("memory.db"), Duration::from_secs(5)).unwrap();
        Self { folder, bundle }
    }

    fn remember(&self, layer: Layer, texts: &[&str]) {
        let records: Vec<Record> = texts.iter().map(|text| Record::new(*text)).collect();
        self.bundle.remember_many(layer, &records).unwrap();
    }

    fn found(&self, query: &Query<'_>) -> Vec<String> {
        let answer = self.bundle.query(query).unwrap();
        assert!(answer.failed_layers.is_empty(), "{:?}", answer.failed_layers);
        answer.hits.into_iter().map(|hit| hit.text).collect()
    }

    /// The file in other hands, while the bundle is closed.
    fn tampered(self, change: &str) -> Self {
        self.bundle.close();
        let path = self.folder.path().join("memory.db");
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        Self { bundle: Bundle::new(&path, Duration::from_secs(5)).unwrap(), folder: self.folder }
    }
}

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }
}

#[test]
fn the_order_is_that_of_bm25_over_all_layers() {
    let fixture = Fixture::new();
    let mut numbers = Numbers(7);
    // Lengths that the index keeps exactly, so that the scores can be compared.
    let documents: Vec<Vec<String>> = (0..400)
        .map(|_| (0..[4, 8, 16, 32][numbers.below(4)]).map(|_| format!("w{}x", numbers.below(60))).collect())
        .collect();
    for (place, document) in documents.iter().enumerate() {
        fixture.remember(Layer::ALL[place % 4], &[&document.join(" ")]);
    }
    let all = documents.len() as f64;
    let average = documents.iter().map(Vec::len).sum::<usize>() as f64 / all;
    for _ in 0..50 {
        let words: Vec<String> =
            (0..1 + numbers.below(4)).map(|_| format!("w{}x", numbers.below(60))).collect();
        let mut worth: HashMap<&String, f64> = HashMap::new();
        for word in &words {
            let occurs = documents.iter().filter(|document| document.contains(word)).count() as f64;
            worth.insert(word, (1.0 + (all - occurs + 0.5) / (occurs + 0.5)).ln());
        }
        let score = |document: &Vec<String>| -> f64 {
            let discount = 1.2 * (0.25 + 0.75 * document.len() as f64 / average);
            let terms = worth.iter().map(|(word, idf)| {
                let count = document.iter().filter(|other| other == word).count() as f64;
                idf * count * 2.2 / (count + discount)
            });
            terms.sum()
        };
        let mut expected: Vec<f64> = documents.iter().map(score).filter(|score| *score > 0.0).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        expected.truncate(10);
        let text = words.join(" ");
        let found: Vec<f64> =
            fixture.bundle.query(&ask(&text)).unwrap().hits.iter().map(|hit| hit.score).collect();
        assert_eq!(found.len(), expected.len(), "{text}");
        for (one, other) in found.iter().zip(&expected) {
            assert!((one - other).abs() < 1e-9, "{text}: {found:?} is not {expected:?}");
        }
    }
}

#[test]
fn a_record_with_every_word_is_found_among_many_with_some() {
    let fixture = Fixture::new();
    let mut numbers = Numbers(11);
    // Every word is in a third of 9,000 records of one layer: far more than a query looks at.
    let texts: Vec<String> = (0..9000)
        .map(|_| {
            (0..8)
                .filter(|_| numbers.below(3) == 0)
                .fold("filler".into(), |text, n| format!("{text} common{n}"))
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    fixture.remember(Layer::Semantic, &["common0 common1 common2 common3 common4 common5 common6 common7"]);
    fixture.remember(Layer::Semantic, &texts);
    let query: String = (0..8).map(|n| format!("common{n} ")).collect();
    let first = &fixture.found(&ask(&query))[0];
    assert!(first.ends_with(query.trim()), "{first}");
    let found = fixture.found(&Query { limit: 1000, ..ask("filler") });
    assert_eq!(found.len(), 1000);
    fixture.remember(Layer::Semantic, &["needle common1", "needle filler common2"]);
    assert_eq!(fixture.found(&ask("common2 needle filler"))[0], "needle filler common2");
}

#[test]
fn words_are_found_in_other_forms() {
    let fixture = Fixture::new();
    fixture.remember(Layer::Procedural, &["Restarting the routers cured the refused connections"]);
    for query in ["restart", "ROUTER", "connection refused", "réfused"] {
        assert_eq!(fixture.found(&ask(query)).len(), 1, "{query}");
    }
    assert!(fixture.found(&ask("database")).is_empty());
}

#[test]
fn nothing_in_a_query_is_syntax() {
    let fixture = Fixture::new();
    fixture.remember(Layer::Working, &["alpha beta", "and or not near", "rowid text word_counts"]);
    for query in [
        "\"",
        "\"\"\"",
        "'; DROP TABLE working; --",
        "alpha AND",
        "NOT",
        "alpha NEAR(beta",
        "text:alpha",
        "{text}:alpha",
        "^alpha",
        "alpha*",
        "- alpha",
        "+alpha",
        "(((((",
        ")",
        "alpha\0beta",
        "a\"b\"c",
        "working_index MATCH",
        "%s {} \\",
        "\u{202e}alpha",
        "\u{fffd}",
        "🦀",
    ] {
        let answer = fixture.bundle.query(&ask(query)).unwrap();
        assert!(answer.failed_layers.is_empty(), "{query}: {:?}", answer.failed_layers);
    }
    assert_eq!(fixture.found(&ask("alpha\" OR \"rowid")).len(), 3, "OR is a word, which one record has");
    assert_eq!(fixture.found(&ask("NOT alpha")).len(), 2, "NOT is a word, too");
    assert!(fixture.found(&ask("... --- !!!")).is_empty());
}

#[test]
fn only_the_layers_that_were_named_are_asked() {
    let fixture = Fixture::new();
    for layer in Layer::ALL {
        fixture.remember(layer, &["the same text"]);
    }
    let query = Query { layers: &[Layer::Semantic, Layer::Working, Layer::Semantic], ..ask("same") };
    let answer = fixture.bundle.query(&query).unwrap();
    let mut layers: Vec<Layer> = answer.hits.iter().map(|hit| hit.id.layer).collect();
    layers.sort();
    assert_eq!(layers, [Layer::Working, Layer::Semantic]);
    assert_eq!(fixture.found(&Query { limit: 3, ..ask("same") }).len(), 3);
}

#[test]
fn what_no_query_can_be_is_refused() {
    let fixture = Fixture::new();
    let long = "x".repeat((1 << 20) + 1);
    for query in [
        ask(""),
        ask(" \n\t"),
        ask(&long),
        Query { limit: 0, ..ask("x") },
        Query { limit: 1001, ..ask("x") },
        Query { layers: &[], ..ask("x") },
        Query { deadline: Duration::ZERO, ..ask("x") },
        Query { deadline: Duration::from_secs(61), ..ask("x") },
    ] {
        assert_eq!(fixture.bundle.query(&query).unwrap_err().kind, ErrorKind::InvalidInput);
    }
}

#[test]
fn a_deadline_fails_the_layers_and_not_the_query() {
    let fixture = Fixture::new();
    let texts: Vec<String> = (0..20_000).map(|n| format!("common words here and number{n}")).collect();
    fixture.remember(Layer::Semantic, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let query = "common words here and others";
    let short = Query { deadline: Duration::from_nanos(1), ..ask(query) };
    let answer = fixture.bundle.query(&short).unwrap();
    assert!(answer.hits.is_empty());
    assert_eq!(answer.failed_layers.len(), 4);
    assert!(answer.failed_layers.iter().all(|(_, error)| error.kind == ErrorKind::Deadline));
    assert_eq!(fixture.found(&ask(query)).len(), 10, "the connection is as good as before");
}

#[test]
fn a_layer_of_a_newer_schema_fails_alone() {
    let fixture = Fixture::new();
    for layer in Layer::ALL {
        fixture.remember(layer, &["the same text"]);
    }
    let fixture = fixture.tampered("UPDATE parts SET schema = 9 WHERE name = 'episodic'");
    let answer = fixture.bundle.query(&ask("same")).unwrap();
    assert_eq!(answer.hits.len(), 3);
    assert_eq!(answer.failed_layers[0].0, Layer::Episodic);
    assert_eq!(answer.failed_layers[0].1.kind, ErrorKind::Schema);
    let outcomes: Vec<bool> =
        fixture.bundle.initialize().into_iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, false, true, true]);
    let error = fixture.bundle.remember(Layer::Episodic, &Record::new("x")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Schema);
    fixture.bundle.remember(Layer::Semantic, &Record::new("x")).unwrap();
}

#[test]
fn a_damaged_layer_fails_alone() {
    let fixture = Fixture::new();
    for layer in Layer::ALL {
        fixture.remember(layer, &["the same text"]);
    }
    let fixture =
        fixture.tampered("PRAGMA writable_schema = ON; UPDATE semantic_index_data SET block = randomblob(length(block)) WHERE id > 10");
    let answer = fixture.bundle.query(&ask("same")).unwrap();
    assert_eq!(answer.hits.len(), 3);
    assert_eq!(answer.failed_layers[0].0, Layer::Semantic);
    assert_eq!(answer.failed_layers[0].1.kind, ErrorKind::Corrupt);
    let outcomes: Vec<bool> =
        fixture.bundle.initialize().into_iter().map(|(_, outcome)| outcome.is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, true]);
}

#[test]
fn a_file_that_is_no_memory_is_left_alone() {
    for content in [
        &b"not a database, but long enough to look at".repeat(100)[..],
        &b"SQLite format 3\0garbage".repeat(300),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("memory.db");
        std::fs::write(&path, content).unwrap();
        let bundle = Bundle::new(&path, Duration::from_millis(200)).unwrap();
        for (_, outcome) in bundle.initialize() {
            assert_eq!(outcome.unwrap_err().kind, ErrorKind::Corrupt);
        }
        assert_eq!(bundle.query(&ask("x")).unwrap().failed_layers.len(), 4);
        assert_eq!(bundle.remember(Layer::Working, &Record::new("x")).unwrap_err().kind, ErrorKind::Corrupt);
        drop(bundle);
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
    let folder = TempDir::new().unwrap();
    let bundle = Bundle::new(folder.path(), Duration::from_millis(200)).unwrap();
    assert_eq!(bundle.stats().unwrap_err().kind, ErrorKind::Storage);
}

#[test]
fn any_flipped_byte_is_an_error_or_harmless() {
    let fixture = Fixture::new();
    let texts: Vec<String> = (0..300).map(|n| format!("record number{n} of many words")).collect();
    fixture.remember(Layer::Semantic, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    fixture.bundle.close();
    let path = fixture.folder.path().join("memory.db");
    let content = std::fs::read(&path).unwrap();
    let mut numbers = Numbers(3);
    for _ in 0..150 {
        let mut damaged = content.clone();
        for _ in 0..1 + numbers.below(20) {
            let place = numbers.below(damaged.len());
            damaged[place] ^= 1 << numbers.below(8);
        }
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
        std::fs::write(&path, &damaged).unwrap();
        let bundle = Bundle::new(&path, Duration::from_millis(200)).unwrap();
        let _ = bundle.initialize();
        let _ = bundle.query(&ask("number7 many words"));
        let _ = bundle.remember(Layer::Semantic, &Record::new("many more"));
        let _ = bundle.stats();
        let _ = bundle.recall_repair(&"0".repeat(32));
    }
}

#[test]
fn accents_are_left_out_however_they_are_written() {
    for (composed, decomposed, bare) in [
        ("r\u{e9}sum\u{e9}", "re\u{301}sume\u{301}", "resume"),
        ("\u{c5}ngstr\u{f6}m", "A\u{30a}ngstro\u{308}m", "angstrom"),
        ("\u{1ec7}n", "e\u{323}\u{302}n", "en"),
        ("cr\u{e8}me br\u{fb}l\u{e9}e", "cre\u{300}me bru\u{302}le\u{301}e", "creme brulee"),
    ] {
        for kept in [composed, decomposed, bare] {
            let fixture = Fixture::new();
            fixture.remember(Layer::Semantic, &[kept, "sume me an g"]);
            for asked in [composed, decomposed, bare] {
                assert_eq!(fixture.found(&ask(asked)), [kept], "{asked:?} does not find {kept:?} alone");
            }
        }
    }
    // Marks that the index takes for the end of a word.
    let fixture = Fixture::new();
    fixture.remember(Layer::Semantic, &["a\u{305}b c", "a\u{338}b c"]);
    assert_eq!(fixture.found(&ask("a\u{305}b")).len(), 2);
}
