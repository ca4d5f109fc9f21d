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
    /// Length of all the sources, and its bound.
    bytes: usize,
    most_bytes: usize,
    hits: u64,
    misses: u64,
}

impl<T> Cache<T> {
    /// Room for `capacity` programs whose sources are not longer than `most_bytes` together: a program
    /// takes memory in proportion to its source.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn new(capacity: usize, most_bytes: usize) -> Self {
        assert!(capacity > 0, "a cache without room");
        let entries = LruCache::new(capacity);
        Cache { kept: Mutex::new(Kept { entries, bytes: 0, most_bytes, hits: 0, misses: 0 }) }
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
        let mut dropped = Vec::new();
        while kept.entries.len() == kept.entries.capacity() || kept.bytes + source.len() > kept.most_bytes {
            let Some((oldest, program)) = kept.entries.remove_lru() else { break };
            kept.bytes -= oldest.len();
            dropped.push(program);
        }
        if source.len() <= kept.most_bytes {
            kept.bytes += source.len();
            kept.entries.insert(source.into(), compiled.clone());
        }
        drop(kept);
        drop(dropped);
        Ok(compiled)
    }

    /// Forgets every program, and the counts.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.clear();
        kept.bytes = 0;
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
        let cache = Cache::new(2, 100);
        for source in ["a", "b"] {
            cache.insert(source, || Ok(source.len())).unwrap();
        }
        assert!(cache.get("a").is_some());
        cache.insert("c", || Ok(3)).unwrap();
        assert!(cache.get("b").is_none() && cache.get("a").is_some() && cache.get("c").is_some());
        assert_eq!(cache.info(), CacheInfo { hits: 3, misses: 1, capacity: 2, entries: 2 });
    }

    #[test]
    fn long_sources_leave_less_room() {
        let cache = Cache::new(10, 10);
        for source in ["aaaa", "bbbb", "cccc"] {
            cache.insert(source, || Ok(())).unwrap();
        }
        assert_eq!(cache.info().entries, 2);
        assert!(cache.get("aaaa").is_none());
        cache.insert("longer than all of it", || Ok(())).unwrap();
        assert_eq!(cache.info().entries, 0);
        cache.insert("bbbb", || Ok(())).unwrap();
        assert!(cache.get("bbbb").is_some());
    }

    #[test]
    fn errors_are_not_kept() {
        let cache: Cache<()> = Cache::new(2, 100);
        assert!(cache.insert("x", || Err(Error::conversion("no"))).is_err());
        assert_eq!(cache.info().entries, 0);
    }
}
