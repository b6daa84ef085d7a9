//! What the server answers to the operations, and what becomes of the key then.

use super::arena::Place;
use super::effects::{Event, Operation, Outcome, Ticks};
use super::key_state::{Phase, ServerHold};
use super::LockTable;
use crate::core::{Key, Mode, Modes, SessionId};

impl LockTable {
    /// Takes note of an answer. What it brings is in [`LockTable::effects`].
    pub fn update(&mut self, event: Event, now: Ticks) {
        match event {
            Event::Acquired { key, home } => self.acquired(key, home, now),
            Event::Denied { key } => self.denied(key, now),
            Event::WaitEnded { key } => self.wait_ended(key, now),
            Event::AcquireFailed { key } => self.acquire_failed(key, now),
            Event::Released { key, held } => self.released(key, held, now),
            Event::Downgraded { key, done } => self.downgraded(key, done, now),
            Event::Probed { key, contended } => self.probed(key, contended, now),
            Event::SessionLost { session } => self.session_lost(session, now),
        }
    }

    pub(super) fn acquired(&mut self, key: Key, home: SessionId, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        let (Phase::Trying(mode) | Phase::Waiting { mode, .. }) = state.phase else {
            unreachable!("BUG: a lock was acquired that the table did not ask for")
        };
        state.phase = Phase::Idle;
        let server = state.server.get_or_insert(ServerHold::none(home));
        server.held = server.held.with(mode, true);
        state.since = now;
        state.draining = false;
        state.taken_elsewhere = false;
        self.advance(key, now);
    }

    pub(super) fn denied(&mut self, key: Key, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let requests = &mut self.requests;
        let state = &mut self.keys[key];
        let Phase::Trying(mode) = state.phase else {
            unreachable!("BUG: a try was denied that the table did not ask for")
        };
        state.taken_elsewhere = true;
        // An upgrade whose owner has released meanwhile is no upgrade any more and starts afresh.
        let wait = state.users.queue.first(requests).is_some_and(|head| requests.entries[head].patient)
            && state.wait_is_wanted(mode, requests);
        // Who does not wait is refused behind a waiter, and by what refused the same mode just now.
        let refused = state.users.queue.impatient(requests, |refused| wait || refused == mode);
        if wait {
            state.phase = Phase::Waiting { mode, cancelled: false };
            let home = state.server.map(|server| server.home);
            self.effects.operations.push(Operation::Wait { key: state.key, mode, home });
        } else {
            state.phase = Phase::Idle;
        }
        for place in refused {
            self.finish_wait(place, Outcome::Denied);
        }
        self.advance(key, now);
    }

    pub(super) fn wait_ended(&mut self, key: Key, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        debug_assert!(matches!(state.phase, Phase::Waiting { .. }), "BUG: a wait ended that was not under way");
        state.phase = Phase::Idle;
        self.advance(key, now);
    }

    pub(super) fn acquire_failed(&mut self, key: Key, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        let (Phase::Trying(mode) | Phase::Waiting { mode, .. }) = state.phase else {
            unreachable!("BUG: an acquiring failed that the table did not ask for")
        };
        let cancelled = matches!(state.phase, Phase::Waiting { cancelled: true, .. });
        let failed: Vec<Place> = match state.server {
            // It was for somebody who has gone; who came meanwhile has not been asked for yet.
            _ if cancelled => Vec::new(),
            None => state.users.queue.in_order(&self.requests),
            // An upgrade, if its owner still wants it.
            Some(_) if state.wait_is_wanted(mode, &self.requests) => {
                state.users.queue.first(&self.requests).into_iter().collect()
            }
            Some(_) => Vec::new(),
        };
        state.phase = Phase::Idle;
        for place in failed {
            self.finish_wait(place, Outcome::Failed);
        }
        self.advance(key, now);
    }

    pub(super) fn released(&mut self, key: Key, held: bool, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        debug_assert!(state.phase == Phase::Releasing, "BUG: a release ended that was not under way");
        state.phase = Phase::Idle;
        if !held {
            self.fail_confirmations(key);
        }
        self.advance(key, now);
    }

    pub(super) fn downgraded(&mut self, key: Key, done: bool, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        let Phase::Downgrading { take_shared } = state.phase else { return };
        state.phase = Phase::Idle;
        if !done {
            if let Some(server) = &mut state.server {
                server.held = Modes::only(Mode::Exclusive).with(Mode::Shared, !take_shared);
                // Asking again at once would fail again: the stronger lock stays until the next release.
                server.downgrade_refused = true;
            }
        }
        self.advance(key, now);
    }

    pub(super) fn probed(&mut self, key: Key, contended: bool, now: Ticks) {
        let Some(key) = self.keys.find(key) else { return };
        let state = &mut self.keys[key];
        if !state.probing {
            return;
        }
        state.probing = false;
        state.draining = contended;
        state.since = now;
        if contended {
            self.suspect_holders(key, now);
        }
        self.advance(key, now);
    }

    pub(super) fn session_lost(&mut self, session: SessionId, now: Ticks) {
        let keys: Vec<Place> = self.keys.on(session).collect();
        for key in keys {
            let state = &mut self.keys[key];
            state.server = None;
            state.probing = false;
            state.draining = false;
            if matches!(state.phase, Phase::Downgrading { .. }) {
                state.phase = Phase::Idle;
            }
            let holds: Vec<Place> = state.users.holds(&self.requests).collect();
            for place in holds {
                self.keys[key].remove_hold(place, &mut self.requests);
                let hold = self.requests.remove(place).id;
                self.fences.remove(&hold);
                self.effects.outcomes.push((hold, Outcome::Lost));
            }
            self.fail_confirmations(key);
            self.advance(key, now);
        }
    }
}
