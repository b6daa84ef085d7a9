//! Entries that stay where they are, and lists through them, which an entry leaves without a search.

use slab::Slab;
use std::ops;

/// Where an entry is in its arena.
pub(super) type Place = u32;

const NOWHERE: Place = Place::MAX;

/// Entries, each of which can be in so many lists at a time.
#[derive(Debug)]
pub(super) struct Arena<T, const LISTS: usize>(Slab<Node<T, LISTS>>);

#[derive(Debug)]
struct Node<T, const LISTS: usize> {
    entry: T,
    links: [Links; LISTS],
}

/// The neighbours in one list.
#[derive(Clone, Copy, Debug)]
struct Links {
    previous: Place,
    next: Place,
}

const UNLINKED: Links = Links { previous: NOWHERE, next: NOWHERE };

impl<T, const LISTS: usize> Arena<T, LISTS> {
    pub const fn new() -> Self {
        Arena(Slab::new())
    }

    pub fn insert(&mut self, entry: T) -> Place {
        let place = self.0.insert(Node { entry, links: [UNLINKED; LISTS] });
        Place::try_from(place).expect("BUG: four billion entries are too many")
    }

    /// Takes an entry out that is in no list any more.
    pub fn remove(&mut self, place: Place) -> T {
        self.0.remove(place as usize).entry
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.0.get_mut(place as usize).map(|node| &mut node.entry)
    }

    /// What comes before an entry in the list of this number.
    pub fn previous<const LIST: usize>(&self, place: Place) -> Option<Place> {
        some(self.0[place as usize].links[LIST].previous)
    }

    fn next<const LIST: usize>(&self, place: Place) -> Option<Place> {
        some(self.0[place as usize].links[LIST].next)
    }

    fn links(&mut self, list: usize, place: Place) -> &mut Links {
        &mut self.0[place as usize].links[list]
    }
}

impl<T, const LISTS: usize> ops::Index<Place> for Arena<T, LISTS> {
    type Output = T;

    fn index(&self, place: Place) -> &T {
        &self.0[place as usize].entry
    }
}

impl<T, const LISTS: usize> ops::IndexMut<Place> for Arena<T, LISTS> {
    fn index_mut(&mut self, place: Place) -> &mut T {
        &mut self.0[place as usize].entry
    }
}

/// A list through an arena, by the links of number `LIST` of its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<const LIST: usize> {
    first: Place,
    last: Place,
}

impl<const LIST: usize> Default for List<LIST> {
    fn default() -> Self {
        List { first: NOWHERE, last: NOWHERE }
    }
}

impl<const LIST: usize> List<LIST> {
    pub fn is_empty(self) -> bool {
        self.first == NOWHERE
    }

    pub fn first(self) -> Option<Place> {
        some(self.first)
    }

    pub fn last(self) -> Option<Place> {
        some(self.last)
    }

    pub fn push_back<T, const LISTS: usize>(&mut self, arena: &mut Arena<T, LISTS>, place: Place) {
        *arena.links(LIST, place) = Links { previous: self.last, next: NOWHERE };
        match self.last() {
            Some(last) => arena.links(LIST, last).next = place,
            None => self.first = place,
        }
        self.last = place;
    }

    pub fn push_front<T, const LISTS: usize>(&mut self, arena: &mut Arena<T, LISTS>, place: Place) {
        *arena.links(LIST, place) = Links { previous: NOWHERE, next: self.first };
        match self.first() {
            Some(first) => arena.links(LIST, first).previous = place,
            None => self.last = place,
        }
        self.first = place;
    }

    /// Takes out an entry, which is in this list.
    pub fn remove<T, const LISTS: usize>(&mut self, arena: &mut Arena<T, LISTS>, place: Place) {
        let Links { previous, next } = std::mem::replace(arena.links(LIST, place), UNLINKED);
        match some(previous) {
            Some(previous) => arena.links(LIST, previous).next = next,
            None => self.first = next,
        }
        match some(next) {
            Some(next) => arena.links(LIST, next).previous = previous,
            None => self.last = previous,
        }
    }

    pub fn iter<T, const LISTS: usize>(self, arena: &Arena<T, LISTS>) -> impl Iterator<Item = Place> + '_ {
        std::iter::successors(self.first(), |&place| arena.next::<LIST>(place))
    }

    pub fn iter_back<T, const LISTS: usize>(self, arena: &Arena<T, LISTS>) -> impl Iterator<Item = Place> + '_ {
        std::iter::successors(self.last(), |&place| arena.previous::<LIST>(place))
    }
}

fn some(place: Place) -> Option<Place> {
    (place != NOWHERE).then_some(place)
}
