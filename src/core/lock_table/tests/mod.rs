//! Scenarios, one per rule, and random calls against a naive model and a simulated server.

mod deadlock;
mod endings;
mod faults;
mod fences;
mod model;
mod modes;
mod queue;
mod random;
mod releases;
mod salvage;
mod script;
mod server;
mod task;
mod tenure;
mod wire;
mod world;

use super::key_state::KeyState;
use super::{LockTable, Search, Ticks};
use crate::core::{Key, RequestId, ThreadId};

fn request_id(number: u64) -> RequestId {
    RequestId::new(ThreadId(1), number)
}

fn state_of(table: &LockTable, key: Key) -> Option<&KeyState> {
    table.keys.find(key).map(|place| &table.keys[place])
}

/// The youngest wait of a deadlock. The search is interrupted again and again.
fn find_deadlock(table: &mut LockTable, age: Ticks, now: Ticks) -> Option<RequestId> {
    loop {
        match table.search_deadlock(age, now, 2) {
            Search::Deadlock(youngest) => return Some(youngest),
            Search::Unfinished => {}
            Search::Done => return None,
        }
    }
}
