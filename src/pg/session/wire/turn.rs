//! What the I/O thread does with a connection each time that it gets to it, and when it has to look again.

use super::attendance::Attendance;
use super::silence::Silence;
use super::state::State;
use super::Wire;
use crate::pg::session::batch::Answered;
use socket2::Socket;
use std::time::Duration;
use tokio::time::Instant;

/// How long after the last request the I/O thread looks again without being told of a new one.
const LINGER: Duration = Duration::from_secs(1);
/// How often the I/O thread looks whether a thread that attends has left something unread.
pub(in crate::pg::session) const LOOK: Duration = Duration::from_millis(10);

/// What the I/O thread has done, and has to do next.
pub(in crate::pg::session) struct Turn {
    /// There is more to be read.
    pub more: bool,
    /// There is more to be written.
    pub is_full: bool,
    /// A thread reads what arrives.
    pub is_attended: bool,
    /// When to look again.
    pub due: Option<Instant>,
    pub answered: Vec<Answered>,
    pub is_over: bool,
}

impl Wire {
    /// Reads and writes what can be, and judges silence then; `is_told`: the I/O thread is woken by what arrives.
    pub(in crate::pg::session) fn turn(&self, is_told: bool, silence: &mut Silence) -> Turn {
        let mut answered = Vec::new();
        let mut state = self.lock();
        let read = self.read(&mut state, false);
        if read.any && !is_told {
            state.attendance.is_late();
        }
        state.write(&self.socket);
        if let (false, Some(reason)) = (read.more, state.unwritable.clone()) {
            self.end(&mut state, &reason);
        }
        self.hand_out(&mut state, &mut answered);
        let due = if read.more { None } else { self.next_look(&mut state, silence) };
        Turn {
            more: read.more && !state.is_over,
            is_full: state.has_to_write(),
            is_attended: state.attendance.is_reliable(),
            due,
            answered,
            is_over: state.is_over,
        }
    }

    /// When to look again, after all has been read that is there; ends the connection where the server is silent for too long.
    fn next_look(&self, state: &mut State, silence: &mut Silence) -> Option<Instant> {
        let now = Instant::now();
        let Some((asked, limit)) = state.pipeline.front() else {
            let due = Some(state.progress + LINGER).filter(|due| *due > now);
            state.is_watched = due.is_some();
            if due.is_none() {
                state.attendance = Attendance::Free;
            }
            return due;
        };
        let Some(due) = silence.end(asked.max(state.progress), limit, now) else {
            let reason = self.silent(limit);
            self.end(state, &reason);
            return None;
        };
        Some(if state.attendance.is_reliable() { due.min(now + LOOK) } else { due })
    }

    /// Tells what has become of batches.
    pub(in crate::pg::session) fn report(&self, answered: Vec<Answered>) {
        if let Some(report) = self.report.get().filter(|_| !answered.is_empty()) {
            report(answered);
        }
    }

    /// Until there is something to do of which the socket does not tell.
    pub(in crate::pg::session) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The socket, to be waited for.
    pub(in crate::pg::session) fn socket(&self) -> &Socket {
        &self.socket
    }
}
