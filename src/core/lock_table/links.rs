//! How waits of this process may be in deadlocks with those of other processes, to be told to them.

use super::effects::Ticks;
use super::key_state::Phase;
use super::link::Link;
use super::requests::Entry;
use super::LockTable;
use crate::core::{Key, Mode, RequestId};
use std::collections::{BTreeMap, HashMap};

/// Beyond so many links the rest is not told to the others, lest the server's lock table suffer.
const ENOUGH_LINKS: usize = 256;
/// Nor what is farther away than so many waits.
const ENOUGH_VISITS: usize = 2048;

/// By link: the youngest wait that makes it, and since when that waits.
type Links = BTreeMap<Link, (RequestId, Ticks)>;

impl LockTable {
    /// The links by which this process may be in deadlocks with others, by waits that have lasted for `age` at least; with each
    /// link the youngest wait in this process that makes it, and since when it waits.
    #[must_use]
    pub fn links(&self, age: Ticks, now: Ticks) -> Links {
        let mut links = Links::new();
        let Some(old) = now.checked_sub(age) else { return links };
        let mut visits = 0;
        for &owner in self.requests.entangled() {
            for place in self.requests.waits_of(owner) {
                let wait = &self.requests.entries[place];
                if visits >= ENOUGH_VISITS || links.len() >= ENOUGH_LINKS || wait.since > old {
                    break;
                }
                if wait.patient && wait.owner == owner {
                    visits += self.add_links_from(wait, old, &mut links);
                }
            }
        }
        links
    }

    /// Adds the links of what the owner of this wait holds to all that the wait leads to. How many waits were visited.
    fn add_links_from(&self, start: &Entry, old: Ticks, links: &mut Links) -> usize {
        // The way that each wait was come by: it names the waits of a link.
        let mut come_from = HashMap::from([(start.id, start.id)]);
        let mut open = vec![start.id];
        while let Some(wait) = open.pop() {
            if let Some((key, awaited)) = self.awaited_on_server(wait) {
                let way = std::iter::successors(Some(wait), |wait| (*wait != start.id).then(|| come_from[wait]));
                let youngest = way.filter_map(|wait| Some((self.since(wait)?, wait))).max();
                let youngest = youngest.map_or((start.id, start.since), |(since, wait)| (wait, since));
                for held in self.held_before(start) {
                    for mode in [Mode::Exclusive, Mode::Shared].into_iter().filter(|mode| mode.conflicts_with(awaited))
                    {
                        links.insert(Link { held: Some(held), in_the_way: (key, mode) }, youngest);
                    }
                    if links.len() >= ENOUGH_LINKS {
                        return come_from.len();
                    }
                }
            }
            for next in self.blockers(wait, old) {
                if let std::collections::hash_map::Entry::Vacant(way) = come_from.entry(next) {
                    way.insert(wait);
                    open.push(next);
                }
            }
            if come_from.len() >= ENOUGH_VISITS {
                break;
            }
        }
        come_from.len()
    }

    /// The holds that this wait blocks.
    fn held_before<'a>(&'a self, wait: &'a Entry) -> impl Iterator<Item = (Key, Mode)> + 'a {
        let holds = self.requests.holds_of(wait.owner).map(|place| &self.requests.entries[place]);
        holds
            .filter(|hold| hold.owner == wait.owner && hold.id < wait.id)
            .map(|hold| (self.keys[hold.key].key, hold.mode))
    }

    /// What the server is asked for on behalf of this wait.
    fn awaited_on_server(&self, wait: RequestId) -> Option<(Key, Mode)> {
        let place = self.requests.find(wait)?;
        let state = &self.keys[self.requests.entries[place].key];
        match state.phase {
            Phase::Waiting { mode, cancelled: false } if state.users.queue.first(&self.requests) == Some(place) => {
                Some((state.key, mode))
            }
            _ => None,
        }
    }

    fn since(&self, wait: RequestId) -> Option<Ticks> {
        self.requests.find(wait).map(|place| self.requests.entries[place].since)
    }
}
