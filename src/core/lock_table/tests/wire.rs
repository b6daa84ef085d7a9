//! The way from the table to the simulated server and back: what is under way, and what may become of it.

use super::model::Evidence;
use super::state_of;
use super::task::{Failure, Stage, Task};
use super::world::{World, KEYS, OTHERS};
use crate::core::lock_table::Operation;
use crate::core::{salvage, Key, Mode, Modes, Salvaged, SessionId, Step};

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
    pub fn fail(&mut self, index: usize, failure: Failure) {
        if self.tasks.is_empty() {
            return;
        }
        let key = *self.tasks.keys().nth(index % self.tasks.len()).expect("it is in range");
        let task = self.tasks[&key];
        match (task.operation, task.stage) {
            (Operation::Do { .. }, Stage::Sent) => self.fail_batch(key, task, failure),
            (_, Stage::Sent) => self.report_failure(task, key),
            (_, Stage::Queued) if self.server.is_waiting(task.session, key) => {
                self.server.cancel(task.session, key);
                self.report_failure(task, key);
            }
            _ => {}
        }
    }

    /// The steps that this one is in a batch with are done in part, and what becomes of them is found out.
    fn fail_batch(&mut self, key: Key, task: Task, Failure { rows, in_order }: Failure) {
        let session = task.session;
        let mut steps: Vec<Step> = self
            .tasks
            .iter()
            .filter(|(&other, with)| other == key || (!task.alone && !with.alone && with.session == session))
            .filter_map(|(_, with)| match with {
                Task { operation: Operation::Do { step, .. }, stage: Stage::Sent, .. } => Some(*step),
                _ => None,
            })
            .collect();
        if !in_order {
            steps.reverse();
        }
        let all: Vec<(Key, Row)> = steps.iter().flat_map(|step| rows_of(*step)).collect();
        for &(key, row) in all.iter().take(rows) {
            match row {
                Row::Try(mode) => drop(self.server.try_lock(session, key, mode)),
                Row::LockShared => assert!(self.server.lock(session, key, Mode::Shared)),
                Row::Unlock(mode) => assert!(self.server.unlock(session, key, mode)),
            }
        }
        let (salvaged, left_over) = salvage(&[steps.clone()], |key| self.server.held(session, key));
        for step in left_over {
            let Step::Release { key, held } = step else { panic!("{step:?} gives nothing back") };
            self.unlock(session, key, held);
        }
        for (step, salvaged) in steps.into_iter().zip(salvaged.into_iter().flatten()) {
            let key = step.key();
            match salvaged {
                Salvaged::Done(answer) => self.set_stage(key, Stage::Answered(answer)),
                Salvaged::Failed if step.is_try() => self.report_failure(self.tasks[&key], key),
                Salvaged::Failed => self.set_stage(key, Stage::Answered(false)),
                Salvaged::Again(again) => {
                    let task = self.tasks.get_mut(&key).expect("it is under way");
                    task.alone = true;
                    if let Operation::Do { step, .. } = &mut task.operation {
                        *step = again;
                    }
                }
            }
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
            match step_of(task.operation) {
                Some(Step::Release { .. }) => {
                    evidence.broken.insert(key);
                    self.table.released(key, false, self.now);
                }
                Some(Step::Downgrade { .. }) if talkative => self.table.downgraded(key, false, self.now),
                Some(Step::Downgrade { .. }) => {}
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
            Operation::EndFence { .. } => unreachable!("nobody here asks for a fence"),
            Operation::Wait { home, .. } => {
                assert_eq!(locked, home, "the key is on another session");
                home.unwrap_or_else(|| self.any_session())
            }
            Operation::Do { step, home, .. } => {
                let on_home = |key| self.server.held(home.expect("what is held has a home"), key);
                match step {
                    Step::Try { .. } => assert_eq!(locked, home, "the key is on another session"),
                    Step::Release { held, .. } | Step::Requeue { held, .. } => {
                        assert_eq!(held, on_home(key), "held otherwise");
                    }
                    Step::Downgrade { take_shared, .. } => {
                        assert_eq!(on_home(key), Modes { exclusive: true, shared: !take_shared }, "held otherwise");
                    }
                }
                home.unwrap_or_else(|| self.any_session())
            }
        };
        assert!(self.sessions.contains(&session), "{session:?} is gone");
        assert!(!self.tasks.contains_key(&key), "{operation:?} during {:?}", self.tasks[&key]);
        match operation {
            Operation::Do { step: Step::Try { .. }, home: None, patient: true } if self.foresight => {}
            Operation::Do { step: Step::Requeue { held, .. }, patient: true, .. } if self.foresight => {
                self.unlock(session, key, held);
            }
            _ => {
                let task = Task { operation, session, stage: Stage::Sent, cancelled: false, alone: false };
                self.tasks.insert(key, task);
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

    fn unlock(&mut self, session: SessionId, key: Key, held: Modes) {
        held.iter().for_each(|mode| assert!(self.server.unlock(session, key, mode)));
    }

    fn set_stage(&mut self, key: Key, stage: Stage) {
        self.tasks.get_mut(&key).expect("it is under way").stage = stage;
    }

    /// One step of what is under way for the key; whether there was one to make.
    pub fn step(&mut self, key: Key) -> bool {
        let Some(&Task { operation, session, stage, cancelled, .. }) = self.tasks.get(&key) else { return false };
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
            (Stage::Sent, Operation::Wait { .. }) if cancelled => Stage::Answered(false),
            (Stage::Sent, Operation::Wait { mode, .. }) => {
                if self.server.lock(session, key, mode) {
                    Stage::Answered(true)
                } else {
                    Stage::Queued
                }
            }
            (Stage::Sent, Operation::Do { step, .. }) => Stage::Answered(self.perform(session, step)),
            (Stage::Sent, Operation::CancelWait { .. } | Operation::Probe { .. } | Operation::EndFence { .. }) => {
                unreachable!("no task of its own")
            }
        };
        self.set_stage(key, stage);
        true
    }

    fn perform(&mut self, session: SessionId, step: Step) -> bool {
        let key = step.key();
        match step {
            Step::Try { mode, .. } => self.server.try_lock(session, key, mode),
            Step::Release { held, .. } => {
                self.unlock(session, key, held);
                true
            }
            Step::Requeue { held, mode, .. } => {
                self.unlock(session, key, held);
                self.server.try_lock(session, key, mode)
            }
            Step::Downgrade { take_shared, .. } => {
                // Never queues, since the exclusive lock keeps everybody else off.
                assert!(!take_shared || self.server.lock(session, key, Mode::Shared));
                assert!(self.server.unlock(session, key, Mode::Exclusive));
                true
            }
        }
    }

    fn report(&mut self, key: Key, session: SessionId, operation: Operation, answer: bool) {
        let mut evidence = Evidence::default();
        let now = self.now;
        match (operation, step_of(operation)) {
            (Operation::Wait { .. }, _) | (_, Some(Step::Try { .. } | Step::Requeue { .. })) if answer => {
                self.model.turn_begins(key, false);
                self.table.acquired(key, session, now);
            }
            (Operation::Wait { .. }, _) => self.table.wait_ended(key, now),
            (_, Some(Step::Try { .. } | Step::Requeue { .. })) => {
                evidence.denied.insert(key);
                self.table.denied(key, now);
            }
            (_, Some(Step::Release { .. })) => {
                if !answer {
                    evidence.broken.insert(key);
                }
                self.table.released(key, answer, now);
            }
            (_, Some(Step::Downgrade { .. })) => self.table.downgraded(key, answer, now),
            (_, None) => unreachable!("no task of its own"),
        }
        self.follow(evidence);
    }

    pub fn probe(&mut self, index: usize) {
        let (key, _) = self.probes.remove(index);
        let contended = self.server.is_contended(key);
        // The table does not care for the answer once the key has been given up.
        if state_of(&self.table, key).is_some_and(|state| state.probing) {
            self.model.turn_begins(key, contended);
        }
        self.table.probed(key, contended, self.now);
        self.follow(Evidence::default());
    }
}

fn step_of(operation: Operation) -> Option<Step> {
    match operation {
        Operation::Do { step, .. } => Some(step),
        Operation::Wait { .. }
        | Operation::CancelWait { .. }
        | Operation::Probe { .. }
        | Operation::EndFence { .. } => None,
    }
}

fn key_of(operation: Operation) -> Key {
    match operation {
        Operation::Do { step, .. } => step.key(),
        Operation::Wait { key, .. }
        | Operation::CancelWait { key }
        | Operation::Probe { key, .. }
        | Operation::EndFence { key, .. } => key,
    }
}

/// One row of a batch.
#[derive(Clone, Copy, Debug)]
enum Row {
    Try(Mode),
    LockShared,
    Unlock(Mode),
}

/// The rows by which a step is done, in their order.
fn rows_of(step: Step) -> Vec<(Key, Row)> {
    let unlocks = |held: Modes| held.iter().map(Row::Unlock);
    let rows: Vec<Row> = match step {
        Step::Try { mode, .. } => vec![Row::Try(mode)],
        Step::Release { held, .. } => unlocks(held).collect(),
        Step::Requeue { held, mode, .. } => unlocks(held).chain([Row::Try(mode)]).collect(),
        Step::Downgrade { take_shared: true, .. } => vec![Row::LockShared, Row::Unlock(Mode::Exclusive)],
        Step::Downgrade { take_shared: false, .. } => vec![Row::Unlock(Mode::Exclusive)],
    };
    rows.into_iter().map(|row| (step.key(), row)).collect()
}
