//! The same fault on another day: a name for it that does not depend on when and where it happened.

use sha2::{Digest, Sha256};

use crate::blanks::normalise;
use crate::error::{Error, Result};
use crate::record::{check_name, check_text};

/// 32 hexadecimal digits that are the same for the same component, class and error text, where addresses, numbers,
/// paths, times and hexadecimal identifiers in the text do not count.
pub fn fingerprint(component: &str, class: &str, error: &str) -> Result<String> {
    check_name("component", component)?;
    check_name("class", class)?;
    check_text("error", error)?;
    let mut hash = Sha256::new();
    for part in [component, class, &normalise(error)] {
        // With its length before it, no part can pass for the end of the one before.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()[..16]))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses what `fingerprint()` cannot have made.
pub(crate) fn check(fingerprint: &str) -> Result<()> {
    if fingerprint.len() == 32 && fingerprint.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let shown: String = fingerprint.chars().take(40).collect();
    Err(Error::invalid(format!(
        "no fingerprint {shown:?}: one has 32 hexadecimal digits, as fingerprint() makes it"
    )))
}
