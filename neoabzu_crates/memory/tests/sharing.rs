//! Several threads and several processes at one file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query, Record};
use rusqlite::Connection;
use tempfile::TempDir;

/// A query with time enough for a busy machine.
fn ask(text: &str) -> Query<'_> {
    Query { deadline: Duration::from_secs(20), ..Query::new(text) }
}

const WAIT: Duration = Duration::from_secs(20);

fn open(path: &Path, busy: Duration) -> Bundle {
    Bundle::new(path, busy).unwrap()
}

fn total(bundle: &Bundle) -> i64 {
    bundle.stats().unwrap().layers.iter().map(|(_, layer)| layer.records).sum()
}

#[test]
fn threads_share_a_bundle() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&folder.path().join("memory.db"), WAIT);
    thread::scope(|scope| {
        for writer in 0..4 {
            let bundle = &bundle;
            scope.spawn(move || {
                for n in 0..50 {
                    let record = Record::new(format!("shared text of writer{writer} number{n}"));
                    let id = bundle.remember(Layer::ALL[n % 4], &record).unwrap();
                    if n % 5 == 0 {
                        assert!(bundle.forget(id).unwrap());
                    }
                }
            });
        }
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let answer = bundle.query(&Query { deadline: WAIT, ..ask("shared text") }).unwrap();
                    assert!(answer.failed_layers.is_empty(), "{:?}", answer.failed_layers);
                }
            });
        }
    });
    assert_eq!(total(&bundle), 4 * 40);
}

/// The part of this file's tests that runs as another process: writes or reads as it is told.
#[test]
fn as_another_process() {
    let Ok(order) = std::env::var("NEOABZU_TEST_ORDER") else { return };
    let (path, task) = order.split_once('|').unwrap();
    let bundle = open(Path::new(path), WAIT);
    match task {
        "write" => {
            for n in 0..60 {
                bundle.remember(Layer::Episodic, &Record::new(format!("from afar, number{n}"))).unwrap();
            }
        }
        _ => {
            for _ in 0..60 {
                let answer = bundle.query(&Query { deadline: WAIT, ..ask("from afar") }).unwrap();
                assert!(answer.failed_layers.is_empty(), "{:?}", answer.failed_layers);
            }
        }
    }
}

#[test]
fn processes_open_a_new_file_at_once_and_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let start = |task: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "as_another_process", "--nocapture"])
            .env("NEOABZU_TEST_ORDER", format!("{}|{task}", path.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let processes: Vec<_> = ["write", "read", "write", "read", "write"].into_iter().map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(total(&open(&path, WAIT)), 180);
}

#[test]
fn whoever_initialises_at_the_same_time_is_in_nobodys_way() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    for (layer, outcome) in open(&path, WAIT).initialize() {
                        outcome.unwrap_or_else(|error| panic!("{layer}: {error}"));
                    }
                }
            });
        }
    });
}

#[test]
fn a_query_that_has_to_open_the_file_waits_no_longer_than_its_deadline() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let stranger = Connection::open(&path).unwrap();
    stranger.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let start = Instant::now();
    let query = Query { deadline: Duration::from_millis(50), ..ask("text") };
    let answer = open(&path, WAIT).query(&query).unwrap();
    assert_eq!(answer.failed_layers.len(), 4);
    assert!(answer.failed_layers.iter().all(|(_, error)| error.kind == ErrorKind::Busy));
    assert!(start.elapsed() < WAIT, "it waited as long as a writer would");
    drop(stranger);
}

#[test]
fn a_writer_that_does_not_let_go_is_named_within_the_busy_timeout() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let bundle = open(&path, Duration::from_millis(100));
    bundle.remember(Layer::Working, &Record::new("before")).unwrap();
    let mut stranger = Connection::open(&path).unwrap();
    let held = stranger.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let start = Instant::now();
    let error = bundle.remember(Layer::Working, &Record::new("during")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(bundle.query(&ask("before")).unwrap().hits.len(), 1, "reading does not wait for a writer");
    drop(held);
    bundle.remember(Layer::Working, &Record::new("after")).unwrap();
}

#[test]
fn closing_waits_for_nobody_and_breaks_nobody() {
    let folder = TempDir::new().unwrap();
    let bundle = open(&folder.path().join("memory.db"), WAIT);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut kept = 0;
            loop {
                match bundle.remember(Layer::Working, &Record::new("text")) {
                    Ok(_) => kept += 1,
                    Err(error) => return (kept, error.kind),
                }
            }
        });
        while total(&bundle) < 5 {}
        bundle.close();
        let (kept, kind) = writer.join().unwrap();
        assert_eq!(kind, ErrorKind::Closed);
        let again = open(bundle.path(), WAIT);
        assert_eq!(total(&again), kept);
    });
}
