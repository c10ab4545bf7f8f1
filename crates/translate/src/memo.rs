//! A bounded memory of what was rendered, keyed by the input of rendering.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was rendered under this snapshot, and what was under the last one. An entry of the last one that is asked for
/// again moves over; the rest is dropped with the snapshot after that.
#[derive(Debug)]
pub(crate) struct Memo<K, V> {
    entries: Entries<K, V>,
    last: Entries<K, V>,
    limit: usize,
}

type Entries<K, V> = Arc<Mutex<HashMap<K, V>>>;

impl<K: Eq + Hash + Clone, V: Clone> Memo<K, V> {
    /// An empty memory for at most `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: Arc::default(),
            last: Arc::default(),
            limit,
        }
    }

    /// The memory for the next snapshot. Where this one was overtaken before many had asked, what was remembered before
    /// it is still of use.
    pub(crate) fn next(&self) -> Self {
        let (entries, last) = (locked(&self.entries), locked(&self.last));
        let last = if entries.is_empty() {
            Arc::clone(&self.last)
        } else if entries.len() * 2 >= last.len() {
            Arc::clone(&self.entries)
        } else {
            let mut both = last.clone();
            both.extend(entries.iter().map(|(k, v)| (k.clone(), v.clone())));
            Arc::new(Mutex::new(both))
        };
        Self {
            entries: Arc::default(),
            last,
            limit: self.limit,
        }
    }

    /// The value for a key, rendered if it is not known. `render` runs without the lock, so two callers may render the
    /// same at the same time: wasted work, never a wrong answer.
    pub(crate) fn get(&self, key: K, render: impl FnOnce(&K) -> V) -> V {
        if let Some(found) = locked(&self.entries).get(&key) {
            return found.clone();
        }
        let known = locked(&self.last).get(&key).cloned();
        let value = known.unwrap_or_else(|| render(&key));
        let mut entries = locked(&self.entries);
        if entries.len() < self.limit {
            entries.insert(key, value.clone());
        }
        value
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rendered resource.
pub(crate) type Rendered = Arc<crate::resource::Resource>;
