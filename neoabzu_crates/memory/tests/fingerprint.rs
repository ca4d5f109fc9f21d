//! The same fault on another day has the same fingerprint; another fault has another.

use neoabzu_memory::{ErrorKind, fingerprint, normalise};

fn same(one: &str, other: &str) {
    assert_eq!(normalise(one), normalise(other));
    assert_eq!(fingerprint("router", "network", one), fingerprint("router", "network", other));
}

fn different(one: &str, other: &str) {
    assert_ne!(fingerprint("router", "network", one), fingerprint("router", "network", other));
}

#[test]
fn what_changes_from_day_to_day_does_not_count() {
    same("timed out after 1.5s (attempt 3)", "timed out after 980ms (attempt 12)");
    same("connect to 127.0.0.1:8080 refused", "connect to 10.0.0.17:9361 refused");
    same("connect to [::1]:8080 refused", "connect to [fe80::1:2]:9361 refused");
    same("GET http://localhost:8000/healthz?x=1: 503", "GET https://user@host/ready: 502");
    same("<Task at 0x7f3a10> failed", "<Task at 0xdeadbeef> failed");
    same("commit 3f2a91bc0d not found", "commit 0a1b2c3d4e5f not found");
    same("id 123e4567-e89b-12d3-a456-426614174000 taken", "id deadbeef-dead-beef-dead-beefdeadbeef taken");
    same("open /srv/a/model.bin: denied", "open ./logs/model.bin: denied");
    same("open '/srv/my models/a b.bin': denied", "open '/x': denied");
    same(r"open C:\models\a.bin: denied", r"open D:\b.bin: denied");
    same("in razar/launchers/local.py line 12", "in agents/razar/ladder.py line 900");
    same("2025-09-21T00:00:05.123Z ERROR down", "2026-01-02 13:14:15,007 ERROR down");
    same("[2025-09-21T00:00:05+02:00] down", "[2025-09-21 00:00:05 UTC] down");
    same("Sep 21 00:00:05 host router: down", "Nov 3 23:59:59 host router: down");
    same("[21/Sep/2025:00:00:00 +0000] down", "[03/Nov/2026:10:11:12 -0500] down");
    same("Mon, 21 Sep 2025 00:00:00 GMT down", "Tue, 03 Nov 2026 10:00:00 GMT down");
    same("worker-17 died", "worker-4 died");
    same("exit status -9", "exit status 137");
    same("used 1,024 MiB of 2GiB", "used 12 MiB of 512MiB");
    same("\x1b[1m/srv/\x1b[32mx.py\x1b[0m: refused", "/opt/y.py: refused");
    same("\x1b[31mrefused\x1b[0m\n\n  by peer\0", "refused by peer");
}

#[test]
fn a_size_in_another_unit_does_not_count() {
    same(
        "Tried to allocate 20.00 MiB. GPU 0 has 23.65 GiB in all, of which 512.00 KiB is free.",
        "Tried to allocate 1.50 GiB. GPU 3 has 79.15 GiB in all, of which 300.56 MiB is free.",
    );
    same("deadline exceeded after 1m30.5s", "deadline exceeded after 980ms");
    same("elapsed=1h2m3s", "elapsed=45.2s");
    same("gave up after 1 second", "gave up after 30 seconds");
    same("cannot allocate 763. MiB for an array", "cannot allocate 1.50 GiB for an array");
    same("diverged at lr 1.00e-05, after 3e-5s", "diverged at lr 0.001, after 12s");
    same("97.5 % of the disk", "100% of the disk");
    different("it failed after 3 h", "it failed after 3 m");
    different("4 d model", "4 h model");
}

#[test]
fn an_identifier_without_letters_is_one() {
    same("No such container: 3f2a91bc0d12", "No such container: 123456789012");
    same("no checkpoint record at 0/16B3748", "no checkpoint record at 1/3000028");
    same("main.main() +0x1d", "main.main() +0x2f");
    same("no segment 00000001000000000000001A", "no segment 000000010000000000000002");
}

#[test]
fn addresses_of_every_kind_are_alike() {
    same("ECONNREFUSED 127.0.0.1:5432", "ECONNREFUSED ::1:5432");
    same("read tcp [::1]:34012->[::1]:5432: reset", "read tcp 127.0.0.1:50012->10.0.0.2:5432: reset");
    same("bind() to [::]:8080 failed", "bind() to 0.0.0.0:80 failed");
    same("link 00:1a:2b:3c:4d:5e down", "link 02:42:ac:11:00:02 down");
    same("Xid (PCI:0000:3b:00): 79", "Xid (PCI:0000:af:00): 79");
    same("device 0000:3b:00.0 fell off", "device 0001:af:00.1 fell off");
    different("cafe:12:5: bad", "fade:12:5: bad");
}

#[test]
fn times_of_day_are_blanked_with_their_half_and_their_zone() {
    same("11/30/2026, 3:14:10 PM down", "12/01/2026, 11:02:03 AM down");
    same("down since 3:14 PM", "down since 11:02 AM");
    same("2026-07-01 15:14:10.123 CEST [4711] FATAL", "2026-12-01 01:02:03.456 CET [99] FATAL");
    same("Mon Jul 20 15:14:10 CEST 2026 down", "Tue Dec  1 01:02:03 CET 2026 down");
    same("[12345.678901] killed", "[    9.000001] killed");
    different("15:14:10 ERROR down", "15:14:10 WARN down");
}

#[test]
fn what_makes_the_fault_counts() {
    different("no model meta-llama/Llama-3.1-8B", "no model Qwen/Qwen2.5-7B");
    different("error while attempting to bind", "error while attempting to listen");
    different("connection refused", "connection reset");
    different("No module named 'yaml'", "No module named 'msgspec'");
    different("read error", "write error");
    different("undefined name std::fmt", "undefined name std::io");
    different("cannot read and/or write", "cannot read");
    assert_eq!(normalise("cannot read and/or write n/a"), "cannot read and/or write n/a");
    assert_eq!(normalise("May fail in Marchtown. Monday off"), "May fail in Marchtown. Monday off");
    assert_eq!(normalise("a facade, added, decade"), "a facade, added, decade");
    assert_ne!(fingerprint("a", "network", "x"), fingerprint("b", "network", "x"));
    assert_ne!(fingerprint("a", "network", "x"), fingerprint("a", "logic", "x"));
    assert_ne!(fingerprint("ab", "c", "x"), fingerprint("a", "bc", "x"));
}

#[test]
fn the_blanks_are_where_they_belong() {
    assert_eq!(
        normalise("[Errno 111] Connect call failed ('127.0.0.1', 8123) in \"/srv/x y/z.py\", line 7."),
        "[Errno <number>] Connect call failed ('<address>', <number>) in \"<path>\", line <number>."
    );
    assert_eq!(normalise("see https://example.org/a?b=1."), "see <url>.");
    assert_eq!(normalise("at 12:30:05.5 up 3 days"), "at <time> up <number>");
    assert_eq!(normalise("at /a/b.txt:12: bad"), "at <path>:<number>: bad");
}

#[test]
fn blanked_text_stays_as_it_is() {
    for text in ["timed out after 1.5s at /x/y:3 on 2025-09-21T00:00:05Z", "<Task at 0x7f> ::1 http://a/b"] {
        assert_eq!(normalise(&normalise(text)), normalise(text));
    }
}

#[test]
fn a_fingerprint_never_changes() {
    // Files hold it: another value would lose every repair that was learnt.
    let name = fingerprint("router", "network", "connect to 127.0.0.1:8080 refused").unwrap();
    assert_eq!(name, "e1d3b738e6322e41414fba4b03898c4b");
}

#[test]
fn hostile_text_takes_time_in_proportion() {
    // Each would take minutes if the search for an end started again at every character.
    for piece in
        ["a-", "a/", "'/", "/x ", "1:", "0x", "://", "a.b", "f:", "12:30:", "\"/a `/b '/c", "\x1b[", "é"]
    {
        let text = piece.repeat((1 << 20) / piece.len());
        fingerprint("router", "network", &text).unwrap();
    }
}

#[test]
fn what_is_no_error_text_is_refused() {
    let refused =
        |component: &str, class: &str, error: &str| fingerprint(component, class, error).unwrap_err().kind;
    assert_eq!(refused("router", "network", " \n"), ErrorKind::InvalidInput);
    assert_eq!(refused("", "network", "x"), ErrorKind::InvalidInput);
    assert_eq!(refused("router", "a\0b", "x"), ErrorKind::InvalidInput);
    assert_eq!(refused("router", &"c".repeat(513), "x"), ErrorKind::InvalidInput);
    assert_eq!(refused("router", "network", &"x".repeat((1 << 20) + 1)), ErrorKind::InvalidInput);
}
