//! Compiled programs by their source, the least recently used dropped first.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use crate::error::Error;

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheInfo {
    pub hits: u64,
    pub misses: u64,
    /// Most entries kept.
    pub capacity: usize,
    /// Entries there are.
    pub entries: usize,
}

/// A bounded cache of what sources compile to. Errors are not kept.
#[derive(Debug)]
pub struct Cache<T> {
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    entries: LruCache<Box<str>, Arc<T>>,
    hits: u64,
    misses: u64,
}

impl<T> Cache<T> {
    /// # Panics
    /// If `capacity` is 0.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a cache without room");
        Cache { kept: Mutex::new(Kept { entries: LruCache::new(capacity), hits: 0, misses: 0 }) }
    }

    /// What `source` compiles to, if it is known.
    pub fn get(&self, source: &str) -> Option<Arc<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.entries.get(source).cloned();
        match found {
            Some(_) => kept.hits += 1,
            None => kept.misses += 1,
        }
        found
    }

    /// Compiles `source` and keeps the outcome. Two threads may compile the same source at once; the
    /// first to finish is kept.
    ///
    /// # Errors
    /// Those of `compile`.
    pub fn insert(&self, source: &str, compile: impl FnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        let compiled = Arc::new(compile()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = kept.entries.get(source) {
            return Ok(earlier.clone());
        }
        let dropped = match kept.entries.len() == kept.entries.capacity() {
            true => kept.entries.remove_lru(),
            false => None,
        };
        kept.entries.insert(source.into(), compiled.clone());
        drop(kept);
        drop(dropped);
        Ok(compiled)
    }

    /// Forgets every program, and the counts.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.clear();
        kept.hits = 0;
        kept.misses = 0;
    }

    pub fn info(&self) -> CacheInfo {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        CacheInfo {
            hits: kept.hits,
            misses: kept.misses,
            capacity: kept.entries.capacity(),
            entries: kept.entries.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(2);
        for source in ["a", "b"] {
            cache.insert(source, || Ok(source.len())).unwrap();
        }
        assert!(cache.get("a").is_some());
        cache.insert("c", || Ok(3)).unwrap();
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
        assert_eq!(cache.info(), CacheInfo { hits: 3, misses: 1, capacity: 2, entries: 2 });
    }

    #[test]
    fn errors_are_not_kept() {
        let cache: Cache<()> = Cache::new(2);
        assert!(cache.insert("x", || Err(Error::conversion("no"))).is_err());
        assert_eq!(cache.info().entries, 0);
    }
}
