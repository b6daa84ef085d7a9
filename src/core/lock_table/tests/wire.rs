//! The way from the table to the simulated server and back: what is under way, and what may become of it.

use super::model::Evidence;
use super::world::{World, KEYS, OTHERS};
use crate::core::lock_table::Operation;
use crate::core::{Key, Mode, SessionId};

/// An operation that a session has been given.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub operation: Operation,
    session: SessionId,
    stage: Stage,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Sent,
    Queued,
    Answered(bool),
}

impl World {
    /// Something under way makes a step: the server works on it, or its answer arrives.
    pub fn work(&mut self, index: usize) {
        let count = self.tasks.len() + self.probes.len();
        if count == 0 {
            return;
        }
        let index = index % count;
        match self.tasks.keys().nth(index) {
            Some(&key) => {
                self.step(key);
            }
            None => self.probe(index - self.tasks.len()),
        }
    }

    /// Something under way fails while its session lives on.
    pub fn fail(&mut self, index: usize) {
        if self.tasks.is_empty() {
            return;
        }
        let key = *self.tasks.keys().nth(index % self.tasks.len()).expect("it is in range");
        let task = self.tasks[&key];
        match (task.operation, task.stage) {
            (Operation::Release { exclusive, shared, .. }, Stage::Sent) => {
                self.unlock(task.session, key, exclusive, shared);
                self.set_stage(key, Stage::Answered(false));
            }
            (Operation::Downgrade { .. }, Stage::Sent) => self.set_stage(key, Stage::Answered(false)),
            (Operation::Cycle { exclusive, shared, .. }, Stage::Sent) => {
                self.unlock(task.session, key, exclusive, shared);
                self.report_failure(task, key);
            }
            (_, Stage::Sent) => self.report_failure(task, key),
            (_, Stage::Queued) if self.server.is_waiting(task.session, key) => {
                self.server.cancel(task.session, key);
                self.report_failure(task, key);
            }
            _ => {}
        }
    }

    fn report_failure(&mut self, task: Task, key: Key) {
        self.tasks.remove(&key);
        let mut evidence = Evidence::default();
        self.acquire_failed(task, key, &mut evidence);
        self.follow(evidence);
    }

    fn acquire_failed(&mut self, task: Task, key: Key, evidence: &mut Evidence) {
        // The failure of a wait that is to end may be told either way.
        if task.cancelled && self.number().is_multiple_of(2) {
            self.table.wait_ended(key, self.now);
        } else {
            evidence.failed.insert(key);
            self.table.acquire_failed(key, self.now);
        }
    }

    /// A session breaks. `talkative`: even those operations are reported that need not be.
    pub fn lose_session(&mut self, index: usize, talkative: bool) {
        let index = index % self.sessions.len();
        let fresh = SessionId(self.sessions.iter().map(|session| session.0).max().unwrap_or(0) + 1);
        let session = std::mem::replace(&mut self.sessions[index], fresh);
        assert!(session.0 < OTHERS);
        let mut evidence = Evidence::default();
        for (request, key) in self.model.live() {
            if self.table.home(key) == Some(session) {
                evidence.broken.insert(key);
                if self.model.is_held(request, &self.table) {
                    evidence.lost.insert(request);
                }
            }
        }
        evidence.broken.extend(KEYS.iter().filter(|key| self.table.home(**key) == Some(session)));
        self.server.end(session);
        self.table.session_lost(session, self.now);
        let lost: Vec<(Key, Task)> =
            self.tasks.iter().filter(|(_, task)| task.session == session).map(|(&key, &task)| (key, task)).collect();
        for (key, task) in lost {
            self.tasks.remove(&key);
            match task.operation {
                Operation::Release { .. } => {
                    evidence.broken.insert(key);
                    self.table.released(key, false, self.now);
                }
                Operation::Downgrade { .. } if talkative => self.table.downgraded(key, false, self.now),
                Operation::Downgrade { .. } => {}
                _ => self.acquire_failed(task, key, &mut evidence),
            }
        }
        let probes = std::mem::take(&mut self.probes);
        let (gone, kept) = probes.into_iter().partition(|probe| probe.1 == session);
        self.probes = kept;
        for (key, _) in gone {
            if talkative {
                self.table.probed(key, false, self.now);
            }
        }
        self.follow(evidence);
    }

    /// Gives the new operations to sessions and the new answers to the model, then looks whether all is well.
    pub fn follow(&mut self, mut evidence: Evidence) {
        loop {
            let mut operations = std::mem::take(&mut self.table.effects().operations);
            if operations.is_empty() {
                break;
            }
            // The order between keys is that of a hash map, which would make failures hard to repeat.
            operations.sort_by_key(|operation| key_of(*operation));
            for operation in operations {
                self.start(operation, &mut evidence);
            }
        }
        for (request, outcome) in std::mem::take(&mut self.table.effects().outcomes) {
            self.model.answered(request, outcome, &evidence, &self.table);
        }
        assert!(!evidence.lost.iter().any(|&hold| self.model.is_held(hold, &self.table)), "a loss is not told");
        self.check();
    }

    fn start(&mut self, operation: Operation, evidence: &mut Evidence) {
        let key = key_of(operation);
        let locked = self.ours(key).map(|(session, _)| session).next();
        let session = match operation {
            Operation::Probe { home, .. } => {
                assert_eq!(locked, Some(home), "a probe that asks elsewhere");
                return self.probes.push((key, home));
            }
            Operation::CancelWait { .. } => {
                let task = self.tasks.get_mut(&key).expect("no wait to be ended");
                assert!(
                    matches!(task.operation, Operation::Wait { .. }) && !task.cancelled,
                    "not to be ended: {task:?}"
                );
                task.cancelled = true;
                return;
            }
            Operation::Try { home, .. } | Operation::Wait { home, .. } => {
                assert_eq!(locked, home, "the key is on another session");
                home.unwrap_or_else(|| self.any_session())
            }
            Operation::Release { home, exclusive, shared, .. } | Operation::Cycle { home, exclusive, shared, .. } => {
                assert_eq!(exclusive, self.server.holds(home, key, Mode::Exclusive), "held exclusively or not");
                assert_eq!(shared, self.server.holds(home, key, Mode::Shared), "held shared or not");
                home
            }
            Operation::Downgrade { home, take_shared, .. } => {
                assert!(self.server.holds(home, key, Mode::Exclusive));
                assert_ne!(take_shared, self.server.holds(home, key, Mode::Shared), "held shared or not");
                home
            }
        };
        assert!(self.sessions.contains(&session), "{session:?} is gone");
        assert!(!self.tasks.contains_key(&key), "{operation:?} during {:?}", self.tasks[&key]);
        match operation {
            Operation::Try { patient: true, home: None, .. } if self.foresight => {}
            Operation::Cycle { patient: true, exclusive, shared, .. } if self.foresight => {
                self.unlock(session, key, exclusive, shared);
            }
            _ => {
                self.tasks.insert(key, Task { operation, session, stage: Stage::Sent, cancelled: false });
                return;
            }
        }
        evidence.denied.insert(key);
        self.table.denied(key, self.now);
    }

    fn any_session(&mut self) -> SessionId {
        let turn = usize::try_from(self.number()).expect("it is small");
        self.sessions[turn % self.sessions.len()]
    }

    fn unlock(&mut self, session: SessionId, key: Key, exclusive: bool, shared: bool) {
        assert!(!exclusive || self.server.unlock(session, key, Mode::Exclusive));
        assert!(!shared || self.server.unlock(session, key, Mode::Shared));
    }

    fn set_stage(&mut self, key: Key, stage: Stage) {
        self.tasks.get_mut(&key).expect("it is under way").stage = stage;
    }

    /// One step of what is under way for the key; whether there was one to make.
    pub fn step(&mut self, key: Key) -> bool {
        let Some(&Task { operation, session, stage, cancelled }) = self.tasks.get(&key) else { return false };
        let stage = match (stage, operation) {
            (Stage::Answered(answer), _) => {
                self.tasks.remove(&key);
                self.report(key, session, operation, answer);
                return true;
            }
            (Stage::Queued, _) if !self.server.is_waiting(session, key) => Stage::Answered(true),
            (Stage::Queued, _) if cancelled => {
                self.server.cancel(session, key);
                Stage::Answered(false)
            }
            (Stage::Queued, _) => return false,
            (Stage::Sent, Operation::Try { mode, .. }) => Stage::Answered(self.server.try_lock(session, key, mode)),
            (Stage::Sent, Operation::Wait { .. }) if cancelled => Stage::Answered(false),
            (Stage::Sent, Operation::Wait { mode, .. }) => {
                if self.server.lock(session, key, mode) {
                    Stage::Answered(true)
                } else {
                    Stage::Queued
                }
            }
            (Stage::Sent, Operation::Release { exclusive, shared, .. }) => {
                self.unlock(session, key, exclusive, shared);
                Stage::Answered(true)
            }
            (Stage::Sent, Operation::Cycle { exclusive, shared, mode, .. }) => {
                self.unlock(session, key, exclusive, shared);
                Stage::Answered(self.server.try_lock(session, key, mode))
            }
            (Stage::Sent, Operation::Downgrade { take_shared, .. }) => {
                // Never queues, since the exclusive lock keeps everybody else off.
                assert!(!take_shared || self.server.lock(session, key, Mode::Shared));
                assert!(self.server.unlock(session, key, Mode::Exclusive));
                Stage::Answered(true)
            }
            (Stage::Sent, Operation::CancelWait { .. } | Operation::Probe { .. }) => unreachable!("no task of its own"),
        };
        self.set_stage(key, stage);
        true
    }

    fn report(&mut self, key: Key, session: SessionId, operation: Operation, answer: bool) {
        let mut evidence = Evidence::default();
        let now = self.now;
        match operation {
            Operation::Try { .. } | Operation::Wait { .. } | Operation::Cycle { .. } if answer => {
                self.model.turn_begins(key, false);
                self.table.acquired(key, session, now);
            }
            Operation::Try { .. } | Operation::Cycle { .. } => {
                evidence.denied.insert(key);
                self.table.denied(key, now);
            }
            Operation::Wait { .. } => self.table.wait_ended(key, now),
            Operation::Release { .. } => {
                if !answer {
                    evidence.broken.insert(key);
                }
                self.table.released(key, answer, now);
            }
            Operation::Downgrade { .. } => self.table.downgraded(key, answer, now),
            Operation::CancelWait { .. } | Operation::Probe { .. } => unreachable!("no task of its own"),
        }
        self.follow(evidence);
    }

    pub fn probe(&mut self, index: usize) {
        let (key, _) = self.probes.remove(index);
        let contended = self.server.is_contended(key);
        // The table does not care for the answer once the key has been given up.
        if self.table.keys.get(&key).is_some_and(|state| state.probing) {
            self.model.turn_begins(key, contended);
        }
        self.table.probed(key, contended, self.now);
        self.follow(Evidence::default());
    }
}

fn key_of(operation: Operation) -> Key {
    match operation {
        Operation::Try { key, .. }
        | Operation::Wait { key, .. }
        | Operation::CancelWait { key }
        | Operation::Release { key, .. }
        | Operation::Cycle { key, .. }
        | Operation::Downgrade { key, .. }
        | Operation::Probe { key, .. } => key,
    }
}
