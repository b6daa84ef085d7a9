//! What each owner has at a key where there are many requests, so that none of them is looked for among the others.

use super::arena::{List, Place};
use super::requests::{Entries, Entry, Stage, MATES};
use crate::core::{Mode, OwnerId};
use foldhash::HashMap;

/// With so many requests at a key it pays to know what each owner has.
pub(super) const CROWD: usize = if cfg!(test) { 3 } else { 32 };

/// By owner. Owners of one call are not here, as they never have a second one at the key.
#[derive(Debug, Default)]
pub(super) struct Crowd(HashMap<OwnerId, Share>);

/// What one owner has at the key.
#[derive(Debug, Default)]
pub(super) struct Share {
    waits: [List<MATES>; 2],
    holds: [List<MATES>; 4],
    held: usize,
    patient: usize,
}

impl Crowd {
    pub fn of(entries: &mut Entries, all: impl Iterator<Item = Place>) -> Crowd {
        let mut crowd = Crowd::default();
        all.for_each(|place| crowd.add(entries, place));
        crowd
    }

    pub fn share(&self, owner: OwnerId) -> Option<&Share> {
        self.0.get(&owner)
    }

    /// A request has come, or has become a hold.
    pub fn add(&mut self, entries: &mut Entries, place: Place) {
        let entry = &entries[place];
        if entry.owner.is_of_one_call() {
            return;
        }
        let (mode, scoped, patient) = (entry.mode, entry.scoped, entry.patient);
        let share = self.0.entry(entry.owner).or_default();
        if entry.stage == Stage::Held {
            share.holds[hold_list(mode, scoped)].push_back(entries, place);
            share.held += 1;
        } else {
            share.waits[mode as usize].push_back(entries, place);
            share.patient += usize::from(patient);
        }
    }

    /// A request is over, or is about to become a hold.
    pub fn take_out(&mut self, entries: &mut Entries, place: Place) {
        let &Entry { owner, mode, scoped, patient, stage, .. } = &entries[place];
        if owner.is_of_one_call() {
            return;
        }
        let share = self.0.get_mut(&owner).expect("BUG: an owner is missing in the crowd");
        if stage == Stage::Held {
            share.holds[hold_list(mode, scoped)].remove(entries, place);
            share.held -= 1;
        } else {
            share.waits[mode as usize].remove(entries, place);
            share.patient -= usize::from(patient);
        }
        if share.held == 0 && share.waits.iter().all(|list| list.is_empty()) {
            self.0.remove(&owner);
        }
    }
}

impl Share {
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
