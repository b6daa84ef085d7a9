//! The names of keys, which are hashes and do not tell them: as many as there is room for, for those who want to read them.
//!
//! Invariant: the texts take no more than [`MOST_BYTES`]. Where there is no room for another one, those go first that came first
//! and that nobody has looked up since.

use super::key::Key;
use foldhash::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Enough for ten thousand names of a hundred bytes.
const MOST_BYTES: usize = 1 << 20;
/// A longer name is not remembered: it would not be shown.
pub const LONGEST_NAME: usize = 900;

/// What a key is called. All of it is one text, as ten thousand locks may have ten thousand names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    whole: Arc<str>,
    /// Where the part begins.
    part_at: u16,
}

impl Name {
    /// The name with this text, which has no more than [`LONGEST_NAME`] bytes; of a part of a semaphore or of none.
    pub(crate) fn new(text: &str, part: Option<&str>) -> Name {
        let part_at = u16::try_from(text.len()).expect("BUG: a name is too long to be remembered");
        let whole = match part {
            Some(part) => [text, part].concat().into(),
            None => text.into(),
        };
        Name { whole, part_at }
    }

    /// The text that the key is made of, or the semaphore's.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.whole[..usize::from(self.part_at)]
    }

    /// Which part of the semaphore of this name it is; `None`: it is no semaphore's.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        Some(&self.whole[usize::from(self.part_at)..]).filter(|part| !part.is_empty())
    }
}

#[derive(Debug)]
struct Entry {
    name: Name,
    was_found: bool,
}

/// Names by their keys.
#[derive(Debug, Default)]
pub struct Names {
    by_key: HashMap<Key, Entry>,
    /// In the order in which they are to be forgotten.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Names {
    /// Remembers what a key is called.
    pub fn remember(&mut self, key: Key, name: &str, part: Option<&str>) {
        if name.len() > LONGEST_NAME || self.by_key.contains_key(&key) {
            return;
        }
        let name = Name::new(name, part);
        self.bytes += size(&name);
        self.by_key.insert(key, Entry { name, was_found: false });
        self.order.push_back(key);
        while self.bytes > MOST_BYTES {
            self.forget_one();
        }
    }

    /// What the key is called, if that is remembered.
    pub fn find(&mut self, key: Key) -> Option<Name> {
        let entry = self.by_key.get_mut(&key)?;
        entry.was_found = true;
        Some(entry.name.clone())
    }

    fn forget_one(&mut self) {
        while let Some(key) = self.order.pop_front() {
            let entry = self.by_key.get_mut(&key).expect("BUG: a name is to be forgotten that nobody knows");
            if std::mem::take(&mut entry.was_found) {
                self.order.push_back(key);
                continue;
            }
            self.bytes -= size(&entry.name);
            self.by_key.remove(&key);
            return;
        }
    }
}

/// What a name takes, with what finds it.
fn size(name: &Name) -> usize {
    64 + name.whole.len()
}

#[cfg(test)]
mod tests {
    use super::{Key, Name, Names, LONGEST_NAME, MOST_BYTES};

    fn names(count: i64, length: usize) -> Names {
        let mut names = Names::default();
        for number in 0..count {
            names.remember(Key::Single(number), &format!("{number:0length$}"), None);
        }
        names
    }

    #[test]
    fn a_name_is_found_by_its_key() {
        let mut names = names(10, 5);
        names.remember(Key::Pair(1, 2), "pool", Some("slot 3"));
        assert_eq!(names.find(Key::Single(7)).as_ref().map(Name::text), Some("00007"));
        assert_eq!(names.find(Key::Pair(1, 2)).as_ref().and_then(Name::part), Some("slot 3"));
        assert_eq!(names.find(Key::Single(10)), None);
    }

    #[test]
    fn room_is_limited_and_what_is_looked_up_stays() {
        let count = i64::try_from(MOST_BYTES / 100).expect("BUG: a small number");
        let mut names = names(count, 30);
        for number in 0..3 * count {
            assert!(names.find(Key::Single(0)).is_some(), "after {number} more");
            names.remember(Key::Single(count + number), &format!("{number:030}"), None);
            assert!(names.bytes <= MOST_BYTES);
        }
        assert_eq!(names.find(Key::Single(1)), None);
        assert_eq!(names.by_key.len(), names.order.len());
    }

    #[test]
    fn all_may_be_looked_up_and_room_is_made_all_the_same() {
        let count = i64::try_from(MOST_BYTES / 100).expect("BUG: a small number");
        let mut names = names(count, 30);
        for number in 0..2 * count {
            names.remember(Key::Single(count + number), &format!("{number:030}"), None);
            names.find(Key::Single(count + number));
        }
        assert!(names.bytes <= MOST_BYTES);
    }

    #[test]
    fn what_is_too_long_to_be_shown_is_not_remembered() {
        let mut names = Names::default();
        names.remember(Key::Single(1), &"x".repeat(LONGEST_NAME + 1), None);
        assert_eq!(names.bytes, 0);
    }
}
