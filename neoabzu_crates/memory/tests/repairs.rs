//! Failures are known again, and the repairs that held are recalled, the most reliable first.

use std::time::Duration;

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query};
use tempfile::TempDir;

/// A query with time enough for a busy machine.
fn ask(text: &str) -> Query<'_> {
    Query { deadline: Duration::from_secs(20), ..Query::new(text) }
}

fn open() -> (TempDir, Bundle) {
    let folder = TempDir::new().unwrap();
    let bundle = Bundle::new(&folder.path().join("memory.db"), Duration::from_secs(5)).unwrap();
    (folder, bundle)
}

fn record(bundle: &Bundle, fingerprint: &str, repair: &str, held: u32, failed: u32) {
    for outcome in (0..held).map(|_| true).chain((0..failed).map(|_| false)) {
        bundle.record_repair(fingerprint, repair, outcome).unwrap();
    }
}

#[test]
fn a_failure_of_another_day_is_the_same_failure() {
    let (_folder, bundle) = open();
    let first =
        bundle.record_failure("router", "network", "connect 127.0.0.1:80 refused at 00:00:01").unwrap();
    let second =
        bundle.record_failure("router", "network", "connect 10.1.2.3:81 refused at 23:59:59").unwrap();
    assert_eq!(first, second);
    assert_ne!(bundle.record_failure("router", "network", "no route").unwrap(), first);
    let stats = bundle.stats().unwrap();
    assert_eq!((stats.failures, stats.repairs), (2, 0));
    let hits = bundle.query(&Query { layers: &[Layer::Episodic], ..ask("router refused") }).unwrap().hits;
    assert_eq!(hits.len(), 2);
    assert!(hits[0].text.contains("10.1.2.3"), "the latest text is shown: {}", hits[0].text);
    assert!(hits[0].metadata.contains("\"count\":2") && hits[0].metadata.contains(&first));
}

#[test]
fn repairs_that_held_come_back_best_first() {
    let (_folder, bundle) = open();
    let failure = bundle.record_failure("router", "port", "port 80 is taken").unwrap();
    assert!(bundle.recall_repair(&failure).unwrap().is_empty());
    record(&bundle, &failure, r#"{"summary":"never","n":0}"#, 0, 3);
    record(&bundle, &failure, r#"{"summary":"half","n":1}"#, 5, 5);
    record(&bundle, &failure, r#"{"summary":"once","n":2}"#, 1, 0);
    record(&bundle, &failure, r#"{"summary":"thrice","n":3}"#, 3, 0);
    record(&bundle, &failure, r#"{"summary":"mostly","n":4}"#, 90, 10);
    let recalled = bundle.recall_repair(&failure).unwrap();
    let told: Vec<(&str, i64, i64)> =
        recalled.iter().map(|repair| (&repair.repair[12..16], repair.held, repair.failed)).collect();
    assert_eq!(told, [("most", 90, 10), ("thri", 3, 0), ("half", 5, 5), ("once", 1, 0)]);
    assert!(recalled.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert!(recalled.iter().all(|repair| repair.first <= repair.last && repair.first > 1.7e9));
    assert!(bundle.recall_repair(&"0".repeat(32)).unwrap().is_empty());
}

#[test]
fn the_same_repair_is_one_in_whatever_order_it_is_written() {
    let (_folder, bundle) = open();
    let failure = "0123456789abcdef".repeat(2);
    record(&bundle, &failure, r#"{"edits":[{"path":"a","old":"x"}],"summary":"s"}"#, 1, 0);
    record(&bundle, &failure, r#"{ "summary": "s", "edits": [{"old": "x", "path": "a"}] }"#, 1, 1);
    record(&bundle, &failure, r#"{"summary":"s","edits":[{"path":"a","old":"y"}]}"#, 1, 0);
    let recalled = bundle.recall_repair(&failure).unwrap();
    assert_eq!(
        recalled.iter().map(|repair| (repair.held, repair.failed)).collect::<Vec<_>>(),
        [(2, 1), (1, 0)]
    );
}

#[test]
fn a_repair_is_found_by_its_words_and_procedural_once_it_held() {
    let (_folder, bundle) = open();
    let failure = bundle.record_failure("router", "port", "address already in use").unwrap();
    let repair =
        r#"{"summary":"free the socket","edits":[{"path":"server.py","old":"a","new":"reuse_port=True"}]}"#;
    let layers = |bundle: &Bundle| -> Vec<Layer> {
        let hits = bundle.query(&ask("socket reuse")).unwrap().hits;
        let mut layers: Vec<Layer> = hits.iter().map(|hit| hit.id.layer).collect();
        layers.sort();
        layers
    };
    record(&bundle, &failure, repair, 0, 1);
    assert_eq!(layers(&bundle), [Layer::Episodic]);
    record(&bundle, &failure, repair, 1, 0);
    assert_eq!(layers(&bundle), [Layer::Episodic, Layer::Procedural]);
    record(&bundle, &failure, repair, 1, 0);
    assert_eq!(layers(&bundle), [Layer::Episodic, Layer::Procedural], "one record for one repair");
    let hits = bundle.query(&ask("address in use")).unwrap().hits;
    assert!(hits.iter().any(|hit| hit.text.contains("held 2 and failed 1 times") && hit.text.contains("address already")));
}

#[test]
fn long_texts_are_cut_for_show_and_counted_whole() {
    let (_folder, bundle) = open();
    let error = format!("é{}", "ß ".repeat(300_000));
    let failure = bundle.record_failure("router", "logic", &error).unwrap();
    assert_ne!(bundle.record_failure("router", "logic", &format!("{error}!")).unwrap(), failure);
    assert!(bundle.query(&ask("router")).unwrap().hits.iter().all(|hit| hit.text.len() < 5000));
}

#[test]
fn what_is_no_repair_is_refused() {
    let (_folder, bundle) = open();
    let failure = "a".repeat(32);
    for (fingerprint, repair) in [
        ("", "{\"a\":1}"),
        ("A", "{\"a\":1}"),
        (&failure[1..], "{\"a\":1}"),
        (&failure, "{}"),
        (&failure, "[1]"),
        (&failure, "nonsense"),
    ] {
        let error = bundle.record_repair(fingerprint, repair, true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput, "{fingerprint} {repair}");
    }
    assert_eq!(bundle.recall_repair("zz").unwrap_err().kind, ErrorKind::InvalidInput);
}
