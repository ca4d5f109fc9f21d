//! The environment as text.

use std::cell::RefCell;
use std::env::{self, VarError};

/// Reads environment variables and notes which are no text: to pass over them would hide that they are set.
///
/// To be used with the interpreter's lock held: `os.environ` changes the environment under it, and the C library does
/// not survive both at once.
#[derive(Debug, Default)]
pub struct Environment {
    unreadable: RefCell<Vec<String>>,
}

impl Environment {
    /// The value of a variable, if it is set and text.
    pub fn get(&self, name: &str) -> Option<String> {
        match env::var(name) {
            Ok(value) => Some(value),
            Err(VarError::NotPresent) => None,
            Err(VarError::NotUnicode(_)) => {
                let mut unreadable = self.unreadable.borrow_mut();
                if !unreadable.iter().any(|known| known == name) {
                    unreadable.push(name.to_owned());
                }
                None
            }
        }
    }

    /// What is wrong with those that were read, by name: a value may be a secret.
    pub fn faults(&self) -> Vec<String> {
        let told = |name: &String| {
            let name = neoabzu_kimicho::clean(name, 60, &[]);
            format!("{name}: its value is not UTF-8 text; set it anew, or unset it")
        };
        self.unreadable.borrow().iter().map(told).collect()
    }
}
