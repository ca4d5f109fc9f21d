//! What is different in an error text the next time, and the blanks that take its place.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use crate::times::time;

/// Characters that are looked at for the end of a quoted path.
const MAX_PATH: usize = 4096;
/// Characters of a URL's scheme, and of an IPv6 address.
const MAX_SCHEME: usize = 16;
const MAX_ADDRESS: usize = 45;
/// Units that are blanked with the number they are attached to. A program takes the one that fits the size: a
/// want of 20.00 MiB is one of 1.50 GiB the next time.
const UNITS: &str = "ns us µs μs ms s m h d % B K M G kB KB MB GB TB KiB MiB GiB TiB Ki Mi Gi byte bytes sec secs \
    second seconds min mins minute minutes hour hours day days millisecond milliseconds microsecond microseconds \
    nanosecond nanoseconds";
/// Those that may be words of their own or mean something else where a blank is before them.
const ATTACHED: &str = "us m h d K M G min B";

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
            // The kernel's log fills its times up: "[   12.5]".
            if !out.ends_with([' ', '[']) {
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
            .or_else(|| hardware(rest).map(|length| ("<number>", length)))
            // No blank of its own: a word of hexadecimal digits may have no letters among them the next time.
            .or_else(|| identifier(rest).map(|length| ("<number>", length)));
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
pub(crate) fn run(text: &str, test: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| test(*byte)).count()
}

pub(crate) fn digits(text: &str, least: usize, most: usize) -> Option<usize> {
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

/// "/srv/x.py", "./x", "~/x", "C:\x", and in quotes also with blanks; "razar/boot.py" but not "and/or", nor the name
/// of a model, "Qwen/Qwen2.5-7B".
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
    if has_letters && !folder.is_empty() && (folder.contains('/') || has_suffix(file)) {
        return Some(length);
    }
    *no_path = rest.len() - length;
    None
}

/// Whether it ends as the name of a file does.
fn has_suffix(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, suffix)| {
        suffix.starts_with(|letter: char| letter.is_ascii_alphabetic()) && suffix.len() <= 8
    })
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

/// An address of IPv4 or IPv6, in brackets or not, with its port.
fn address(rest: &str) -> Option<usize> {
    if let Some(inner) = rest.strip_prefix('[') {
        // All addresses of the machine; without brackets it is rather a path of a language.
        let any = inner.starts_with("::]").then_some(2);
        let end = any.or_else(|| ip_v6(inner)).or_else(|| ip_v4(inner))?;
        return inner[end..].starts_with(']').then(|| end + 2 + port(&inner[end + 1..]));
    }
    ip_v6(rest).or_else(|| ip_v4(rest).map(|end| end + port(&rest[end..])))
}

fn port(rest: &str) -> usize {
    rest.strip_prefix(':').and_then(|rest| digits(rest, 1, 5)).map_or(0, |length| length + 1)
}

fn ip_v4(rest: &str) -> Option<usize> {
    let length = run(rest, |byte| byte.is_ascii_digit() || byte == b'.');
    let text = rest[..length].trim_end_matches('.');
    text.parse::<Ipv4Addr>().is_ok().then_some(text.len())
}

fn ip_v6(rest: &str) -> Option<usize> {
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

/// Where a device is: on the network "02:42:ac:11:00:02", on the PCI bus "0000:3b:00.0" or "0000:3b:00".
fn hardware(rest: &str) -> Option<usize> {
    const FORMS: [&str; 3] = ["xx:xx:xx:xx:xx:xx", "xxxx:xx:xx.x", "xxxx:xx:xx"];
    let fits = |form: &&str| {
        rest.len() >= form.len()
            && form.bytes().zip(rest.bytes()).all(|(form, byte)| match form {
                b'x' => byte.is_ascii_hexdigit(),
                mark => byte == mark,
            })
            && !rest[form.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == ':')
    };
    FORMS.into_iter().find(fits).map(str::len)
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

/// Any digits, with their sign, fraction and unit if they stand alone: "-9", "1,024 MiB", "1h2m3.5s", "3e-5s".
fn number(rest: &str, starts_word: bool) -> Option<usize> {
    let sign = usize::from(starts_word && rest.starts_with(['-', '+']));
    if sign == 1 && rest[1..].starts_with("0x") {
        return None; // "+0x1d": what follows the sign is an identifier.
    }
    let mut at = sign + amount(&rest[sign..])?;
    if !starts_word {
        return Some(at);
    }
    at += exponent(&rest[at..]).unwrap_or(0);
    let tail = &rest[at..];
    match unit(tail) {
        Some(length) => at += length,
        None => {
            // NumPy writes "763. MiB".
            let dot = usize::from(tail.starts_with(". "));
            let apart = tail[dot..].strip_prefix(' ').and_then(|tail| Some((tail, unit(tail)?)));
            let apart = apart.filter(|(tail, length)| !one_of(ATTACHED, &tail[..*length]));
            return Some(at + apart.map_or(0, |(_, length)| dot + 1 + length));
        }
    }
    while let Some(more) = amount(&rest[at..]) {
        match unit(&rest[at + more..]) {
            Some(length) => at += more + length,
            None => break,
        }
    }
    Some(at)
}

/// Digits, with marks among them.
fn amount(text: &str) -> Option<usize> {
    let mut at = digits(text, 1, usize::MAX)?;
    while text[at..].starts_with(['.', ',', '_']) {
        match digits(&text[at + 1..], 1, usize::MAX) {
            Some(more) => at += 1 + more,
            None => break,
        }
    }
    Some(at)
}

fn exponent(text: &str) -> Option<usize> {
    let power = text.strip_prefix(['e', 'E'])?;
    let sign = usize::from(power.starts_with(['-', '+']));
    Some(1 + sign + digits(&power[sign..], 1, 3)?)
}

/// A unit and nothing more at the start of the text.
fn unit(text: &str) -> Option<usize> {
    let end = text.find(|letter: char| !letter.is_alphabetic() && letter != '%').unwrap_or(text.len());
    one_of(UNITS, &text[..end]).then_some(end)
}

fn one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one == word)
}
