//! Which session does what: from the lock table's operations to the sessions' work, and from what comes of it to reports.

use super::job::{Job, Purpose, Query};
use super::polls::Due;
use super::report::Report;
use super::sessions::{gone, Sessions};
use super::slot::{Failed, Slot};
use super::wait::Wait;
use crate::core::lock_table::{Event, LockTable, Operation};
use crate::core::{Key, Mode, Modes, RequestId, Salvaged, SessionId, Step};
use crate::error::Error;
use crate::pg::{Answered, Fault, Role, Turn};
use std::time::{Duration, Instant};

impl Sessions {
    pub fn route(&mut self, operation: Operation, table: &LockTable) {
        match operation {
            Operation::Do { step, home: Some(home), patient } => self.route_step(step, home, patient, table),
            Operation::Do { step: Step::Try { key, mode }, home: None, patient } => {
                self.route_try(key, mode, patient, table);
            }
            Operation::Do { step, home: None, .. } => unreachable!("BUG: no session for {step:?}"),
            Operation::Wait { key, mode, home } => {
                self.route_wait(Wait::new(key, mode, Instant::now()), home, table);
            }
            Operation::CancelWait { key } => {
                if self.waits.cancel(key, &mut self.slots) {
                    self.report(Event::WaitEnded { key }, None);
                }
            }
            Operation::Probe { key, home } => self.push_query(home, Query::Probe { key }),
            Operation::EndFence { key, own_key, home } => self.end_fence(key, own_key, home),
        }
    }

    /// Gives up the key that a hold of this key had to itself.
    pub fn end_fence(&mut self, of: Key, own_key: Key, home: SessionId) {
        let step = Step::Release { key: own_key, held: Modes::only(Mode::Exclusive) };
        self.push(home, Job { step, purpose: Purpose::Fence { of } });
    }

    fn route_step(&mut self, step: Step, home: SessionId, patient: bool, table: &LockTable) {
        match step {
            Step::Try { .. } | Step::Downgrade { .. } => self.push(home, Job::new(step)),
            Step::Release { .. } => {
                self.push(home, Job::new(step));
                self.find_wait_for(home, table);
            }
            Step::Requeue { key, held, .. } => {
                if patient && self.slots.get(home).is_some_and(|slot| slot.role == Role::Wait) {
                    // Behind whoever waits on the server, in the server's own queue, and on this very session.
                    self.given_up.insert(key);
                    self.push(home, Job { step: Step::Release { key, held }, purpose: Purpose::Requeue });
                    self.waits.keep_free(home, &mut self.slots, table);
                    self.report(Event::Denied { key }, None);
                } else {
                    self.push(home, Job::new(step));
                }
            }
        }
    }

    fn route_wait(&mut self, wait: Wait, home: Option<SessionId>, table: &LockTable) {
        match home {
            None if self.give_main_to(wait, table) => {}
            None => self.waits.begin(wait, &mut self.slots),
            Some(home) => match self.slots.get(home) {
                Some(slot) if slot.role == Role::Wait && slot.wait.is_none() => {
                    self.waits.assign(home, wait, &mut self.slots)
                }
                // In the queue it would hold up everybody else on the session.
                Some(_) => self.waits.poll(wait, Some(home), &mut self.slots),
                None => self.reports.push_failed_wait(wait, &gone()),
            },
        }
    }

    fn route_try(&mut self, key: Key, mode: Mode, patient: bool, table: &LockTable) {
        if patient && self.waits.has_free() && self.contended.contains(key, Instant::now()) {
            return self.report(Event::Denied { key }, None);
        }
        match self.main_session(table) {
            Ok(main) => self.push(main, Job::new(Step::Try { key, mode })),
            Err(cause) => self.report(Event::AcquireFailed { key }, Some(&cause)),
        }
    }

    pub fn ask_for_holders(&mut self, key: Key, ticket: RequestId, table: &LockTable) {
        let query = Query::Holders { key, ticket };
        match self.main_session(table) {
            Ok(main) => self.push_query(main, query),
            Err(cause) => self.query_failed(query, &cause),
        }
    }

    /// Tries the waits that are due; how long to pause, or `None` where none is left.
    pub fn poll_round(&mut self, table: &LockTable) -> Option<Duration> {
        let now = Instant::now();
        self.waits.use_free(&mut self.slots);
        if !self.give_main_to_polled(table) {
            self.waits.begin_sessions(&mut self.slots, now);
        }
        if self.waits.polls.is_empty() {
            self.waits.polls.is_ticking = false;
            return None;
        }
        let due = self.waits.polls.due(now);
        for &Due { key, mode, home } in &due {
            if self.given_up.contains(&key) {
                self.waits.polls.put_back(key, now);
                continue;
            }
            let movable = if home.is_none() { self.waits.polls.wait(key) } else { None };
            if movable.is_some_and(|wait| self.waits.leave(wait, table, now)) {
                self.waits.polls.remove(key);
                continue;
            }
            match home.map_or_else(|| self.main_session(table), Ok) {
                Ok(session) => self.push(session, Job { step: Step::Try { key, mode }, purpose: Purpose::Poll }),
                // No room, and waits go on in the queues.
                Err(_) => drop(self.waits.polls.put_back(key, now)),
            }
        }
        Some(self.waits.polls.pause(due.len(), now))
    }

    /// Takes note of what has become of batches.
    pub fn answered(&mut self, session: SessionId, answered: Vec<Answered>) {
        for Answered { batch, answers } in answered {
            let Some(slot) = self.slots.get_mut(session) else { return };
            let Some(jobs) = slot.take_batch(batch) else { continue };
            match answers {
                Ok(answers) => {
                    jobs.into_iter().zip(answers).for_each(|(job, answer)| self.job_done(session, job, answer));
                }
                Err(Fault::Statement(cause)) => slot.batch_failed(Failed { jobs, cause }),
                Err(Fault::Lost(cause)) => slot.batch_was_fatal(Failed { jobs, cause }),
            }
        }
        let Some(slot) = self.slots.get(session) else { return };
        if slot.wait.is_some() && !slot.is_busy() {
            slot.changed.notify_one();
        }
        self.list_unsent(session);
    }

    /// Takes note of what has become of the jobs of failed batches.
    pub fn salvaged(&mut self, session: SessionId, salvaged: Vec<Vec<Salvaged>>) {
        let Some(slot) = self.slots.get_mut(session) else { return };
        for (Failed { jobs, cause }, salvaged) in slot.end_salvage().into_iter().zip(salvaged) {
            for (job, salvaged) in jobs.into_iter().zip(salvaged) {
                match salvaged {
                    Salvaged::Done(answer) => self.job_done(session, job, answer),
                    // Somebody has cancelled this attempt, not the wait.
                    Salvaged::Failed if job.purpose == Purpose::Poll && cause.is_cancel() => {
                        self.poll_again(job.step.key(), Instant::now());
                    }
                    Salvaged::Failed => self.job_failed(job, &cause),
                    Salvaged::Again(step) => {
                        if let Some(slot) = self.slots.get_mut(session) {
                            slot.push_again(job, step);
                        }
                    }
                }
            }
        }
        self.list_unsent(session);
    }

    /// Reports what has come of a job that was done.
    fn job_done(&mut self, session: SessionId, job: Job, answer: bool) {
        let key = job.step.key();
        match (job.purpose, job.step) {
            (Purpose::Requeue, _) => drop(self.given_up.remove(&key)),
            (Purpose::Fence { of }, _) => self.reports.push(Report::FenceEnded(of)),
            (Purpose::Poll, _) => self.polled(session, key, answer),
            (_, Step::Try { .. } | Step::Requeue { .. }) if answer => {
                self.report(Event::Acquired { key, home: session }, None);
            }
            (_, Step::Try { .. } | Step::Requeue { .. }) => {
                self.contended.insert(key, Instant::now());
                self.report(Event::Denied { key }, None);
            }
            (_, Step::Release { .. }) => {
                let unknown = || Error::new("ERR_LOCK_LOST", "the server knows of no such lock of this session");
                let cause = if answer { None } else { Some(unknown()) };
                self.report(Event::Released { key, held: answer }, cause.as_ref());
            }
            (_, Step::Downgrade { .. }) => self.report(Event::Downgraded { key, done: true }, None),
        }
    }

    /// Takes note of the answer to the query of the session's task. What is answered by more than yes or no is answered already.
    pub fn query_done(&mut self, session: SessionId, result: Result<bool, Error>) {
        let Some(query) = self.slots.get_mut(session).and_then(Slot::end_query) else { return };
        match (query, result) {
            (query, Err(cause)) => self.query_failed(query, &cause),
            (Query::Probe { key }, Ok(contended)) => self.report(Event::Probed { key, contended }, None),
            (Query::Upgrade { key, .. }, Ok(is_granted)) => self.polled(session, key, is_granted),
            (Query::Holders { .. } | Query::Verify { .. } | Query::Fence { .. } | Query::Inquire, Ok(_)) => {}
        }
    }

    fn polled(&mut self, session: SessionId, key: Key, is_granted: bool) {
        let now = Instant::now();
        if is_granted {
            self.waits.polls.granted(key);
            self.report(Event::Acquired { key, home: session }, None);
        } else if let Some(mode) = self.waits.polls.looks_now(key, now) {
            self.push_query(session, Query::Upgrade { key, mode });
        } else if self.poll_again(key, now) {
            self.waits.use_free(&mut self.slots);
        }
    }

    /// Gives up a wait that was cancelled and is not on the server any more.
    pub fn end_cancelled_wait(&mut self, session: SessionId, table: &LockTable) {
        if let Some(wait) = self.waits.take(session, &mut self.slots) {
            self.report(Event::WaitEnded { key: wait.key }, None);
        }
        self.find_wait_for(session, table);
    }

    /// A turn of waiting in the server's queue is over.
    pub fn turn_over(&mut self, session: SessionId, turn: Turn, table: &LockTable) {
        let Some(slot) = self.slots.get_mut(session) else { return };
        slot.turn_is_over();
        if turn != Turn::Granted {
            self.turn_was_in_vain(session, turn != Turn::NoPlace, table);
        } else if let Some(wait) = self.waits.take(session, &mut self.slots) {
            self.report(Event::Acquired { key: wait.key, home: session }, None);
        }
    }

    /// A turn has brought nothing. Another wait has the next one, if there is one without a session.
    fn turn_was_in_vain(&mut self, session: SessionId, has_place: bool, table: &LockTable) {
        let can_move = self.waits.lack_sessions();
        let Some(slot) = self.slots.get_mut(session) else { return };
        let Some(wait) = slot.wait.as_mut().filter(|wait| !wait.is_cancelled) else { return };
        wait.lacks_place = !has_place;
        let wait = *wait;
        if slot.role == Role::Main {
            return self.poll_wait_of(session, table);
        }
        // An upgrade waits where its key is held.
        let is_movable = table.key_count_on(session) == 0;
        if is_movable && self.waits.leave(wait, table, Instant::now()) {
            self.waits.take(session, &mut self.slots);
            self.find_wait_for(session, table);
        } else if is_movable && can_move {
            self.waits.take(session, &mut self.slots);
            self.find_wait_for(session, table);
            self.waits.poll(wait, None, &mut self.slots);
        } else if !has_place {
            slot.stand_back(wait);
        }
    }

    /// A turn of waiting has failed, and the session lives on.
    pub fn turn_failed(&mut self, session: SessionId, cause: &Error, table: &LockTable) {
        let Some(slot) = self.slots.get_mut(session) else { return };
        slot.turn_is_over();
        if let Some(wait) = self.waits.take(session, &mut self.slots) {
            self.reports.push_failed_wait(wait, cause);
            self.find_wait_for(session, table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::lock_table::Rules;
    use std::thread::sleep;

    const KEY: Key = Key::Pair(1, 2);
    /// Long enough for any wait to be due again.
    const LONG: Duration = Duration::from_millis(400);

    #[test]
    fn a_key_is_not_tried_while_its_release_is_under_way() {
        let mut sessions = Sessions::new(8, false);
        let table = LockTable::new(Rules { tenure: 0, requeues: true });
        let session = sessions.slots.begin(Slot::new(Role::Wait, Instant::now()));
        let held = Modes::only(Mode::Exclusive);
        let step = Step::Requeue { key: KEY, held, mode: Mode::Exclusive };
        sessions.route(Operation::Do { step, home: Some(session), patient: true }, &table);
        // What its owner waits for is polled by the same session, where no other can be had.
        sessions.mains.add(session);
        let now = Instant::now();
        sessions.waits.polls.add(Wait::new(KEY, Mode::Exclusive, now), None, now);
        let tries = |sessions: &mut Sessions| {
            sleep(LONG);
            let _ = sessions.poll_round(&table);
            sessions.slots.get(session).map(Slot::tries)
        };
        assert_eq!(tries(&mut sessions), Some(0));
        let release = Job { step: Step::Release { key: KEY, held }, purpose: Purpose::Requeue };
        sessions.job_done(session, release, true);
        assert_eq!(tries(&mut sessions), Some(1));
    }
}
