//! What is different in an error text the next time, and the blanks that take its place.

use std::borrow::Cow;

/// Characters that are looked at for the end of a quoted path.
const MAX_PATH: usize = 4096;
/// Characters of a URL's scheme, and of an IPv6 address.
const MAX_SCHEME: usize = 16;
const MAX_ADDRESS: usize = 45;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Units that are blanked with the number they are attached to.
const UNITS: [&str; 26] = [
    "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "B", "K", "M", "G", "kB", "KB", "MB", "GB", "TB",
    "KiB", "MiB", "GiB", "TiB", "Ki", "Mi", "Gi", "%",
];

/// The error text with everything blanked that is different the next time. Takes time in proportion to the text.
pub fn normalise(error: &str) -> String {
    let error = uncoloured(error);
    let mut out = String::with_capacity(error.len());
    let mut rest = &*error;
    let mut before = None;
    // Until the rest is no longer than this, a search for a relative path is in vain.
    let mut no_path = usize::MAX;
    while let Some(letter) = rest.chars().next() {
        let taken = if letter.is_whitespace() || letter.is_control() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
            letter.len_utf8()
        } else if let Some((blank, length)) = variable(rest, before, &mut no_path) {
            out.push_str(blank);
            length
        } else {
            out.push(letter);
            letter.len_utf8()
        };
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What varies at the start of `rest`: its blank and its length.
fn variable(rest: &str, before: Option<char>, no_path: &mut usize) -> Option<(&'static str, usize)> {
    let starts_word = !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if starts_word {
        let found = url(rest)
            .map(|length| ("<url>", length))
            .or_else(|| time(rest).map(|length| ("<time>", length)))
            .or_else(|| path(rest, before, no_path).map(|length| ("<path>", length)))
            .or_else(|| address(rest).map(|length| ("<address>", length)))
            .or_else(|| identifier(rest).map(|length| ("<hex>", length)));
        if found.is_some() {
            return found;
        }
    }
    number(rest, starts_word).map(|length| ("<number>", length))
}

/// The text without the commands that a terminal takes for colours.
fn uncoloured(text: &str) -> Cow<'_, str> {
    const START: &str = "\x1b[";
    let Some((before, mut rest)) = text.split_once(START) else { return Cow::Borrowed(text) };
    let mut out = before.to_owned();
    loop {
        rest = rest.trim_start_matches(|letter: char| matches!(letter, '0'..='9' | ';' | '?'));
        rest = rest.get(rest.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
        let Some((plain, after)) = rest.split_once(START) else {
            out.push_str(rest);
            return Cow::Owned(out);
        };
        out.push_str(plain);
        rest = after;
    }
}

/// Bytes at the start for which the test holds.
fn run(text: &str, test: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| test(*byte)).count()
}

fn digits(text: &str, least: usize, most: usize) -> Option<usize> {
    let found = run(text, |byte| byte.is_ascii_digit());
    (least..=most).contains(&found).then_some(found)
}

fn url(rest: &str) -> Option<usize> {
    let near = &rest.as_bytes()[..rest.len().min(MAX_SCHEME + 1)];
    let scheme = near.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte)).count();
    let after = rest.get(scheme..)?.strip_prefix("://")?;
    if scheme == 0 || scheme > MAX_SCHEME {
        return None;
    }
    let end = after
        .find(|letter: char| letter.is_whitespace() || "\"'`<>()[]{},;|".contains(letter))
        .unwrap_or(after.len());
    Some(scheme + 3 + after[..end].trim_end_matches(['.', ':', '!', '?']).len())
}

/// Dates and times of day, in the forms of ISO 8601, RFC 2822, syslog and web server logs.
fn time(rest: &str) -> Option<usize> {
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

/// "00:00:05", with a fraction or not.
fn clock(text: &str) -> Option<usize> {
    let mut at = digits(text, 1, 2)?;
    for _ in 0..2 {
        at = text[at..].starts_with(':').then_some(at + 1)?;
        at += digits(&text[at..], 2, 2)?;
    }
    let fraction = run(&text[at..], |byte| matches!(byte, b'.' | b','));
    if fraction == 1 {
        at += digits(&text[at + 1..], 1, 9).map_or(0, |length| length + 1);
    }
    Some(at)
}

fn zone(text: &str) -> Option<usize> {
    if let Some(name) = ["UTC", "GMT", "Z"].into_iter().find(|name| text.starts_with(name)) {
        let ends = !text[name.len()..].starts_with(|letter: char| letter.is_alphanumeric());
        return ends.then_some(name.len());
    }
    let hours = 1 + digits(text.strip_prefix(['+', '-'])?, 2, 4)?;
    if hours == 3 && text[3..].starts_with(':') {
        return Some(4 + digits(&text[4..], 2, 2)?);
    }
    Some(hours)
}

/// "/srv/x.py", "./x", "~/x", "C:\x", and in quotes also with blanks; "razar/boot.py" but not "and/or".
fn path(rest: &str, before: Option<char>, no_path: &mut usize) -> Option<usize> {
    if before.is_some_and(|letter| matches!(letter, '<' | '/' | '.' | '-' | '\\')) {
        return None;
    }
    let drive = rest.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && rest.get(1..3).is_some_and(|after| after == ":\\" || after == ":/");
    let rooted = ["/", "./", "../", "~/"]
        .into_iter()
        .any(|root| rest.strip_prefix(root).is_some_and(|after| after.starts_with(is_path_letter)));
    if drive || rooted {
        if let Some(quote) = before.filter(|letter| matches!(letter, '"' | '\'' | '`')) {
            let near = rest.char_indices().take(MAX_PATH).take_while(|(_, letter)| *letter != '\n');
            if let Some((end, _)) = near.into_iter().find(|(_, letter)| *letter == quote) {
                return Some(end);
            }
        }
        let start = if drive { 2 } else { 0 };
        return Some(start + path_length(&rest[start..]));
    }
    if rest.len() > *no_path || !rest.starts_with(is_path_letter) {
        return None;
    }
    let length = path_length(rest);
    let (folder, file) = rest[..length].rsplit_once('/').unwrap_or(("", ""));
    let has_letters = rest[..length].contains(|letter: char| letter.is_alphabetic());
    if has_letters && !folder.is_empty() && (folder.contains('/') || file.contains('.')) {
        return Some(length);
    }
    *no_path = rest.len() - length;
    None
}

fn is_path_letter(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-' | '~' | '@' | '+')
}

fn path_length(text: &str) -> usize {
    let end = text
        .find(|letter: char| !is_path_letter(letter) && !matches!(letter, '/' | '\\'))
        .unwrap_or(text.len());
    text[..end].trim_end_matches('.').len()
}

/// IPv6; the dots and digits of IPv4 count as a number.
fn address(rest: &str) -> Option<usize> {
    let near = &rest.as_bytes()[..rest.len().min(MAX_ADDRESS + 2)];
    let length = near.iter().take_while(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte)).count();
    let text = rest[..length].trim_end_matches([':', '.']);
    let text = if rest[text.len()..].starts_with("::") { &rest[..text.len() + 2] } else { text };
    let is_address = text.len() <= MAX_ADDRESS
        && (text.contains("::") || text.matches(':').count() == 7)
        && text.contains(|letter: char| letter.is_ascii_digit())
        && !rest[text.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    is_address.then_some(text.len())
}

/// "0x7f3a", UUIDs, and words of at least seven hexadecimal digits of both kinds.
fn identifier(rest: &str) -> Option<usize> {
    if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = run(digits, |byte| byte.is_ascii_hexdigit());
        return (length > 0).then_some(length + 2);
    }
    let uuid = rest.as_bytes().get(..36).is_some_and(|bytes| {
        bytes.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    });
    let length = if uuid { 36 } else { run(rest, |byte| byte.is_ascii_hexdigit()) };
    if rest[length..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
        return None;
    }
    let word = &rest.as_bytes()[..length];
    let both = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
    (uuid || (length >= 7 && both)).then_some(length)
}

/// Any digits, with their sign, fraction and unit if they stand alone.
fn number(rest: &str, starts_word: bool) -> Option<usize> {
    let sign = usize::from(starts_word && rest.starts_with(['-', '+']));
    let mut at = sign + digits(&rest[sign..], 1, usize::MAX)?;
    while rest[at..].starts_with(['.', ',', '_']) {
        match digits(&rest[at + 1..], 1, usize::MAX) {
            Some(more) => at += 1 + more,
            None => break,
        }
    }
    if starts_word {
        let tail = &rest[at..];
        let unit = tail.find(|letter: char| !letter.is_alphabetic() && letter != '%').unwrap_or(tail.len());
        if UNITS.contains(&&tail[..unit]) {
            at += unit;
        }
    }
    Some(at)
}
