//! Who uses one key in this process: the requests that hold it, and those that wait for it.
//!
//! Invariant: with many requests, each owner's are listed besides, so that what one call costs does not depend on the others.

use super::arena::{List, Place};
use super::by_owner::{ByOwner, MANY};
use super::queue::Queue;
use super::requests::{Entry, Requests, Stage, AT_KEY};
use crate::core::{Mode, OwnerId, RequestId};

#[derive(Debug, Default)]
pub(super) struct Users {
    pub queue: Queue,
    holds: List<AT_KEY>,
    held: u32,
    held_exclusively: u32,
    waiting: u32,
    /// What each owner has, where there are many requests.
    by_owner: Option<Box<ByOwner>>,
}

impl Users {
    pub const fn is_empty(&self) -> bool {
        self.held == 0 && self.waiting == 0
    }

    /// Where a new request of this owner waits.
    pub fn stage_of_wait(&self, owner: OwnerId, requests: &Requests) -> Stage {
        if self.is_holder(owner, requests) {
            Stage::WaitsAsHolder
        } else {
            Stage::Waits
        }
    }

    /// Queues a request.
    pub fn enqueue(&mut self, place: Place, requests: &mut Requests) {
        self.queue.push(requests, place);
        self.waiting += 1;
        self.add_to_owner(place, requests);
    }

    /// Takes a request out of the queue.
    pub fn dequeue(&mut self, place: Place, requests: &mut Requests) {
        self.take_from_owner(place, requests);
        self.queue.remove(requests, place);
        self.waiting -= 1;
    }

    /// Makes a request that is in no queue a hold. What else its owner waits for now goes before those who wait for this hold;
    /// the oldest of what has moved so.
    pub fn add_hold(&mut self, place: Place, requests: &mut Requests) -> Option<RequestId> {
        let Entry { owner, mode, .. } = requests.entries[place];
        let moved = if self.is_holder(owner, requests) { Vec::new() } else { self.waits_of(owner, requests) };
        let oldest = oldest_of(&moved, requests);
        self.queue.move_up(requests, moved);
        self.holds.push_back(&mut requests.entries, place);
        self.held += 1;
        self.held_exclusively += u32::from(mode == Mode::Exclusive);
        self.add_to_owner(place, requests);
        oldest
    }

    /// Takes a hold out. If it was the owner's last one, what else the owner waits for goes behind those who hold the key; the
    /// oldest of what has moved so.
    pub fn remove_hold(&mut self, place: Place, requests: &mut Requests) -> Option<RequestId> {
        let Entry { owner, mode, .. } = requests.entries[place];
        self.take_from_owner(place, requests);
        self.holds.remove(&mut requests.entries, place);
        self.held -= 1;
        self.held_exclusively -= u32::from(mode == Mode::Exclusive);
        let moved = if self.is_holder(owner, requests) { Vec::new() } else { self.waits_of(owner, requests) };
        let oldest = oldest_of(&moved, requests);
        self.queue.move_down(requests, moved);
        oldest
    }

    /// Whether somebody holds the key exclusively.
    pub const fn has_exclusive_holds(&self) -> bool {
        self.held_exclusively > 0
    }

    /// The hold that a release without a name means.
    pub fn latest_hold(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> Option<Place> {
        let latest = |scoped: bool| match &self.by_owner {
            Some(by_owner) => by_owner.of(owner)?.latest_hold(mode, scoped),
            None => self.holds.iter_back(&requests.entries).find(|&place| {
                let hold = &requests.entries[place];
                hold.owner == owner && hold.mode == mode && hold.scoped == scoped
            }),
        };
        latest(false).or_else(|| latest(true))
    }

    /// Whether the owner waits for the key in this mode.
    pub fn waits_in(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> bool {
        match &self.by_owner {
            Some(by_owner) => by_owner.of(owner).is_some_and(|own| own.waits_in(mode)),
            None => self.queue.iter(requests).any(|place| {
                let waiter = &requests.entries[place];
                waiter.owner == owner && waiter.mode == mode
            }),
        }
    }

    /// Everybody who holds the key, in the order of the grants.
    pub fn holds<'a>(&self, requests: &'a Requests) -> impl Iterator<Item = Place> + 'a {
        self.holds.iter(&requests.entries)
    }

    /// How many holds there are.
    pub fn held(&self) -> usize {
        self.held as usize
    }

    /// The request of an owner that was the first of those that have become holds in such a mode.
    pub fn oldest_hold(
        &self,
        owner: OwnerId,
        is_meant: impl Fn(Mode) -> bool,
        requests: &Requests,
    ) -> Option<RequestId> {
        let oldest = |holds: &mut dyn Iterator<Item = Place>| {
            let holds = holds.map(|place| &requests.entries[place]);
            holds.filter(|hold| hold.owner == owner && is_meant(hold.mode)).map(|hold| hold.id).min()
        };
        match &self.by_owner {
            Some(by_owner) => oldest(&mut by_owner.of(owner)?.holds(&requests.entries)),
            None => oldest(&mut self.holds(requests)),
        }
    }

    /// Whether the owner, which may still ask for something, holds the key.
    pub fn is_holder(&self, owner: OwnerId, requests: &Requests) -> bool {
        self.held > 0 && !owner.is_of_one_call() && self.held_by(owner, requests) > 0
    }

    /// Whether somebody else holds the key in a mode that excludes this one.
    pub fn conflicts(&self, owner: OwnerId, mode: Mode, requests: &Requests) -> bool {
        match mode {
            _ if self.held == 0 => false,
            Mode::Shared if self.held_exclusively == 0 => false,
            // Who holds exclusively has all holds.
            Mode::Shared => self.holds.first().is_some_and(|place| requests.entries[place].owner != owner),
            Mode::Exclusive => self.held_by(owner, requests) < self.held(),
        }
    }

    fn held_by(&self, owner: OwnerId, requests: &Requests) -> usize {
        match &self.by_owner {
            Some(by_owner) => by_owner.of(owner).map_or(0, |own| own.held()),
            None => self.holds(requests).filter(|&place| requests.entries[place].owner == owner).count(),
        }
    }

    /// Whether another one who holds the key waits for it.
    pub fn another_holder_waits(&self, owner: OwnerId, requests: &Requests) -> bool {
        match &self.by_owner {
            Some(by_owner) => self.queue.patient_holders() > by_owner.of(owner).map_or(0, |own| own.patient()),
            None => self.queue.holders(requests).any(|place| requests.entries[place].owner != owner),
        }
    }

    fn waits_of(&self, owner: OwnerId, requests: &Requests) -> Vec<Place> {
        match &self.by_owner {
            _ if self.waiting == 0 || owner.is_of_one_call() => Vec::new(),
            Some(by_owner) => by_owner.of(owner).map_or(Vec::new(), |own| own.waits(&requests.entries).collect()),
            None => self.queue.iter(requests).filter(|&place| requests.entries[place].owner == owner).collect(),
        }
    }

    fn add_to_owner(&mut self, place: Place, requests: &mut Requests) {
        let count = (self.held + self.waiting) as usize;
        if let Some(by_owner) = &mut self.by_owner {
            by_owner.add(&mut requests.entries, place);
        } else if count > MANY {
            let all: Vec<Place> = self.holds(requests).chain(self.queue.iter(requests)).collect();
            self.by_owner = Some(Box::new(ByOwner::new(&mut requests.entries, all.into_iter())));
        }
    }

    fn take_from_owner(&mut self, place: Place, requests: &mut Requests) {
        let count = (self.held + self.waiting) as usize;
        if let Some(by_owner) = &mut self.by_owner {
            by_owner.take_out(&mut requests.entries, place);
            if count <= MANY / 2 {
                self.by_owner = None;
            }
        }
    }
}

fn oldest_of(waits: &[Place], requests: &Requests) -> Option<RequestId> {
    waits.iter().map(|&place| requests.entries[place].id).min()
}
