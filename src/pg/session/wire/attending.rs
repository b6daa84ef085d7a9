//! What a thread does that attends to a connection.

use super::attendance::Attendance;
use super::state::State;
use super::Wire;
use crate::core::ThreadId;
use crate::pg::session::batch::Answered;

impl Wire {
    /// The thread asks something; whether it is to attend, if it can be told when there is something to be read.
    #[must_use]
    pub fn wants_attendance(&self, asking: ThreadId) -> bool {
        let mut state = self.lock();
        let wants = self.change_attendance(&mut state, |attendance| attendance.wants(asking));
        wants && !state.is_over
    }

    /// From now on the thread is told when there is something to be read, and calls [`Wire::attend`] then.
    pub fn begin_attendance(&self, by: ThreadId) {
        self.change_attendance(&mut self.lock(), |attendance| attendance.begin(by));
    }

    /// The thread is not told any more.
    pub fn end_attendance(&self, by: ThreadId) {
        self.change_attendance(&mut self.lock(), |attendance| attendance.end(by));
    }

    /// No thread is told any more until nothing has been asked for a while: what is asked from now on takes long, and a look every
    /// few milliseconds whether its answer has been left unread would cost more than one more wake-up.
    pub fn end_all_attendance(&self) {
        self.change_attendance(&mut self.lock(), |attendance| *attendance = Attendance::Shared);
    }

    /// Reads what has arrived: what has become of batches, and whether the thread goes on attending.
    #[must_use]
    pub fn attend(&self, by: ThreadId) -> (Vec<Answered>, bool) {
        let mut answered = Vec::new();
        let mut state = self.lock();
        if !state.attendance.is_by(by) {
            return (answered, false);
        }
        let read = self.read(&mut state, true);
        state.write(&self.socket);
        self.hand_out(&mut state, &mut answered);
        if read.more || state.has_to_write() || state.unwritable.is_some() {
            self.changed.notify_one();
        }
        (answered, !state.is_over)
    }

    /// Where nobody attends any more the I/O thread has to know at once.
    fn change_attendance<T>(&self, state: &mut State, change: impl FnOnce(&mut Attendance) -> T) -> T {
        let was_reliable = state.attendance.is_reliable();
        let result = change(&mut state.attendance);
        if was_reliable && !state.attendance.is_reliable() {
            self.changed.notify_one();
        }
        result
    }

    /// The connection's descriptor, for whoever is to be told when there is something to be read.
    #[cfg(unix)]
    #[must_use]
    pub fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.socket.as_fd()
    }
}
