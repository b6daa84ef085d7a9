//! Every request that waits or has become a hold: found by its name, and by the group that it comes from.

use super::arena::{Arena, List, Place};
use super::effects::{Request, Ticks};
use crate::core::{Mode, OwnerId, RequestId};
use foldhash::fast::RandomState;
use foldhash::HashMap;
use hashbrown::HashTable;
use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::ops;

/// The list of an entry among its like at its key: in a part of the queue, or among the holds.
pub(super) const AT_KEY: usize = 0;
/// The list of an entry among those of its owner at its key.
pub(super) const OF_OWNER: usize = 1;
/// The list of an entry among the waits or the holds of its group.
const GROUP: usize = 2;

pub(super) type Entries = Arena<Entry, 3>;

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub id: RequestId,
    pub owner: OwnerId,
    /// Where the state of its key is.
    pub key: Place,
    pub mode: Mode,
    pub patient: bool,
    pub scoped: bool,
    /// When it was made.
    pub since: Ticks,
    /// Where it stands among those that wait for the key: the least is first.
    pub turn: i64,
    pub stage: Stage,
}

/// What has become of a request so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits among those whose owners hold the key, who go first.
    WaitsAsHolder,
    /// It waits among the others.
    Waits,
    Held,
}

/// What comes from one group of owners.
#[derive(Debug, Default)]
struct Group {
    waits: List<GROUP>,
    holds: List<GROUP>,
    /// How many of the holds are the group's own, rather than one call's, and how many of its waits are patient.
    own_holds: usize,
    own_waits: usize,
}

#[derive(Debug)]
pub(super) struct Requests {
    pub entries: Entries,
    by_id: HashTable<Place>,
    hasher: RandomState,
    groups: HashMap<OwnerId, Group>,
    /// Owners that hold something while they wait for something: every deadlock has some.
    entangled: BTreeSet<OwnerId>,
    patient_waits: usize,
    /// The turns that have been given out at either end of the queues.
    turns: ops::RangeInclusive<i64>,
}

impl Requests {
    pub fn new() -> Requests {
        Requests {
            entries: Entries::new(),
            by_id: HashTable::new(),
            hasher: RandomState::default(),
            groups: HashMap::default(),
            entangled: BTreeSet::new(),
            patient_waits: 0,
            turns: 0..=0,
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.groups.is_empty()
    }

    pub fn find(&self, id: RequestId) -> Option<Place> {
        self.by_id.find(self.hasher.hash_one(id), |&place| self.entries[place].id == id).copied()
    }

    pub fn insert(&mut self, request: &Request, key: Place, stage: Stage, now: Ticks) -> Place {
        let &Request { id, owner, mode, patient, scoped, .. } = request;
        let turn = self.last_turn();
        let entry = Entry { id, owner, key, mode, patient, scoped, since: now, turn, stage };
        let place = self.entries.insert(entry);
        let hash = self.hasher.hash_one(id);
        self.by_id.insert_unique(hash, place, |&place| self.hasher.hash_one(self.entries[place].id));
        self.join_group(place);
        place
    }

    /// The request is over.
    pub fn remove(&mut self, place: Place) -> Entry {
        self.remove_from_group(place);
        let entry = self.entries.remove(place);
        let found = self.by_id.find_entry(self.hasher.hash_one(entry.id), |&other| other == place);
        found.expect("BUG: a request cannot be found by its name").remove();
        entry
    }

    /// A waiting request becomes a hold.
    pub fn grant(&mut self, place: Place) {
        let entry = &self.entries[place];
        let (owner, patient) = (entry.owner.group(), entry.patient);
        let group = self.groups.get_mut(&owner).expect("BUG: a request whose group is forgotten");
        group.take_out(&mut self.entries, place);
        self.entries[place].stage = Stage::Held;
        group.add(&mut self.entries, place);
        self.patient_waits -= usize::from(patient);
        if group.is_entangled() {
            self.entangled.insert(owner);
        } else {
            self.entangled.remove(&owner);
        }
    }

    /// The turn of who comes last now.
    pub fn last_turn(&mut self) -> i64 {
        self.turns = *self.turns.start()..=self.turns.end() + 1;
        *self.turns.end()
    }

    /// The turn of who comes first now.
    pub fn first_turn(&mut self) -> i64 {
        self.turns = self.turns.start() - 1..=*self.turns.end();
        *self.turns.start()
    }

    /// What a group waits for, in the order of its asking.
    pub fn waits_of(&self, group: OwnerId) -> impl Iterator<Item = Place> + '_ {
        self.groups.get(&group).map(|group| group.waits).unwrap_or_default().iter(&self.entries)
    }

    /// What a group holds, in the order of the grants.
    pub fn holds_of(&self, group: OwnerId) -> impl Iterator<Item = Place> + '_ {
        self.groups.get(&group).map(|group| group.holds).unwrap_or_default().iter(&self.entries)
    }

    /// What a group waits for, the latest first.
    pub fn latest_waits_of(&self, group: OwnerId) -> impl Iterator<Item = Place> + '_ {
        self.groups.get(&group).map(|group| group.waits).unwrap_or_default().iter_back(&self.entries)
    }

    pub const fn entangled(&self) -> &BTreeSet<OwnerId> {
        &self.entangled
    }

    /// Whether somebody waits who is ready to do so for long.
    pub const fn has_patient_waits(&self) -> bool {
        self.patient_waits > 0
    }

    fn join_group(&mut self, place: Place) {
        let entry = &self.entries[place];
        let (owner, patient) = (entry.owner, entry.patient && entry.stage != Stage::Held);
        let group = self.groups.entry(owner.group()).or_default();
        group.add(&mut self.entries, place);
        self.patient_waits += usize::from(patient);
        if group.is_entangled() {
            self.entangled.insert(owner.group());
        }
    }

    fn remove_from_group(&mut self, place: Place) {
        let entry = &self.entries[place];
        let (owner, patient) = (entry.owner, entry.patient && entry.stage != Stage::Held);
        let group = self.groups.get_mut(&owner.group()).expect("BUG: a request whose group is forgotten");
        group.take_out(&mut self.entries, place);
        self.patient_waits -= usize::from(patient);
        if !group.is_entangled() {
            self.entangled.remove(&owner.group());
        }
        if group.holds.is_empty() && group.waits.is_empty() {
            self.groups.remove(&owner.group());
        }
    }
}

impl Group {
    fn add(&mut self, entries: &mut Entries, place: Place) {
        let Entry { owner, patient, stage, .. } = entries[place];
        let is_own = usize::from(!owner.is_of_one_call());
        if stage == Stage::Held {
            self.holds.push_back(entries, place);
            self.own_holds += is_own;
        } else {
            self.waits.push_back(entries, place);
            self.own_waits += is_own * usize::from(patient);
        }
    }

    fn take_out(&mut self, entries: &mut Entries, place: Place) {
        let Entry { owner, patient, stage, .. } = entries[place];
        let is_own = usize::from(!owner.is_of_one_call());
        if stage == Stage::Held {
            self.holds.remove(entries, place);
            self.own_holds -= is_own;
        } else {
            self.waits.remove(entries, place);
            self.own_waits -= is_own * usize::from(patient);
        }
    }

    fn is_entangled(&self) -> bool {
        self.own_holds > 0 && self.own_waits > 0
    }
}
