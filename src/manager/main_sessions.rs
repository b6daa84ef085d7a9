//! The sessions for tries and holds: which there are, and which of them takes new tries.

use super::backoff::Backoff;
use super::slot::Slot;
use super::slots::{SessionSlot, Slots};
use crate::core::lock_table::LockTable;
use crate::core::SessionId;
use crate::error::Error;
use std::time::{Duration, Instant};

/// A session that holds more keys than this slows down everybody on it, as PostgreSQL walks all locks of a session at
/// each transaction end: new tries go to another one.
const MOST_KEYS_ON_A_SESSION: usize = 640;
/// But keys that are asked for all at once cost little more on one session than on several, and less than to open these.
const MOST_KEYS_AT_ONCE: usize = 2560;
/// Beyond so many sessions for tries and holds, the least loaded one takes more.
const MOST_SESSIONS: usize = 20;
/// The code of a server that has no room for more sessions.
const NO_ROOM: &str = "53300";

pub(super) struct MainSessions {
    all: Vec<SessionId>,
    /// The one that new tries go to.
    current: Option<SessionId>,
    /// The last one is gone for want of work while waits were in the queues, which need no other as long as they have theirs.
    are_resting: bool,
    backoff: Backoff,
    /// Why there is none, where the server is left alone for that.
    refusal: Option<Error>,
}

impl MainSessions {
    pub fn new() -> MainSessions {
        MainSessions {
            all: Vec::new(),
            current: None,
            are_resting: false,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            refusal: None,
        }
    }

    /// The one for new tries among those that there are: one that is not too full. `None`: another one is to be begun.
    pub fn find(&mut self, slots: &Slots<Slot>, table: &LockTable) -> Option<SessionId> {
        let load = |id: SessionId| {
            let tries = slots.get(id).map_or(usize::MAX / 2, Slot::tries);
            let held = table.key_count_on(id);
            (held, held + tries)
        };
        let has_room = |id: &SessionId| {
            let (held, load) = load(*id);
            held < MOST_KEYS_ON_A_SESSION && load < MOST_KEYS_AT_ONCE
        };
        if let Some(current) = self.current.filter(has_room) {
            return Some(current);
        }
        let (load, least) = self.all.iter().map(|&id| (load(id).1, id)).min()?;
        if load < MOST_KEYS_ON_A_SESSION / 2 || !self.may_grow(slots) {
            self.current = Some(least);
            return self.current;
        }
        None
    }

    /// Whether one more may be begun, where there are some.
    fn may_grow(&self, slots: &Slots<Slot>) -> bool {
        self.all.len() < MOST_SESSIONS && !self.are_held_back() && (!self.backoff.has_failed() || self.are_open(slots))
    }

    /// Whether one may be begun where there is none.
    ///
    /// # Errors
    /// The server is left alone, as it had no room for one a moment ago.
    pub fn may_begin(&self) -> Result<(), Error> {
        match &self.refusal {
            Some(cause) if self.are_held_back() => Err(cause
                .clone()
                .about("no connection could be opened a moment ago, and the server is left alone for now")),
            _ => Ok(()),
        }
    }

    /// One has begun, and takes new tries.
    pub fn add(&mut self, id: SessionId) {
        self.all.push(id);
        self.current = Some(id);
        self.are_resting = false;
    }

    pub fn remove(&mut self, id: SessionId) {
        if self.current == Some(id) {
            self.current = None;
        }
        self.all.retain(|&main| main != id);
    }

    pub fn is_current(&self, id: SessionId) -> bool {
        self.current == Some(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.all.iter().copied()
    }

    /// One that is open.
    pub fn open_one(&self, slots: &Slots<Slot>) -> Option<SessionId> {
        self.iter().find(|&id| slots.get(id).is_some_and(Slot::is_open))
    }

    /// Whether there are some, all of which are open.
    pub fn are_open(&self, slots: &Slots<Slot>) -> bool {
        !self.is_empty() && self.iter().all(|id| slots.get(id).is_some_and(Slot::is_open))
    }

    /// Whether the server is left alone for now, as one could not be opened a moment ago.
    pub fn are_held_back(&self) -> bool {
        !self.backoff.is_over(Instant::now())
    }

    /// The only one.
    pub fn only(&self) -> Option<SessionId> {
        match self.all[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One is open: the server has room.
    pub fn opened(&mut self) {
        self.forget_refusal();
    }

    /// There is room again, as far as anybody knows.
    pub fn forget_refusal(&mut self) {
        self.backoff.succeeded();
        self.refusal = None;
    }

    /// One could not be opened. The answer: one that is open, which must do in its place.
    pub fn open_failed(&mut self, slots: &Slots<Slot>, cause: &Error) -> Option<SessionId> {
        let now = Instant::now();
        let open = self.open_one(slots);
        if let Some(other) = open {
            // The server answers, it only has no room for more sessions.
            self.backoff.failed(now);
            self.current.get_or_insert(other);
        } else if cause.is_client_closed() {
            // Nobody needed it any more, which says nothing of the server to those who come after.
        } else if slots.has_open() || cause.code() == NO_ROOM {
            // Waits in the queues would ask for one again and again, and so would callers where there is no room.
            self.backoff.failed(now);
            self.refusal = Some(cause.clone());
        }
        open
    }

    /// One is gone for want of work. `are_needed`: whether there are waits in the queues, which do without for the time being.
    pub fn closed(&mut self, are_needed: bool) {
        self.are_resting = self.is_empty() && are_needed;
    }

    pub fn are_resting(&self) -> bool {
        self.are_resting
    }

    /// Whether they rested; they do not from here on.
    pub fn end_rest(&mut self) -> bool {
        std::mem::take(&mut self.are_resting)
    }
}
