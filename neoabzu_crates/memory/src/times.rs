//! Dates and times in an error text.

use crate::blanks::{digits, run};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Zones of time; those that have a summer time change within a year.
const ZONES: [&str; 27] = [
    "UTC", "GMT", "Z", "WET", "WEST", "BST", "CET", "CEST", "EET", "EEST", "MSK", "IST", "JST", "KST", "EST",
    "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "AEST", "AEDT", "NZST", "NZDT", "SAST",
];

/// Dates and times of day, in the forms of ISO 8601, RFC 2822, syslog and web server logs.
pub(crate) fn time(rest: &str) -> Option<usize> {
    let mut length = iso_date(rest).or_else(|| named_date(rest)).or_else(|| clock(rest))?;
    // What follows a date or a time belongs to it: "2025-09-21T00:00:05.123Z", "Sep 21 00:00:05 2025".
    loop {
        let tail = &rest[length..];
        let gap = run(tail, |byte| matches!(byte, b' ' | b'T' | b':' | b',')).min(2);
        let next = &tail[gap..];
        let more = clock(next).or_else(|| iso_date(next)).or_else(|| zone(next)).or_else(|| {
            let year = digits(next, 4, 4)?;
            (gap == 1 && tail.starts_with(' ') && !next[year..].starts_with([':', '.'])).then_some(year)
        });
        match more {
            Some(more) => length += gap + more,
            None => return Some(length),
        }
    }
}

/// "2025-09-21", "2025/09/21".
fn iso_date(text: &str) -> Option<usize> {
    let year = digits(text, 4, 4)?;
    let separator = *text.as_bytes().get(year).filter(|byte| matches!(byte, b'-' | b'/'))?;
    let month = digits(text.get(year + 1..)?, 1, 2)?;
    let second = year + 1 + month;
    if *text.as_bytes().get(second)? != separator {
        return None;
    }
    Some(second + 1 + digits(text.get(second + 1..)?, 1, 2)?)
}

/// "Mon, 21 Sep 2025", "Sep 21", "21/Sep/2025".
fn named_date(text: &str) -> Option<usize> {
    let named = |text: &str, names: &[&str]| -> Option<usize> {
        let word = run(text, |byte| byte.is_ascii_alphabetic());
        let short = text.get(..3).filter(|_| word >= 3)?;
        names.contains(&short).then_some(word)
    };
    let gap = |text: &str| run(text, |byte| matches!(byte, b' ' | b',' | b'/' | b'-' | b'.'));
    let mut at = 0;
    if let Some(day) = named(text, &DAYS) {
        at = day + gap(&text[day..]);
    }
    if let Some(month) = named(&text[at..], &MONTHS) {
        at += month;
        at += gap(&text[at..]);
        return Some(at + digits(&text[at..], 1, 2)?);
    }
    let day = at + digits(&text[at..], 1, 2)?;
    let after = day + gap(&text[day..]);
    let month = (after > day).then(|| named(&text[after..], &MONTHS))??;
    let year = after + month + gap(&text[after + month..]);
    Some(year + digits(&text[year..], 4, 4).or_else(|| digits(&text[year..], 2, 2))?)
}

/// "00:00:05", with a fraction or not; "3:14 PM".
fn clock(text: &str) -> Option<usize> {
    let mut at = digits(text, 1, 2)?;
    if let Some(minutes) = text[at..].strip_prefix(':').and_then(|text| digits(text, 2, 2)) {
        let end = at + 1 + minutes;
        if let Some(length) = half_day(&text[end..]) {
            return Some(end + length);
        }
    }
    for _ in 0..2 {
        at = text[at..].starts_with(':').then_some(at + 1)?;
        at += digits(&text[at..], 2, 2)?;
    }
    let fraction = run(&text[at..], |byte| matches!(byte, b'.' | b','));
    if fraction == 1 {
        at += digits(&text[at + 1..], 1, 9).map_or(0, |length| length + 1);
    }
    Some(at + half_day(&text[at..]).unwrap_or(0))
}

fn half_day(text: &str) -> Option<usize> {
    let gap =
        usize::from(text.starts_with([' ', '\u{202f}'])) * text.chars().next().map_or(0, char::len_utf8);
    word(&text[gap..], &["AM", "PM", "am", "pm", "a.m.", "p.m."]).map(|length| gap + length)
}

/// One of the words, and no more of a word after it.
fn word(text: &str, words: &[&str]) -> Option<usize> {
    let ends = |word: &&&str| {
        let after = text.strip_prefix(**word);
        after
            .is_some_and(|after| !after.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
    };
    words.iter().find(ends).map(|word| word.len())
}

fn zone(text: &str) -> Option<usize> {
    if let Some(length) = word(text, &ZONES) {
        return Some(length);
    }
    let hours = 1 + digits(text.strip_prefix(['+', '-'])?, 2, 4)?;
    if hours == 3 && text[3..].starts_with(':') {
        return Some(4 + digits(&text[4..], 2, 2)?);
    }
    Some(hours)
}
