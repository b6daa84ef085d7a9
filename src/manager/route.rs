//! Which session does what: from the lock table's operations to the sessions' work and back to the table's events.

use super::mailbox::{Answer, ClientId};
use super::slot::{Failed, Job, Slot, Wait};
use super::state::State;
use crate::core::lock_table::Operation;
use crate::core::{Key, Mode, RequestId, Salvaged, SessionId, Step};
use crate::error::Error;
use crate::pg::{Answered, Fault, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A session that holds more keys than this slows down everybody on it, as PostgreSQL walks all locks of a session at
/// each transaction end: new tries go to another one.
const MOST_KEYS_ON_A_SESSION: usize = 640;
/// But keys that are asked for all at once cost little more on one session than on several, and less than to open these.
const MOST_KEYS_AT_ONCE: usize = 2560;
/// Beyond so many sessions for tries and holds, the least loaded one takes more.
const MOST_MAIN_SESSIONS: usize = 20;
/// How long a key that was found taken elsewhere goes to a wait session directly, as its first try would fail.
const CONTENDED_FOR: Duration = Duration::from_millis(500);

impl State {
    pub(super) fn route(&mut self, operation: Operation) {
        match operation {
            Operation::Do { step, home: Some(home), patient } => self.route_step(step, home, patient),
            Operation::Do { step: Step::Try { key, mode }, home: None, patient } => self.route_try(key, mode, patient),
            Operation::Do { step, home: None, .. } => unreachable!("BUG: no session for {step:?}"),
            Operation::Wait { key, mode, home: None } => self.route_wait(Wait::new(key, mode, Instant::now())),
            Operation::Wait { key, mode, home: Some(home) } => match self.slots.get_mut(&home) {
                Some(slot) if slot.role == Role::Wait && slot.wait.is_none() => {
                    slot.begin_wait(Wait::new(key, mode, Instant::now()));
                }
                _ => self.retry_later(Wait::new(key, mode, Instant::now()), Some(home)),
            },
            Operation::CancelWait { key } => self.cancel_wait(key),
            Operation::Probe { key, home } => self.push_or_fail(home, Job::Probe { key }),
            Operation::EndFence { key, own_key, home } => self.end_fence(key, own_key, home),
        }
    }

    fn route_step(&mut self, step: Step, home: SessionId, patient: bool) {
        match step {
            Step::Try { .. } | Step::Downgrade { .. } => self.push_or_fail(home, Job::Step(step)),
            Step::Release { .. } => {
                self.unload(home);
                self.push_or_fail(home, Job::Step(step));
                self.find_wait_for(home);
            }
            Step::Requeue { key, held, .. } => {
                self.unload(home);
                if patient && self.slots.get(&home).is_some_and(|slot| slot.role == Role::Wait) {
                    // Behind whoever waits on the server, in the server's own queue.
                    self.push_or_fail(home, Job::SilentRelease { key, held });
                    self.update_table(None, |table, now| table.denied(key, now));
                } else {
                    self.push_or_fail(home, Job::Step(step));
                }
            }
        }
    }

    fn route_try(&mut self, key: Key, mode: Mode, patient: bool) {
        if patient && self.was_contended(key) && self.can_wait() {
            self.update_table(None, |table, now| table.denied(key, now));
            return;
        }
        let main = self.main_session();
        self.push_or_fail(main, Job::Step(Step::Try { key, mode }));
    }

    fn route_wait(&mut self, wait: Wait) {
        let free = self.slots.iter().find(|(_, slot)| slot.is_free_to_wait()).map(|(&id, _)| id);
        let session = match free {
            Some(session) => session,
            None if self.may_open_wait_session() => self.begin_session(Role::Wait),
            None => return self.retry_later(wait, None),
        };
        let slot = self.slots.get_mut(&session).expect("BUG: the slot was there a moment ago");
        slot.begin_wait(wait);
    }

    /// Ends a wait wherever it is.
    pub(super) fn cancel_wait(&mut self, key: Key) {
        if let Some(retry) = self.retries.get_mut(key) {
            if retry.under_way {
                retry.cancelled = true;
            } else {
                self.retries.remove(key);
                self.update_table(None, |table, now| table.wait_ended(key, now));
            }
            return;
        }
        let waiting = self.slots.iter_mut().find_map(|(&id, slot)| {
            let wait = slot.wait.as_mut().filter(|wait| wait.key == key)?;
            wait.cancelled = true;
            slot.changed.notify_one();
            Some((id, slot.is_open()))
        });
        if let Some((session, false)) = waiting {
            self.end_cancelled_wait(session);
        }
    }

    /// The wait of this session is cancelled and nothing of it is on the server.
    pub(super) fn end_cancelled_wait(&mut self, session: SessionId) {
        let wait = self.slots.get_mut(&session).and_then(|slot| slot.wait.take());
        if let Some(Wait { key, .. }) = wait {
            self.update_table(None, |table, now| table.wait_ended(key, now));
        }
        self.find_wait_for(session);
    }

    pub(super) fn retry_later(&mut self, wait: Wait, home: Option<SessionId>) {
        self.retries.add(wait.key, wait.mode, home, wait.since);
        if !self.retries.ticking {
            self.retries.ticking = true;
            self.start_retrying = true;
        }
    }

    /// Tries the waits that are due; how long to pause, or `None` where none is left.
    pub(super) fn retry_round(&mut self) -> Option<Duration> {
        while self.may_open_wait_session() {
            let Some(wait) = self.retries.take_oldest() else { break };
            self.route_wait(wait);
        }
        if self.retries.is_empty() {
            self.retries.ticking = false;
            return None;
        }
        let now = Instant::now();
        let due = self.retries.due(now);
        let tried = due.len();
        for (key, mode, home) in due {
            match home {
                Some(home) => self.push_or_fail(home, Job::BriefWait { key, mode }),
                None => {
                    let main = self.main_session();
                    self.push_or_fail(main, Job::Retry { key, mode });
                }
            }
        }
        Some(self.retries.pause(tried, now))
    }

    /// Gives a session without work the oldest wait that has none.
    pub(super) fn find_wait_for(&mut self, session: SessionId) {
        if !self.slots.get(&session).is_some_and(Slot::is_free_to_wait) {
            return;
        }
        if let Some(wait) = self.retries.take_oldest() {
            if let Some(slot) = self.slots.get_mut(&session) {
                slot.begin_wait(wait);
            }
        }
    }

    /// A turn has brought nothing. Another wait has the next one, if there is one without a session.
    pub(super) fn turn_was_in_vain(&mut self, session: SessionId, has_place: bool) {
        let can_move = self.retries.has_movable();
        let Some(slot) = self.slots.get_mut(&session) else { return };
        let Some(wait) = slot.wait.as_mut().filter(|wait| !wait.cancelled) else { return };
        wait.lacks_place = !has_place;
        let wait = *wait;
        // An upgrade waits where its key is held.
        if can_move && slot.held == 0 {
            slot.wait = None;
            self.find_wait_for(session);
            self.retry_later(wait, None);
        } else if !has_place {
            let now = Instant::now();
            slot.asks_again = Some(now + wait.pause(now));
        }
    }

    pub(super) fn ask_for_holders(&mut self, key: Key, ticket: RequestId) {
        if let Some(pooled) = &mut self.pooled {
            return pooled.ask_for_holders(key, ticket);
        }
        let main = self.main_session();
        self.push_or_fail(main, Job::Holders { key, ticket });
    }

    /// Asks the session that holds for a sign of life; whether there is such a hold.
    pub(super) fn verify(&mut self, hold: RequestId, ticket: RequestId) -> bool {
        let home = self.table.home_of(hold);
        if let (Some(home), Some(pooled)) = (home, &mut self.pooled) {
            pooled.verify(home, ticket);
        } else if let Some(home) = home {
            self.push_or_fail(home, Job::Verify { ticket });
        }
        home.is_some()
    }

    /// Reports the result of a job that was done.
    pub(super) fn job_done(&mut self, session: SessionId, job: Job, result: Result<bool, Error>) {
        if let Some(slot) = self.slots.get_mut(&session) {
            slot.done(job);
        }
        let result = match result {
            Ok(result) => result,
            Err(cause) => return self.job_failed(job, &cause),
        };
        match job {
            Job::Step(Step::Try { key, .. } | Step::Requeue { key, .. }) => {
                if result {
                    self.acquired(key, session);
                } else {
                    self.note_contended(key);
                    self.update_table(None, |table, now| table.denied(key, now));
                }
            }
            Job::Step(Step::Release { key, .. }) => {
                let cause = Error::new("ERR_LOCK_LOST", "the server knows of no such lock of this session");
                self.update_table(Some(&cause), |table, now| table.released(key, result, now));
            }
            Job::Step(Step::Downgrade { key, .. }) => {
                self.update_table(None, |table, now| table.downgraded(key, true, now));
            }
            Job::Retry { key, .. } | Job::BriefWait { key, .. } => self.retried(key, session, result),
            // What is answered with more than a yes or no is answered by the session's task.
            Job::SilentRelease { .. } | Job::Holders { .. } | Job::Verify { .. } | Job::Fence { .. } | Job::Inquire => {
            }
            Job::EndFence { key, .. } => self.fence_ended(key),
            Job::Probe { key } => self.update_table(None, |table, now| table.probed(key, result, now)),
        }
    }

    /// Reports what has become of the jobs of failed batches.
    pub(super) fn salvaged(&mut self, session: SessionId, failed: Vec<Failed>, salvaged: Vec<Vec<Salvaged>>) {
        for (Failed { jobs, cause }, salvaged) in failed.into_iter().zip(salvaged) {
            for (job, salvaged) in jobs.into_iter().zip(salvaged) {
                match salvaged {
                    Salvaged::Done(answer) => self.job_done(session, job, Ok(answer)),
                    Salvaged::Failed => self.job_done(session, job, Err(cause.clone())),
                    Salvaged::Again(step) => match self.slots.get_mut(&session) {
                        Some(slot) => slot.push_again(job, step),
                        None => self.job_failed(job, &cause),
                    },
                }
            }
        }
        if self.slots.get(&session).is_some_and(Slot::has_steps) && !self.unsent.contains(&session) {
            self.unsent.push(session);
        }
    }

    fn retried(&mut self, key: Key, session: SessionId, acquired: bool) {
        if acquired {
            self.retries.remove(key);
            self.acquired(key, session);
            return;
        }
        if let Some(retry) = self.retries.get_mut(key) {
            retry.under_way = false;
            if retry.cancelled {
                self.cancel_wait(key);
            }
        }
    }

    /// Reports a job that was not done, or of which nobody knows.
    pub(super) fn job_failed(&mut self, job: Job, cause: &Error) {
        match job {
            Job::Step(Step::Try { key, .. } | Step::Requeue { key, .. }) => self.acquire_failed(key, cause),
            Job::Step(Step::Release { key, .. }) => {
                self.update_table(Some(cause), |table, now| table.released(key, false, now));
            }
            Job::Step(Step::Downgrade { key, .. }) => {
                self.update_table(None, |table, now| table.downgraded(key, false, now));
            }
            Job::Retry { key, mode } | Job::BriefWait { key, mode } => {
                let cancelled = self.retries.remove(key).is_some_and(|retry| retry.cancelled);
                self.wait_failed(Wait { cancelled, ..Wait::new(key, mode, Instant::now()) }, cause);
            }
            Job::SilentRelease { .. } => {}
            Job::EndFence { key, .. } => self.fence_ended(key),
            Job::Inquire => self.rings.inquiry_failed(),
            Job::Probe { key } => self.update_table(None, |table, now| table.probed(key, false, now)),
            Job::Holders { ticket, .. } | Job::Verify { ticket } | Job::Fence { ticket, .. } => {
                self.post(ticket, Answer::Failed(cause.clone()));
            }
        }
    }

    pub(super) fn push_or_fail(&mut self, session: SessionId, job: Job) {
        match self.slots.get_mut(&session) {
            Some(slot) => {
                if slot.push(job) && !self.unsent.contains(&session) {
                    self.unsent.push(session);
                }
            }
            None => self.job_failed(job, &Error::new("ECONNRESET", "the session is gone")),
        }
    }

    /// Sends the steps of each listed session; keeps in the list those that still have some.
    pub(super) fn send(&mut self, caller: Option<ClientId>, send: impl Fn(&mut Slot)) {
        let (slots, to_attend) = (&mut self.slots, &mut self.to_attend);
        self.unsent.retain(|id| {
            let Some(slot) = slots.get_mut(id) else { return false };
            slot.watch();
            send(slot);
            if let (Some(caller), Some(wire)) = (caller, &slot.wire) {
                if wire.wants_attendance(caller) {
                    *to_attend = Some((*id, Arc::clone(wire)));
                }
            }
            slot.has_steps()
        });
    }

    /// Reports what has become of batches.
    pub(super) fn answered(&mut self, session: SessionId, answered: Vec<Answered>) {
        for Answered { batch, answers } in answered {
            let Some(slot) = self.slots.get_mut(&session) else { return };
            let Some(jobs) = slot.take_batch(batch) else { continue };
            match answers {
                Ok(answers) => {
                    for (job, answer) in jobs.into_iter().zip(answers) {
                        self.job_done(session, job, Ok(answer));
                    }
                }
                Err(Fault::Statement(cause)) => {
                    slot.failed.push(Failed { jobs, cause });
                    slot.changed.notify_one();
                }
                Err(Fault::Lost(cause)) => {
                    slot.fatal = Some(Failed { jobs, cause });
                    slot.changed.notify_one();
                }
            }
        }
        let Some(slot) = self.slots.get(&session) else { return };
        if slot.wait.is_some() && !slot.is_busy() {
            slot.changed.notify_one();
        }
        if slot.has_steps() && !self.unsent.contains(&session) {
            self.unsent.push(session);
        }
    }

    fn unload(&mut self, session: SessionId) {
        if let Some(slot) = self.slots.get_mut(&session) {
            slot.held -= 1;
        }
    }

    /// The session for new tries: one that is not too full, newly begun if need be.
    pub(super) fn main_session(&mut self) -> SessionId {
        let has_room = |id: &SessionId| {
            self.slots.get(id).is_some_and(|slot| slot.held < MOST_KEYS_ON_A_SESSION && slot.load() < MOST_KEYS_AT_ONCE)
        };
        if let Some(main) = self.main.filter(has_room) {
            return main;
        }
        let mains = self.slots.iter().filter(|(_, slot)| slot.role == Role::Main);
        let least = mains.clone().min_by_key(|(_, slot)| slot.load());
        let main = match least {
            Some((&id, slot)) if slot.load() < MOST_KEYS_ON_A_SESSION / 2 || mains.count() >= MOST_MAIN_SESSIONS => id,
            _ => self.begin_session(Role::Main),
        };
        self.main = Some(main);
        main
    }

    fn can_wait(&self) -> bool {
        self.slots.values().any(Slot::is_free_to_wait) || self.may_open_wait_session()
    }

    fn may_open_wait_session(&self) -> bool {
        let waiting = self.slots.values().filter(|slot| slot.role == Role::Wait).count();
        waiting < self.settings.max_wait_connections
            && self.wait_sessions_paused.is_none_or(|until| until <= Instant::now())
    }

    fn was_contended(&self, key: Key) -> bool {
        self.contended.get(&key).is_some_and(|when| when.elapsed() < CONTENDED_FOR)
    }

    fn note_contended(&mut self, key: Key) {
        let now = Instant::now();
        // Looked through once in that time at most, however many there are.
        if self.contended.len() >= 1000 && now.saturating_duration_since(self.contended_pruned) >= CONTENDED_FOR {
            self.contended.retain(|_, when| now.saturating_duration_since(*when) < CONTENDED_FOR);
            self.contended_pruned = now;
        }
        self.contended.insert(key, now);
    }
}
