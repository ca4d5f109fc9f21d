//! Records come back as they were kept, and the file is as it should be.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query, Record, RecordId, SCHEMA};
use rusqlite::Connection;
use tempfile::TempDir;

/// A query with time enough for a busy machine.
fn ask(text: &str) -> Query<'_> {
    Query { deadline: Duration::from_secs(20), ..Query::new(text) }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("logs/memory.db")
}

fn open(path: &Path) -> Bundle {
    let bundle = Bundle::new(path, Duration::from_secs(5)).unwrap();
    for (layer, outcome) in bundle.initialize() {
        outcome.unwrap_or_else(|error| panic!("{layer}: {error}"));
    }
    bundle
}

fn texts(bundle: &Bundle, query: &str) -> Vec<String> {
    let answer = bundle.query(&ask(query)).unwrap();
    assert!(answer.failed_layers.is_empty(), "{:?}", answer.failed_layers);
    answer.hits.into_iter().map(|hit| hit.text).collect()
}

fn counts(bundle: &Bundle) -> Vec<i64> {
    bundle.stats().unwrap().layers.into_iter().map(|(_, layer)| layer.records).collect()
}

/// SQLite's own opinion of the file and of every index in it.
fn check_integrity(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    for layer in Layer::ALL {
        let check = format!("INSERT INTO {layer}_index({layer}_index) VALUES('integrity-check')");
        connection.execute(&check, []).unwrap();
    }
}

#[test]
fn a_record_comes_back_whole() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    let text = "Crème brûlée \0 \u{1f980}\nsecond line \"quoted\" 'too'";
    let metadata = r#"{"b":1.5,"a":[null,true,{"x":"\u0000"}]}"#;
    let record = Record { text: text.into(), metadata: metadata.into(), key: Some("k".into()) };
    let id = bundle.remember(Layer::Semantic, &record).unwrap();
    for query in ["brûlée", "BRULEE", "second", "quoted too"] {
        let answer = bundle.query(&ask(query)).unwrap();
        assert_eq!(answer.hits.len(), 1, "{query}");
        let hit = &answer.hits[0];
        assert_eq!((hit.id, hit.text.as_str(), hit.metadata.as_str()), (id, text, metadata));
        assert!(hit.score > 0.0 && hit.created > 1.7e9);
    }
    drop(bundle);
    assert_eq!(texts(&open(&file(&folder)), "crème"), [text]);
}

#[test]
fn a_key_replaces_and_keeps_the_id() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    let keyed = |text: &str| Record { key: Some("doc".into()), ..Record::new(text) };
    let id = bundle.remember(Layer::Semantic, &keyed("apples are red")).unwrap();
    assert_eq!(bundle.remember(Layer::Semantic, &keyed("pears, which are green and long")).unwrap(), id);
    assert_ne!(bundle.remember(Layer::Working, &keyed("plums")).unwrap(), id, "a key is of one layer");
    assert!(texts(&bundle, "apples").is_empty());
    assert_eq!(texts(&bundle, "pears").len(), 1);
    assert_eq!(counts(&bundle), [1, 0, 1, 0]);
    let batch = [keyed("first"), Record::new("other"), keyed("second")];
    let ids = bundle.remember_many(Layer::Semantic, &batch).unwrap();
    assert_eq!((ids[0], ids[2]), (id, id));
    assert!(texts(&bundle, "first pears").is_empty());
    drop(bundle);
    check_integrity(&file(&folder));
}

#[test]
fn what_is_forgotten_is_gone_and_its_id_is_not_used_again() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    let id = bundle.remember(Layer::Episodic, &Record::new("a short life")).unwrap();
    assert!(bundle.forget(id).unwrap());
    assert!(!bundle.forget(id).unwrap());
    assert!(texts(&bundle, "short life").is_empty());
    assert_eq!(counts(&bundle), [0; 4]);
    assert_ne!(bundle.remember(Layer::Episodic, &Record::new("another")).unwrap(), id);
    assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
    for wrong in
        ["", "episodic", "episodic-", "episodic-0", "episodic--1", "episodic-+1", "episodic-01", "dream-1"]
    {
        assert_eq!(wrong.parse::<RecordId>().unwrap_err().kind, ErrorKind::InvalidInput, "{wrong}");
    }
    drop(bundle);
    check_integrity(&file(&folder));
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    let mut batch: Vec<Record> = (0..500).map(|n| Record::new(format!("number n{n}"))).collect();
    batch.push(Record::new("  "));
    let error = bundle.remember_many(Layer::Working, &batch).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("record 500"), "{error}");
    assert_eq!(counts(&bundle), [0; 4]);
    batch.pop();
    assert_eq!(bundle.remember_many(Layer::Working, &batch).unwrap().len(), 500);
    assert!(bundle.remember_many(Layer::Working, &[]).unwrap().is_empty());
    assert_eq!(counts(&bundle), [500, 0, 0, 0]);
    assert_eq!(texts(&bundle, "n499"), ["number n499"]);
}

#[test]
fn too_much_is_refused_with_the_limit_in_the_text() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    let refused = |record: Record| {
        let error = bundle.remember(Layer::Working, &record).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        error.message
    };
    let limit = neoabzu_memory::MAX_TEXT;
    bundle.remember(Layer::Working, &Record::new("x ".repeat(limit / 2))).unwrap();
    assert!(refused(Record::new("x".repeat(limit + 1))).contains(&limit.to_string()));
    refused(Record::new(""));
    for metadata in
        ["[]", "1", "{", "{}{}", "", "{\"a\":NaN}", &format!("{}1{}", "[".repeat(500), "]".repeat(500))]
    {
        refused(Record { metadata: metadata.into(), ..Record::new("x") });
    }
    refused(Record { metadata: format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10)), ..Record::new("x") });
    for key in ["", "a\0b", &"k".repeat(513)] {
        refused(Record { key: Some(key.into()), ..Record::new("x") });
    }
    let many = vec![Record::new("x"); neoabzu_memory::MAX_BATCH + 1];
    assert_eq!(bundle.remember_many(Layer::Working, &many).unwrap_err().kind, ErrorKind::InvalidInput);
    let large = vec![Record::new("x".repeat(limit)); 257];
    assert_eq!(bundle.remember_many(Layer::Working, &large).unwrap_err().kind, ErrorKind::InvalidInput);
}

#[test]
fn the_file_is_private_in_a_folder_that_was_made_for_it() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    bundle.remember(Layer::Working, &Record::new("x")).unwrap();
    for end in ["", "-wal", "-shm"] {
        let path = format!("{}{end}", file(&folder).display());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "{path}");
    }
    bundle.close();
    assert_eq!(std::fs::read_dir(folder.path().join("logs")).unwrap().count(), 1, "closing folds the log in");
}

#[test]
fn nothing_is_touched_before_it_is_needed() {
    let folder = TempDir::new().unwrap();
    let bundle = Bundle::new(&file(&folder), Duration::from_secs(5)).unwrap();
    bundle.remember(Layer::Working, &Record::new("")).unwrap_err();
    bundle.record_failure("a", "b", "").unwrap_err();
    bundle.recall_repair("x").unwrap_err();
    assert!(!folder.path().join("logs").exists());
}

#[test]
fn a_closed_bundle_says_so() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    bundle.close();
    bundle.close();
    assert_eq!(bundle.remember(Layer::Working, &Record::new("x")).unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(bundle.stats().unwrap_err().kind, ErrorKind::Closed);
    assert_eq!(bundle.query(&ask("x")).unwrap_err().kind, ErrorKind::Closed);
    assert!(bundle.initialize().iter().all(|(_, outcome)| outcome.is_err()));
}

#[test]
fn initialising_leaves_no_record_behind() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    bundle.initialize();
    assert_eq!(counts(&bundle), [0; 4]);
    let stats = bundle.stats().unwrap();
    assert!(stats.layers.iter().all(|(_, layer)| layer.schema == SCHEMA && layer.words == 0));
    assert!(texts(&bundle, &format!("probe{:x}", std::process::id())).is_empty());
}

#[test]
fn initialising_merges_what_many_writes_left_in_parts() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&file(&folder));
    for batch in 0..40 {
        let records: Vec<Record> =
            (0..batch % 7 + 1).map(|n| Record::new(format!("shared batch{batch} n{n}"))).collect();
        bundle.remember_many(Layer::Semantic, &records).unwrap();
    }
    bundle.forget("semantic-3".parse().unwrap()).unwrap();
    let parts = || -> i64 {
        let connection = Connection::open(file(&folder)).unwrap();
        let sql = "SELECT count(DISTINCT segid) FROM semantic_index_idx";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let (before, records, found) = (parts(), counts(&bundle), texts(&bundle, "shared batch17"));
    assert!(before > 2, "there is nothing to merge: {before}");
    open(&file(&folder));
    assert_eq!(parts(), 1);
    assert_eq!((counts(&bundle), texts(&bundle, "shared batch17")), (records, found));
    drop(bundle);
    check_integrity(&file(&folder));
}
