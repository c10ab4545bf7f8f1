//! A bounded memory of what was rendered, keyed by the input of rendering.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// What was rendered under this snapshot, and what was under the last one. An entry of the last one that is asked for
/// again moves over; the rest is dropped with the snapshot after that.
#[derive(Debug)]
pub(crate) struct Memo<K, V> {
    entries: Mutex<HashMap<K, V>>,
    last: HashMap<K, V>,
    limit: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Memo<K, V> {
    /// An empty memory for at most `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            last: HashMap::new(),
            limit,
        }
    }

    /// The memory for the next snapshot.
    pub(crate) fn next(&self) -> Self {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            entries: Mutex::new(HashMap::new()),
            last: entries.clone(),
            limit: self.limit,
        }
    }

    /// The value for a key, rendered if it is not known. `render` runs without the lock, so two callers may render the
    /// same at the same time: wasted work, never a wrong answer.
    pub(crate) fn get(&self, key: K, render: impl FnOnce(&K) -> V) -> V {
        if let Some(found) = self
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return found.clone();
        }
        let value = match self.last.get(&key) {
            Some(found) => found.clone(),
            None => render(&key),
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() < self.limit {
            entries.insert(key, value.clone());
        }
        value
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// A rendered resource.
pub(crate) type Rendered = Arc<crate::resource::Resource>;
