//! A writer is killed at random instants: nothing it had acknowledged is lost, and the file always opens.
//!
//! `NEOABZU_KILL_ROUNDS` says how often (500), `NEOABZU_KILL_SEED` repeats a run. The writer is this program again:
//! it tells what it is about to do, does it, and tells that it is done. Some writers, each with files of its own, are
//! killed side by side.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use neoabzu_memory::{Bundle, Layer, Query, Record, RecordId};
use rusqlite::Connection;
use tempfile::TempDir;

const BUSY: Duration = Duration::from_secs(10);
/// Files that are written at the same time.
const LANES: u64 = 4;
/// After so many rounds a new file is begun: its making is killed, too.
const ROUNDS_PER_FILE: u64 = 20;

/// Numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// One thing the writer does. It is told as a line of text.
#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Keep { layer: Layer, words: Vec<String> },
    Key { layer: Layer, key: String, word: String },
    Forget { id: RecordId },
    Repair { fingerprint: String, held: bool },
}

impl Deed {
    fn random(numbers: &mut Numbers, name: &str, kept: &[RecordId]) -> Self {
        let layer = Layer::ALL[numbers.below(4) as usize];
        match numbers.below(10) {
            0..=3 => Self::Keep { layer, words: vec![name.to_owned()] },
            4 | 5 => Self::Keep {
                layer,
                words: (0..1 + numbers.below(40)).map(|n| format!("{name}n{n}")).collect(),
            },
            6 | 7 => Self::Key { layer, key: format!("key{}", numbers.below(5)), word: name.to_owned() },
            8 if !kept.is_empty() => Self::Forget { id: kept[numbers.below(kept.len() as u64) as usize] },
            _ => Self::Repair {
                fingerprint: format!("{:032x}", numbers.below(3)),
                held: numbers.below(2) == 1,
            },
        }
    }

    fn tell(&self) -> String {
        match self {
            Self::Keep { layer, words } => format!("keep {layer} {}", words.join(",")),
            Self::Key { layer, key, word } => format!("key {layer} {key} {word}"),
            Self::Forget { id } => format!("forget {id}"),
            Self::Repair { fingerprint, held } => format!("repair {fingerprint} {held}"),
        }
    }

    fn read(line: &str) -> Self {
        let parts: Vec<&str> = line.split(' ').collect();
        match parts[0] {
            "keep" => Self::Keep {
                layer: parts[1].parse().unwrap(),
                words: parts[2].split(',').map(str::to_owned).collect(),
            },
            "key" => {
                Self::Key { layer: parts[1].parse().unwrap(), key: parts[2].into(), word: parts[3].into() }
            }
            "forget" => Self::Forget { id: parts[1].parse().unwrap() },
            _ => Self::Repair { fingerprint: parts[1].into(), held: parts[2] == "true" },
        }
    }

    /// The ids of the records it wrote.
    fn carry_out(&self, bundle: &Bundle) -> Vec<RecordId> {
        match self {
            Self::Keep { layer, words } => {
                let records: Vec<Record> = words.iter().map(Record::new).collect();
                match &records[..] {
                    [one] => vec![bundle.remember(*layer, one).unwrap()],
                    many => bundle.remember_many(*layer, many).unwrap(),
                }
            }
            Self::Key { layer, key, word } => {
                let record = Record { key: Some(key.clone()), ..Record::new(word) };
                bundle.remember(*layer, &record).unwrap();
                Vec::new()
            }
            Self::Forget { id } => {
                assert!(bundle.forget(*id).unwrap());
                Vec::new()
            }
            Self::Repair { fingerprint, held } => {
                bundle.record_repair(fingerprint, "{\"summary\":\"mend\"}", *held).unwrap();
                Vec::new()
            }
        }
    }
}

/// What must be in the file.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    kept: BTreeMap<RecordId, String>,
    keyed: BTreeMap<(Layer, String), String>,
    repairs: BTreeMap<String, (i64, i64)>,
}

impl Model {
    fn apply(&mut self, deed: &Deed, ids: &[RecordId]) {
        match deed {
            Deed::Keep { words, .. } => self.kept.extend(ids.iter().copied().zip(words.iter().cloned())),
            Deed::Key { layer, key, word } => {
                self.keyed.insert((*layer, key.clone()), word.clone());
            }
            Deed::Forget { id } => {
                self.kept.remove(id);
            }
            Deed::Repair { fingerprint, held } => {
                let counts = self.repairs.entry(fingerprint.clone()).or_default();
                if *held { counts.0 += 1 } else { counts.1 += 1 }
            }
        }
    }

    /// Reads the tables themselves, past the bundle.
    fn of_file(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        let mut model = Self::default();
        for layer in Layer::ALL {
            let check = format!("INSERT INTO {layer}_index({layer}_index) VALUES('integrity-check')");
            connection.execute(&check, []).unwrap();
            let mut rows =
                connection.prepare(&format!("SELECT id, key, text FROM {layer} WHERE id > 0")).unwrap();
            let mut rows = rows.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let (id, key, text): (i64, Option<String>, String) =
                    (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
                match key {
                    None => drop(model.kept.insert(RecordId { layer, row: id }, text)),
                    Some(key) if key.starts_with("key") => drop(model.keyed.insert((layer, key), text)),
                    Some(_) => {}
                }
            }
        }
        let mut rows = connection.prepare("SELECT fingerprint, held, failed FROM repairs").unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            model.repairs.insert(row.get(0).unwrap(), (row.get(1).unwrap(), row.get(2).unwrap()));
        }
        model
    }
}

fn write(path: &Path, seed: u64, name: &str) -> ! {
    let mut out = std::io::stdout().lock();
    let mut tell = |line: String| {
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let bundle = Bundle::new(path, BUSY).unwrap();
    let mut numbers = Numbers(seed);
    let mut kept = Vec::new();
    for deed in 0_u64.. {
        let deed = Deed::random(&mut numbers, &format!("{name}d{deed}"), &kept);
        tell(format!("begin {}\n", deed.tell()));
        let ids = deed.carry_out(&bundle);
        tell(format!("done {}\n", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
        if let Deed::Forget { id } = deed {
            kept.retain(|other| *other != id);
        }
        kept.extend(ids);
    }
    unreachable!("a writer writes until it is killed")
}

/// Lets a writer work for a while. What it acknowledged goes to the model; the deed it died in is given back.
fn kill_one(path: &Path, seed: u64, name: &str, life: Duration, model: &mut Model) -> (usize, Option<Deed>) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .env("NEOABZU_KILL_WRITER", format!("{seed}|{name}|{}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = writer.stdout.take().unwrap();
    let lines =
        std::thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(life);
    writer.kill().unwrap();
    let status = writer.wait().unwrap();
    assert_eq!(status.code(), None, "the writer ended before it was killed: {status}");
    let (mut begun, mut done) = (None, 0);
    for line in lines.join().unwrap() {
        if let Some(deed) = line.strip_prefix("begin ") {
            begun = Some(Deed::read(deed));
        } else if let (Some(ids), Some(deed)) = (line.strip_prefix("done "), begun.take()) {
            let ids: Vec<RecordId> =
                ids.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect();
            model.apply(&deed, &ids);
            done += 1;
        }
    }
    (done, begun)
}

/// The file holds what the model says; the deed in which the writer died was done wholly or not at all.
fn compare(path: &Path, model: &mut Model, begun: Option<&Deed>) {
    let found = Model::of_file(path);
    if found == *model {
        return;
    }
    let deed = begun.unwrap_or_else(|| panic!("expected {model:?}\nfound {found:?}"));
    let new: Vec<RecordId> = found.kept.keys().filter(|id| !model.kept.contains_key(id)).copied().collect();
    model.apply(deed, &new);
    assert_eq!(found, *model, "after {deed:?}");
    if let Deed::Keep { words, .. } = deed {
        assert_eq!(new.len(), words.len(), "a batch was torn");
    }
}

/// The bundle itself finds what it should.
fn search(path: &Path, model: &Model) {
    let bundle = Bundle::new(path, BUSY).unwrap();
    for (layer, outcome) in bundle.initialize() {
        outcome.unwrap_or_else(|error| panic!("{layer}: {error}"));
    }
    for (id, word) in model.kept.iter().rev().take(20) {
        let hits = bundle.query(&Query { deadline: BUSY, ..Query::new(word) }).unwrap().hits;
        assert_eq!(
            hits.iter().map(|hit| (hit.id, hit.text.as_str())).collect::<Vec<_>>(),
            [(*id, word.as_str())]
        );
    }
}

fn main() {
    if let Ok(order) = std::env::var("NEOABZU_KILL_WRITER") {
        let mut parts = order.splitn(3, '|');
        let mut part = || parts.next().unwrap();
        let (seed, name) = (part().parse().unwrap(), part());
        write(Path::new(part()), seed, name);
    }
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let rounds = number("NEOABZU_KILL_ROUNDS").unwrap_or(500);
    let seed = number("NEOABZU_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("{rounds} rounds, NEOABZU_KILL_SEED={seed}");
    let (done, torn) = std::thread::scope(|scope| {
        let lane = |lane: u64| {
            let share = rounds / LANES + u64::from(lane < rounds % LANES);
            scope.spawn(move || kill_many(share, Numbers(seed.wrapping_mul(LANES).wrapping_add(lane))))
        };
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().expect("see above"))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("{done} deeds were acknowledged, {torn} writers died in one; nothing was lost");
    assert!(done > 0 || rounds == 0, "no writer lived long enough to do anything");
}

/// How much was acknowledged, and how many writers died while they did something.
fn kill_many(rounds: u64, mut numbers: Numbers) -> (usize, usize) {
    let (mut done, mut torn) = (0, 0);
    let mut folder = TempDir::new().unwrap();
    let mut model = Model::default();
    for round in 0..rounds {
        if round % ROUNDS_PER_FILE == 0 {
            folder = TempDir::new().unwrap();
            model = Model::default();
        }
        let path = folder.path().join("memory.db");
        let life = Duration::from_micros(numbers.below(40_000));
        let name = format!("r{round}");
        let (acknowledged, begun) = kill_one(&path, numbers.below(u64::MAX), &name, life, &mut model);
        // First the bundle, as the next start of a mission does: it must get along with what was left.
        drop(Bundle::new(&path, BUSY).unwrap().stats().unwrap());
        compare(&path, &mut model, begun.as_ref());
        search(&path, &model);
        done += acknowledged;
        torn += usize::from(begun.is_some());
    }
    (done, torn)
}
