//! Files that other versions of this program wrote.

use std::path::PathBuf;
use std::time::Duration;

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query, Record};
use rusqlite::Connection;
use tempfile::TempDir;

/// A query with time enough for a busy machine.
fn ask(text: &str) -> Query<'_> {
    Query { deadline: Duration::from_secs(20), ..Query::new(text) }
}

/// As the first version made it.
const FIRST: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE record (id INTEGER PRIMARY KEY, layer TEXT NOT NULL, text TEXT NOT NULL,
                         metadata TEXT NOT NULL DEFAULT '{}', created REAL NOT NULL);
    CREATE INDEX record_layer ON record (layer, created);
    PRAGMA user_version = 1;";

fn file(folder: &TempDir, script: &str) -> PathBuf {
    let path = folder.path().join("memory.db");
    Connection::open(&path).unwrap().execute_batch(script).unwrap();
    path
}

fn open(path: &std::path::Path) -> Bundle {
    Bundle::new(path, Duration::from_secs(5)).unwrap()
}

#[test]
fn the_records_of_the_first_arrangement_are_taken_over() {
    let folder = TempDir::new().unwrap();
    let rows = "INSERT INTO record (layer, text, metadata, created) VALUES
        ('semantic', 'routers need a restart', '{\"source\":\"runbook\"}', 12.5), ('working', 'now', '{}', 13.0);";
    let path = file(&folder, &format!("{FIRST}{rows}"));
    let bundle = open(&path);
    for (layer, outcome) in bundle.initialize() {
        outcome.unwrap_or_else(|error| panic!("{layer}: {error}"));
    }
    let hits = bundle.query(&ask("restart")).unwrap().hits;
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].id.layer, hits[0].created), (Layer::Semantic, 12.5));
    assert_eq!(hits[0].metadata, "{\"source\":\"runbook\"}");
    assert_eq!(bundle.stats().unwrap().layers.iter().map(|(_, layer)| layer.records).sum::<i64>(), 2);
    drop(bundle);
    let connection = Connection::open(&path).unwrap();
    assert!(connection.prepare("SELECT * FROM record").is_err(), "the old table is still there");
    let format: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 2, "the first version would take the file for its own");
}

#[test]
fn a_query_does_not_wait_for_an_older_file_longer_than_its_deadline() {
    let folder = TempDir::new().unwrap();
    let rows = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000)
        INSERT INTO record (layer, text, metadata, created)
        SELECT 'semantic', 'word' || n || ' of a long text ' || (n % 997), '{}', n FROM n;";
    let path = file(&folder, &format!("{FIRST}{rows}"));
    let bundle = open(&path);
    let hurried = Query { deadline: Duration::from_millis(1), ..Query::new("word99999") };
    let answer = bundle.query(&hurried).unwrap();
    assert!(Connection::open(&path).unwrap().prepare("SELECT * FROM record").is_ok(), "it was waited for");
    assert_eq!(answer.failed_layers.len(), 4);
    assert!(answer.failed_layers.iter().all(|(_, error)| error.kind == ErrorKind::Deadline));
    // Nothing else opens the file for writing, and still it comes to its end.
    assert!(bundle.query(&hurried).unwrap().hits.is_empty());
    let patient = Query { deadline: Duration::from_secs(60), ..hurried };
    let answer = bundle.query(&patient).unwrap();
    assert_eq!(answer.hits.len(), 1, "{:?}", answer.failed_layers);
    assert_eq!(bundle.stats().unwrap().layers.iter().map(|(_, layer)| layer.records).sum::<i64>(), 100_000);
}

#[test]
fn a_query_tells_why_an_older_file_cannot_be_taken_over() {
    let folder = TempDir::new().unwrap();
    let rows = "INSERT INTO record (layer, text, metadata, created) VALUES ('dreams', 'x', '{}', 1);";
    let bundle = open(&file(&folder, &format!("{FIRST}{rows}")));
    for _ in 0..2 {
        let answer = bundle.query(&ask("x")).unwrap();
        assert!(answer.failed_layers[0].1.message.contains("record 1 of this older file"), "{answer:?}");
    }
}

#[test]
fn a_record_that_cannot_be_taken_over_stops_it_and_nothing_is_lost() {
    for (row, fault) in [
        ("('dreams', 'x', '{}', 1)", "no layer \"dreams\""),
        ("('semantic', 'x', '[1]', 1)", "metadata"),
        ("('semantic', ' ', '{}', 1)", "empty"),
    ] {
        let folder = TempDir::new().unwrap();
        let rows = format!(
            "INSERT INTO record (layer, text, metadata, created) VALUES ('semantic', 'y', '{{}}', 1), {row};"
        );
        let path = file(&folder, &format!("{FIRST}{rows}"));
        let error = open(&path).remember(Layer::Working, &Record::new("x")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
        assert!(error.message.contains("record 2 ") && error.message.contains(fault), "{error}");
        assert!(error.message.contains(path.to_str().unwrap()), "{error}");
        let connection = Connection::open(&path).unwrap();
        let left: i64 = connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 2);
        assert!(connection.prepare("SELECT * FROM semantic").is_err(), "half of it was done");
    }
}

#[test]
fn a_file_of_a_newer_arrangement_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "");
    open(&path).remember(Layer::Working, &Record::new("kept")).unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 3; DROP TABLE parts").unwrap();
    let bundle = open(&path);
    for (_, outcome) in bundle.initialize() {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Schema);
        assert!(error.message.contains("newer version (format 3"), "{error}");
    }
    assert_eq!(bundle.query(&ask("kept")).unwrap().failed_layers[0].1.kind, ErrorKind::Schema);
}

#[test]
fn what_only_looks_like_an_older_file_is_left_alone() {
    for script in [
        "CREATE TABLE record(x); CREATE INDEX record_layer ON record(x)",
        "CREATE TABLE record(x); PRAGMA user_version = 1",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 7",
    ] {
        let folder = TempDir::new().unwrap();
        let path = file(&folder, script);
        let error = open(&path).stats().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "{script}: {error}");
        assert!(Connection::open(&path).unwrap().prepare("SELECT * FROM parts").is_err(), "{script}");
    }
}
