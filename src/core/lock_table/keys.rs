//! The state of every key that somebody in this process holds, awaits or gives back: found by the key, and by the session that
//! has it locked.

use super::arena::{Arena, List, Place};
use super::key_state::KeyState;
use crate::core::{Key, SessionId};
use foldhash::fast::RandomState;
use foldhash::HashMap;
use hashbrown::hash_table::Entry;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops;

/// The list of a key among those of its session.
const HOME: usize = 0;

/// The keys that a session has locked.
#[derive(Debug, Default)]
struct Home {
    keys: List<HOME>,
    count: usize,
}

#[derive(Debug)]
pub(super) struct Keys {
    states: Arena<KeyState, 1>,
    by_key: HashTable<Place>,
    hasher: RandomState,
    homes: HashMap<SessionId, Home>,
}

impl Keys {
    pub fn new() -> Keys {
        Keys {
            states: Arena::new(),
            by_key: HashTable::new(),
            hasher: RandomState::default(),
            homes: HashMap::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_key.len()
    }

    pub fn find(&self, key: Key) -> Option<Place> {
        self.by_key.find(self.hasher.hash_one(key), |&place| self.states[place].key == key).copied()
    }

    pub fn find_or_insert(&mut self, key: Key) -> Place {
        let Keys { states, by_key, hasher, .. } = self;
        let is_it = |&place: &Place| states[place].key == key;
        match by_key.entry(hasher.hash_one(key), is_it, |&place| hasher.hash_one(states[place].key)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let place = states.insert(KeyState::new(key));
                vacant.insert(place);
                place
            }
        }
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut KeyState> {
        self.states.get_mut(place)
    }

    /// Forgets a key that nobody uses and no session has.
    pub fn remove(&mut self, place: Place) {
        let state = self.states.remove(place);
        let found = self.by_key.find_entry(self.hasher.hash_one(state.key), |&other| other == place);
        found.expect("BUG: a key cannot be found").remove();
    }

    /// Lists the key with the session that has it locked by now.
    pub fn follow_home(&mut self, place: Place) {
        let state = &mut self.states[place];
        let home = state.server.map(|server| server.home);
        let listed = std::mem::replace(&mut state.listed, home);
        if listed == home {
            return;
        }
        if let Some((session, home)) = listed.and_then(|session| Some((session, self.homes.get_mut(&session)?))) {
            home.keys.remove(&mut self.states, place);
            home.count -= 1;
            if home.count == 0 {
                self.homes.remove(&session);
            }
        }
        if let Some(home) = home.map(|session| self.homes.entry(session).or_default()) {
            home.keys.push_back(&mut self.states, place);
            home.count += 1;
        }
    }

    /// How many keys the session has locked.
    pub fn count_on(&self, session: SessionId) -> usize {
        self.homes.get(&session).map_or(0, |home| home.count)
    }

    /// The keys that the session has locked.
    pub fn on(&self, session: SessionId) -> impl Iterator<Item = Place> + '_ {
        self.homes.get(&session).into_iter().flat_map(|home| home.keys.iter(&self.states))
    }
}

impl ops::Index<Place> for Keys {
    type Output = KeyState;

    fn index(&self, place: Place) -> &KeyState {
        &self.states[place]
    }
}

impl ops::IndexMut<Place> for Keys {
    fn index_mut(&mut self, place: Place) -> &mut KeyState {
        &mut self.states[place]
    }
}
