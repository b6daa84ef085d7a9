//! The sessions that there are, of either kind, from the decision to open one until it has closed.

use crate::core::SessionId;
use crate::pg::Wire;
use foldhash::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// An idle session of which nothing was heard for so long may be dead.
pub(super) const LONG_REST: Duration = Duration::from_secs(1);

/// What a manager knows of one session.
pub(super) trait SessionSlot {
    /// The connection, once it is open.
    fn wire(&self) -> Option<&Arc<Wire>>;

    /// Tells the session's task that there is something new.
    fn changed(&self) -> &Arc<Notify>;

    fn is_open(&self) -> bool {
        self.wire().is_some()
    }

    /// How long ago that was asked for which the server has last shown that it is there.
    fn age_of_proof(&self) -> Duration {
        self.wire().map_or(Duration::ZERO, |wire| wire.age_of_proof())
    }
}

pub(super) struct Slots<S> {
    slots: HashMap<SessionId, S>,
    /// Sessions whose tasks are to be started once the state is unlocked.
    to_open: Vec<SessionId>,
    /// How many have no slot any more and are still closing.
    closing: usize,
}

impl<S: SessionSlot> Slots<S> {
    pub fn new() -> Slots<S> {
        Slots { slots: HashMap::default(), to_open: Vec::new(), closing: 0 }
    }

    /// Begins a session.
    pub fn begin(&mut self, slot: S) -> SessionId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        self.slots.insert(id, slot);
        self.to_open.push(id);
        id
    }

    /// The sessions to be started, with what tells their tasks of changes.
    pub fn take_to_open(&mut self) -> Vec<(SessionId, Arc<Notify>)> {
        let to_open = std::mem::take(&mut self.to_open).into_iter();
        to_open.filter_map(|id| Some((id, Arc::clone(self.slots.get(&id)?.changed())))).collect()
    }

    pub fn get(&self, id: SessionId) -> Option<&S> {
        self.slots.get(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut S> {
        self.slots.get_mut(&id)
    }

    pub fn contains(&self, id: SessionId) -> bool {
        self.slots.contains_key(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &S)> {
        self.slots.iter().map(|(&id, slot)| (id, slot))
    }

    pub fn remove(&mut self, id: SessionId) -> Option<S> {
        self.slots.remove(&id)
    }

    /// A session that has been removed is closing from now on; [`Slots::end_closing`] must follow.
    pub fn begin_closing(&mut self) {
        self.closing += 1;
    }

    pub fn end_closing(&mut self) {
        self.closing -= 1;
    }

    pub fn are_closing(&self) -> bool {
        self.closing > 0
    }

    /// Whether there is none, and none that is still closing.
    pub fn are_gone(&self) -> bool {
        self.slots.is_empty() && self.closing == 0
    }

    pub fn has_open(&self) -> bool {
        self.slots.values().any(S::is_open)
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.slots.values().filter(|slot| slot.is_open()).count()
    }

    /// The connections that are open.
    pub fn wires(&self) -> impl Iterator<Item = &Arc<Wire>> {
        self.slots.values().filter_map(S::wire)
    }

    /// Those that are open and meant, with their connections.
    pub fn wires_where(&self, is_meant: impl Fn(SessionId, &S) -> bool) -> Vec<(SessionId, Arc<Wire>)> {
        let meant = self.slots.iter().filter(|&(&id, slot)| is_meant(id, slot));
        meant.filter_map(|(&id, slot)| Some((id, Arc::clone(slot.wire()?)))).collect()
    }

    /// Whether a session has answered within this time.
    pub fn have_answered_within(&self, time: Duration) -> bool {
        self.wires().any(|wire| wire.has_answered_within(time))
    }

    /// Has every session look whether it is still needed.
    pub fn notify_all(&self) {
        self.slots.values().for_each(|slot| slot.changed().notify_one());
    }
}
