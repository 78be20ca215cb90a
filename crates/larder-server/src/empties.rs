//! The bounded share of memory that empty results may take.
//!
//! Asking for things that do not exist costs an attacker nothing; without a bound, the answers to
//! such questions would push everything else out. **Invariant**: the keys remembered here are a
//! superset of the empty entries in the cache, and together they stay within the share.

use std::collections::{HashSet, VecDeque};

use larder_core::Value;
use parking_lot::Mutex;

use crate::parameters::Key;

/// What an empty entry takes beside its key: the entry, its links, its place in the engine.
const ENTRY_BYTES: usize = 512;

/// Which resource, by its place in the catalog.
pub type Place = usize;

/// The empty entries, oldest first.
#[derive(Debug)]
pub struct Empties {
    share_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    order: VecDeque<(Place, Key)>,
    known: HashSet<(Place, Key)>,
    bytes: usize,
    /// What must go, and has not gone yet.
    surplus: Vec<(Place, Key)>,
}

impl Empties {
    /// With a share of so many bytes.
    pub fn new(share_bytes: usize) -> Self {
        Self { share_bytes, held: Mutex::new(Held::default()) }
    }

    /// Remembers an entry that was loaded empty; what must go to make room for it.
    pub fn add(&self, place: Place, key: &Key) -> Vec<(Place, Key)> {
        self.note(place, key);
        self.surplus()
    }

    /// Remembers an entry that was loaded empty, also where nobody waits for it any more.
    pub fn note(&self, place: Place, key: &Key) {
        let mut held = self.held.lock();
        let entry = (place, key.clone());
        if held.known.contains(&entry) {
            return;
        }
        held.bytes += cost(key);
        held.known.insert(entry.clone());
        held.order.push_back(entry);
        while self.share_bytes < held.bytes {
            let Some(oldest) = held.order.pop_front() else { break };
            held.known.remove(&oldest);
            held.bytes -= cost(&oldest.1);
            held.surplus.push(oldest);
        }
    }

    /// What must go to make room for what was noted; each once.
    pub fn surplus(&self) -> Vec<(Place, Key)> {
        std::mem::take(&mut self.held.lock().surplus)
    }

    /// Bytes that the empty entries take at most, and their number.
    pub fn held(&self) -> (usize, usize) {
        let held = self.held.lock();
        (held.bytes, held.order.len())
    }
}

fn cost(key: &Key) -> usize {
    let text: usize = key.iter().map(text_bytes).sum();
    // Once in the cache, once here.
    ENTRY_BYTES + 2 * (text + size_of_val(&**key))
}

fn text_bytes(value: &Value) -> usize {
    larder_core::Weigh::heap_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_the_share_is_full() {
        let empties = Empties::new(8 * 1024);
        let key = |number: i64| Key::from([Value::from(number)]);
        let mut gone = Vec::new();
        for number in 0..1000 {
            gone.extend(empties.add(3, &key(number)));
            assert!(empties.add(3, &key(number)).is_empty(), "it is known already");
            assert!(empties.held().0 <= 8 * 1024);
        }
        assert_eq!(gone.first(), Some(&(3, key(0))));
        assert_eq!(gone.len() + empties.held().1, 1000);
        assert!(4 < empties.held().1);
    }
}
