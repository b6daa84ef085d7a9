//! What each owner has at a key where there are many requests, so that none of them is looked for among the others.

use super::arena::{List, Place};
use super::requests::{Entries, Entry, Stage, OF_OWNER};
use crate::core::{Mode, OwnerId};
use foldhash::HashMap;

/// With so many requests at a key it pays to know what each owner has.
pub(super) const MANY: usize = if cfg!(test) { 3 } else { 32 };

/// By owner. Owners of one call are not here, as they never have a second one at the key.
#[derive(Debug, Default)]
pub(super) struct ByOwner(HashMap<OwnerId, OfOwner>);

/// What one owner has at the key.
#[derive(Debug, Default)]
pub(super) struct OfOwner {
    waits: [List<OF_OWNER>; 2],
    holds: [List<OF_OWNER>; 4],
    held: usize,
    patient: usize,
}

impl ByOwner {
    pub fn new(entries: &mut Entries, all: impl Iterator<Item = Place>) -> ByOwner {
        let mut by_owner = ByOwner::default();
        all.for_each(|place| by_owner.add(entries, place));
        by_owner
    }

    pub fn of(&self, owner: OwnerId) -> Option<&OfOwner> {
        self.0.get(&owner)
    }

    /// A request has come, or has become a hold.
    pub fn add(&mut self, entries: &mut Entries, place: Place) {
        let entry = &entries[place];
        if entry.owner.is_of_one_call() {
            return;
        }
        let (mode, scoped, patient) = (entry.mode, entry.scoped, entry.patient);
        let own = self.0.entry(entry.owner).or_default();
        if entry.stage == Stage::Held {
            own.holds[hold_list(mode, scoped)].push_back(entries, place);
            own.held += 1;
        } else {
            own.waits[mode as usize].push_back(entries, place);
            own.patient += usize::from(patient);
        }
    }

    /// A request is over, or is about to become a hold.
    pub fn take_out(&mut self, entries: &mut Entries, place: Place) {
        let &Entry { owner, mode, scoped, patient, stage, .. } = &entries[place];
        if owner.is_of_one_call() {
            return;
        }
        let own = self.0.get_mut(&owner).expect("BUG: an owner is missing in the index");
        if stage == Stage::Held {
            own.holds[hold_list(mode, scoped)].remove(entries, place);
            own.held -= 1;
        } else {
            own.waits[mode as usize].remove(entries, place);
            own.patient -= usize::from(patient);
        }
        if own.held == 0 && own.waits.iter().all(|list| list.is_empty()) {
            self.0.remove(&owner);
        }
    }
}

impl OfOwner {
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many of its waits are patient.
    pub const fn patient(&self) -> usize {
        self.patient
    }

    pub fn waits_in(&self, mode: Mode) -> bool {
        !self.waits[mode as usize].is_empty()
    }

    pub fn waits<'a>(&'a self, entries: &'a Entries) -> impl Iterator<Item = Place> + 'a {
        self.waits.iter().flat_map(|list| list.iter(entries))
    }

    pub fn holds<'a>(&'a self, entries: &'a Entries) -> impl Iterator<Item = Place> + 'a {
        self.holds.iter().flat_map(|list| list.iter(entries))
    }

    pub fn latest_hold(&self, mode: Mode, scoped: bool) -> Option<Place> {
        self.holds[hold_list(mode, scoped)].last()
    }
}

fn hold_list(mode: Mode, scoped: bool) -> usize {
    2 * mode as usize + usize::from(scoped)
}
