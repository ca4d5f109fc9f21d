//! The file, or what SQLite keeps beside it, is removed or replaced while a bundle has it open.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use neoabzu_memory::{Bundle, ErrorKind, Layer, Query, Record};
use tempfile::TempDir;

fn open(path: &Path) -> Bundle {
    Bundle::new(path, Duration::from_secs(5)).unwrap()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(path, end));
    }
}

fn keep(bundle: &Bundle, text: &str) {
    bundle.remember(Layer::Working, &Record::new(text)).unwrap();
}

/// What is found, with time enough for a busy machine.
fn found(bundle: &Bundle, text: &str) -> Vec<String> {
    let answer = bundle.query(&Query { deadline: Duration::from_secs(20), ..Query::new(text) }).unwrap();
    assert!(answer.failed_layers.is_empty(), "{:?}", answer.failed_layers);
    answer.hits.into_iter().map(|hit| hit.text).collect()
}

fn is_ready(bundle: &Bundle) -> bool {
    bundle.initialize().iter().all(|(_, outcome)| outcome.is_ok())
}

#[test]
fn what_is_remembered_after_the_folder_was_removed_is_in_a_new_file() {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("logs").join("memory.db");
    let bundle = open(&path);
    keep(&bundle, "before");
    assert_eq!(found(&bundle, "before"), ["before"]);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    keep(&bundle, "after");
    assert_eq!(found(&open(&path), "after"), ["after"], "it is not in the file at the path");
    assert_eq!(found(&bundle, "before after"), ["after"]);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert!(is_ready(&bundle));
    assert!(path.exists(), "it is ready without a file");
    assert!(found(&bundle, "before after").is_empty());
}

#[test]
fn another_file_in_its_place_is_read_and_what_was_known_of_the_first_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let bundle = open(&path);
    keep(&bundle, "alpha beta");
    assert!(found(&bundle, "gamma").is_empty());
    let other = folder.path().join("other.db");
    {
        let second = open(&other);
        keep(&second, "alpha gamma");
    }
    remove(&path);
    fs::rename(&other, &path).unwrap();
    // As many records, words and changes as there were in the first.
    assert_eq!(found(&bundle, "gamma"), ["alpha gamma"]);
    assert_eq!(found(&bundle, "alpha"), ["alpha gamma"]);
}

#[test]
fn to_close_a_file_that_was_replaced_leaves_the_log_of_the_new_one_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let first = open(&path);
    keep(&first, "alpha");
    remove(&path);
    let second = open(&path);
    keep(&second, "beta");
    first.close();
    assert!(beside(&path, "-wal").exists(), "the log of the new file is gone");
    assert_eq!(found(&open(&path), "alpha beta"), ["beta"]);
}

#[test]
fn a_removed_log_is_copied_into_the_file_and_made_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    for ends in [&["-wal", "-shm"][..], &["-wal"], &["-shm"]] {
        let bundle = open(&path);
        keep(&bundle, "alpha");
        assert!(!found(&bundle, "alpha").is_empty());
        ends.iter().for_each(|end| fs::remove_file(beside(&path, end)).unwrap());
        keep(&bundle, "beta");
        let all = found(&bundle, "alpha beta");
        assert!(is_ready(&bundle));
        drop(bundle);
        let mut after = found(&open(&path), "alpha beta");
        after.sort();
        let mut all = all;
        all.sort();
        assert_eq!(after, all);
        assert_eq!(all.len() % 2, 0, "{ends:?}: {all:?}");
    }
}

#[test]
fn a_log_that_another_bundle_still_uses_is_not_made_again_below_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.db");
    let (one, other) = (open(&path), open(&path));
    keep(&one, "alpha");
    keep(&other, "beta");
    for end in ["-wal", "-shm"] {
        fs::remove_file(beside(&path, end)).unwrap();
    }
    let error = one.remember(Layer::Working, &Record::new("gamma")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Storage);
    assert!(error.message.contains("write-ahead log was removed"), "{error}");
    assert!(!is_ready(&one));
    other.close();
    keep(&one, "gamma");
    let mut kept = found(&open(&path), "alpha beta gamma");
    kept.sort();
    assert_eq!(kept, ["alpha", "beta", "gamma"]);
}
