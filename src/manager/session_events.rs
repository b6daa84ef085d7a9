//! What the tasks on the I/O thread ask of the manager, and what they report: what a session is to do next, and how it went.

use super::backoff::random_between;
use super::handle::Manager;
use super::job::Query;
use super::mailbox::Answer;
use super::publication;
use super::slot::Slot;
use super::slots::SessionSlot;
use super::wait::Wait;
use crate::core::{Key, RequestId, Salvaged, SessionId, Step};
use crate::error::Error;
use crate::pg::{Answered, Claim, Fenced, Findings, HeldNames, Inquiry, Turn, Wire};
use std::sync::Arc;
use std::time::Duration;

/// How soon a session that is being used is looked after again: batches that have queued up behind a JavaScript thread which
/// has no time to send them, answers that are late.
const WATCH: Duration = Duration::from_millis(10);

/// How long a wait stays in the server's queue at a stretch. A wait holds a snapshot, which `VACUUM` and
/// `CREATE INDEX CONCURRENTLY` must wait for, so it may not last. It ends before `deadlock_timeout` (1 s by default): the
/// server's own check, which stops its whole lock table, would not see the sessions of one process as one, and is done by
/// [`super::deadlocks`]. Not all for as long: where waits that have begun together end their turns together as well, whoever comes
/// then and finds no session free waits for a whole turn.
const SHORTEST_TURN: Duration = Duration::from_millis(800);
const TURN: Duration = Duration::from_millis(900);
/// The same where more waits than sessions take turns: this part of a wait's age, but at least so long. Each turn costs the
/// server about a millisecond, and who has waited for long can wait for its next turn a little longer.
const SHARED_TURN_PART_OF_AGE: u32 = 32;
const SHORTEST_SHARED_TURN: Duration = Duration::from_millis(150);

/// What a session is to do next.
pub(super) enum Work {
    /// Ask the server.
    Query(Query),
    /// Find out what failed batches have done, which were of these steps.
    Salvage(Vec<Vec<Step>>),
    Wait(Wait),
    /// Ask for a sign of life, and say what is held.
    Heartbeat(Option<HeldNames>),
    /// Nothing until something changes, or this has passed.
    Idle(Duration),
    /// The session cannot be trusted any more.
    Lose(Error),
    /// Close the session.
    Close(Closing),
    /// The session has been found lost by somebody else.
    Gone,
}

/// A session that is closing: those who wait for it to be gone are told when this is dropped, however that comes
/// about.
pub(super) struct Closing(Arc<Manager>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.change(None, |state| state.sessions.closed());
    }
}

impl Manager {
    pub(super) fn opened(&self, id: SessionId, wire: &Arc<Wire>, is_probed: bool) {
        self.change(None, |state| state.sessions.opened(id, wire, is_probed, &state.table));
    }

    pub(super) fn open_failed(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| state.sessions.open_failed(id, cause, &state.table));
    }

    /// What has become of batches.
    pub(super) fn answered(&self, id: SessionId, answered: Vec<Answered>) {
        self.change(None, |state| state.sessions.answered(id, answered));
    }

    pub(super) fn suspects_pooler(&self) -> bool {
        self.lock().sessions.suspects_pooler
    }

    pub(super) fn is_room_to_come(&self) -> bool {
        self.lock().sessions.is_room_to_come()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        !self.lock().clients.has_owners()
    }

    pub(super) fn next_work(self: &Arc<Self>, id: SessionId) -> Work {
        self.change(None, |state| loop {
            let is_needed = state.sessions.is_needed_for_waits(id) || state.deadlocks.are_published_on(id);
            let holds = state.table.key_count_on(id) > 0;
            let has_owners = state.clients.has_owners();
            let idle_timeout = if has_owners { self.settings.idle_timeout } else { Duration::ZERO };
            let Some(slot) = state.sessions.slots.get_mut(id) else { return Work::Gone };
            slot.send();
            if let Some(cause) = slot.fatal_cause() {
                return Work::Lose(cause);
            }
            if let Some(steps) = slot.begin_salvage() {
                return Work::Salvage(steps);
            }
            if let Some(query) = slot.begin_query() {
                return Work::Query(query);
            }
            match slot.wait {
                Some(wait) if wait.is_cancelled => {
                    state.sessions.end_cancelled_wait(id, &state.table);
                    state.dispatch_operations();
                    continue;
                }
                // Not before all that was sent is answered: what cancels the wait must not cancel a release, and what is
                // found to be held after that must not be the wait's.
                Some(wait) if !slot.is_busy() && slot.pause().is_zero() => {
                    slot.is_waiting = true;
                    return Work::Wait(wait);
                }
                _ => {}
            }
            if state.sessions.relieve_by(id) {
                continue;
            }
            let Some(slot) = state.sessions.slots.get_mut(id) else { return Work::Gone };
            let heartbeat = self.settings.timing.heartbeat();
            let publication_due = if self.settings.publish_names && holds {
                publication::time_until_due(slot, heartbeat)
            } else {
                Duration::MAX
            };
            if publication_due.is_zero() {
                if let held @ Some(_) = state.held_names(id) {
                    return Work::Heartbeat(held);
                }
                continue;
            }
            if slot.is_busy() || (has_owners && slot.was_busy()) {
                return Work::Idle(WATCH);
            }
            if holds {
                let due = heartbeat.saturating_sub(slot.age_of_proof());
                let pause = slot.wait.map_or(due, |_| slot.pause()).min(publication_due);
                return if due.is_zero() { Work::Heartbeat(state.held_names(id)) } else { Work::Idle(due.min(pause)) };
            }
            if slot.wait.is_some() {
                return Work::Idle(slot.pause());
            }
            if state.sessions.find_wait_for(id, &state.table) {
                continue;
            }
            let Some(slot) = state.sessions.slots.get(id) else { return Work::Gone };
            if is_needed && has_owners {
                return Work::Idle(heartbeat);
            }
            let idle = slot.idle_since.elapsed();
            if idle < idle_timeout {
                return Work::Idle(idle_timeout - idle);
            }
            state.sessions.close(id);
            return Work::Close(Closing(Arc::clone(self)));
        })
        .answer
    }

    /// Answers whoever has the ticket of a query; [`Manager::query_done`] must follow.
    pub(super) fn answer(&self, ticket: RequestId, answer: Answer) {
        self.change(None, |state| state.clients.post(ticket, answer));
    }

    pub(super) fn query_done(&self, id: SessionId, result: Result<bool, Error>) {
        self.change(None, |state| state.sessions.query_done(id, result));
    }

    pub(super) fn salvaged(&self, id: SessionId, salvaged: Vec<Vec<Salvaged>>) {
        self.change(None, |state| state.sessions.salvaged(id, salvaged));
    }

    /// How long a turn in the server's queue may take on a session for a wait of this age: less where other waits need the session.
    /// And what it claims there.
    pub(super) fn turn_of(&self, id: SessionId, key: Key, age: Duration) -> (Duration, Claim) {
        let state = self.lock();
        let limit = if state.sessions.waits.lack_sessions() {
            (age / SHARED_TURN_PART_OF_AGE).clamp(SHORTEST_SHARED_TURN, TURN)
        } else {
            random_between(SHORTEST_TURN, TURN)
        };
        let is_upgrade = state.table.home(key) == Some(id);
        (limit, if is_upgrade { Claim::Upgrade } else { Claim::Place(age) })
    }

    /// Whether a wait under way must be cut short.
    pub(super) fn must_interrupt(&self, id: SessionId) -> bool {
        self.lock().sessions.slots.get(id).is_some_and(Slot::must_interrupt)
    }

    pub(super) fn turn_over(&self, id: SessionId, turn: Turn) {
        self.change(None, |state| state.sessions.turn_over(id, turn, &state.table));
    }

    pub(super) fn turn_failed(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| state.sessions.turn_failed(id, cause, &state.table));
    }

    pub(super) fn lost(&self, id: SessionId, cause: &Error) {
        self.change(None, |state| match &mut state.pooled {
            Some(pooled) => pooled.lost(id, cause),
            None => state.sessions.lost(id, cause, &state.table),
        });
    }

    pub(super) fn next_inquiry(&self, id: SessionId) -> Inquiry {
        let mut state = self.lock();
        Inquiry { held: state.held_names(id), ..state.deadlocks.take_inquiry() }
    }

    /// The session has taken a key of its own for a hold; [`Manager::query_done`] must follow.
    pub(super) fn fenced(&self, id: SessionId, hold: RequestId, ticket: RequestId, fenced: Fenced) {
        self.change(None, |state| state.fenced(id, hold, ticket, fenced));
    }

    pub(super) fn inquired(&self, id: SessionId, findings: Findings) {
        self.change(None, |state| state.inquired(id, findings));
    }

    pub(super) fn poll_round(&self) -> Option<Duration> {
        self.change(None, |state| state.sessions.poll_round(&state.table)).answer
    }
}
