//! Who waits for a key, in order: those whose owners hold it go before those who wait for these holds.

use super::arena::{List, Place};
use super::requests::{Requests, Stage, AT_KEY};
use crate::core::Mode;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those whose owners hold the key.
    holders: Part,
    others: Part,
}

/// One part of the queue. Each list is in the order of the turns.
#[derive(Debug, Default)]
struct Part {
    patient: List<AT_KEY>,
    impatient: List<AT_KEY>,
    /// How many are patient.
    count: usize,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.others.is_empty()
    }

    pub fn first(&self, requests: &Requests) -> Option<Place> {
        self.holders.first(requests).or_else(|| self.others.first(requests))
    }

    /// The first of those who are not ready to wait.
    pub fn first_impatient(&self) -> Option<Place> {
        self.holders.impatient.first().or_else(|| self.others.impatient.first())
    }

    /// How many of those whose owners hold the key are ready to wait.
    pub fn patient_holders(&self) -> usize {
        self.holders.count
    }

    /// Those whose owners hold the key and who are ready to wait, in order.
    pub fn holders<'a>(&self, requests: &'a Requests) -> impl Iterator<Item = Place> + 'a {
        self.holders.patient.iter(&requests.entries)
    }

    /// Who is ready to wait and stands before this one, who is ready as well.
    pub fn before(&self, requests: &Requests, place: Place) -> Option<Place> {
        let before = requests.entries.previous::<AT_KEY>(place);
        match requests.entries[place].stage {
            Stage::WaitsAsHolder => before,
            _ => before.or_else(|| self.holders.patient.last()),
        }
    }

    /// Everybody, in no particular order.
    pub fn iter<'a>(&self, requests: &'a Requests) -> impl Iterator<Item = Place> + 'a {
        let lists = [self.holders.patient, self.holders.impatient, self.others.patient, self.others.impatient];
        lists.into_iter().flat_map(|list| list.iter(&requests.entries))
    }

    /// Everybody, in order.
    pub fn in_order(&self, requests: &Requests) -> Vec<Place> {
        let mut all: Vec<Place> = self.iter(requests).collect();
        let order = |place: &Place| {
            let entry = &requests.entries[*place];
            (entry.stage != Stage::WaitsAsHolder, entry.turn)
        };
        all.sort_unstable_by_key(order);
        all
    }

    /// Those who are not ready to wait and of whom `is_meant` is true, in order.
    pub fn impatient(&self, requests: &Requests, is_meant: impl Fn(Mode) -> bool) -> Vec<Place> {
        let all = [self.holders.impatient, self.others.impatient].into_iter();
        all.flat_map(|list| list.iter(&requests.entries))
            .filter(|&place| is_meant(requests.entries[place].mode))
            .collect()
    }

    /// Queues a request behind those of its kind.
    pub fn push(&mut self, requests: &mut Requests, place: Place) {
        requests.entries[place].turn = requests.last_turn();
        let (list, count) = self.list_of(requests, place);
        list.push_back(&mut requests.entries, place);
        *count += usize::from(requests.entries[place].patient);
    }

    /// Takes a request out.
    pub fn remove(&mut self, requests: &mut Requests, place: Place) {
        let (list, count) = self.list_of(requests, place);
        list.remove(&mut requests.entries, place);
        *count -= usize::from(requests.entries[place].patient);
    }

    /// The owner of these waits holds the key from now on: they go before those who wait for what it holds.
    pub fn move_up(&mut self, requests: &mut Requests, mut waits: Vec<Place>) {
        waits.sort_unstable_by_key(|&place| requests.entries[place].turn);
        for place in waits {
            self.remove(requests, place);
            requests.entries[place].stage = Stage::WaitsAsHolder;
            self.push(requests, place);
        }
    }

    /// The owner of these waits does not hold the key any more: they are the first of the others.
    pub fn move_down(&mut self, requests: &mut Requests, mut waits: Vec<Place>) {
        waits.sort_unstable_by_key(|&place| std::cmp::Reverse(requests.entries[place].turn));
        for place in waits {
            self.remove(requests, place);
            requests.entries[place].stage = Stage::Waits;
            requests.entries[place].turn = requests.first_turn();
            let (list, count) = self.list_of(requests, place);
            list.push_front(&mut requests.entries, place);
            *count += usize::from(requests.entries[place].patient);
        }
    }

    fn list_of(&mut self, requests: &Requests, place: Place) -> (&mut List<AT_KEY>, &mut usize) {
        let entry = &requests.entries[place];
        let part = match entry.stage {
            Stage::WaitsAsHolder => &mut self.holders,
            Stage::Waits => &mut self.others,
            Stage::Held => unreachable!("BUG: a hold is in the queue"),
        };
        (if entry.patient { &mut part.patient } else { &mut part.impatient }, &mut part.count)
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        self.patient.is_empty() && self.impatient.is_empty()
    }

    fn first(&self, requests: &Requests) -> Option<Place> {
        let firsts = [self.patient.first(), self.impatient.first()].into_iter().flatten();
        firsts.min_by_key(|&place| requests.entries[place].turn)
    }
}
