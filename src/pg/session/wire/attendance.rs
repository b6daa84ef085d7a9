//! Who reads what has arrived besides the I/O thread: the one thread that asks, if it can be told that there is something to
//! be read. That spares a wake-up for each answer.
//!
//! Nothing depends on it: the I/O thread looks now and then all the same, and goes back to reading everything by itself as soon
//! as it finds what was left unread. So a thread that is busy hides nothing.

use crate::core::ThreadId;

/// Who reads besides the I/O thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attendance {
    /// Nobody. The next thread that asks something may.
    Free,
    /// The thread that alone asks; `is_late`: it has left something unread.
    By { thread: ThreadId, is_late: bool },
    /// Nobody until nothing is asked for a while: several threads ask, and none is to wait for another.
    Shared,
}

impl Attendance {
    /// The thread asks. Whether it is to attend, if it can.
    pub fn wants(&mut self, asking: ThreadId) -> bool {
        if matches!(self, Attendance::By { thread, .. } if *thread != asking) {
            *self = Attendance::Shared;
        }
        *self == Attendance::Free
    }

    /// The thread attends from now on.
    pub fn begin(&mut self, by: ThreadId) {
        if self.wants(by) {
            *self = Attendance::By { thread: by, is_late: false };
        }
    }

    /// The thread attends no more.
    pub fn end(&mut self, by: ThreadId) {
        if matches!(self, Attendance::By { thread, .. } if *thread == by) {
            *self = Attendance::Shared;
        }
    }

    /// The thread is about to read; whether it is to.
    pub fn is_by(&mut self, reading: ThreadId) -> bool {
        match self {
            Attendance::By { thread, is_late } if *thread == reading => {
                *is_late = false;
                true
            }
            _ => false,
        }
    }

    /// The I/O thread has found something unread.
    pub fn is_late(&mut self) {
        if let Attendance::By { is_late, .. } = self {
            *is_late = true;
        }
    }

    /// Whether the I/O thread may leave what arrives to somebody else, but for a look now and then.
    pub fn is_reliable(self) -> bool {
        matches!(self, Attendance::By { is_late: false, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: ThreadId = ThreadId(1);
    const WORKER: ThreadId = ThreadId(2);

    fn by_main() -> Attendance {
        let mut attendance = Attendance::Free;
        assert!(attendance.wants(MAIN));
        attendance.begin(MAIN);
        assert!(attendance.is_reliable());
        attendance
    }

    #[test]
    fn who_alone_asks_attends() {
        let mut attendance = by_main();
        assert!(!attendance.wants(MAIN), "it does already");
        assert!(attendance.is_by(MAIN));
        assert!(!attendance.is_by(WORKER));
    }

    #[test]
    fn of_several_nobody_does() {
        let mut attendance = by_main();
        assert!(!attendance.wants(WORKER));
        assert!(!attendance.is_reliable());
        assert!(!attendance.is_by(MAIN));
        attendance.begin(WORKER);
        assert_eq!(attendance, Attendance::Shared);
    }

    #[test]
    fn who_comes_late_is_not_relied_on_until_it_reads() {
        let mut attendance = by_main();
        attendance.is_late();
        assert!(!attendance.is_reliable());
        assert!(attendance.is_by(MAIN));
        assert!(attendance.is_reliable());
    }

    #[test]
    fn who_has_ended_is_not_relied_on() {
        let mut attendance = by_main();
        attendance.end(WORKER);
        assert!(attendance.is_reliable(), "that was another");
        attendance.end(MAIN);
        assert!(!attendance.is_reliable());
        assert!(!attendance.is_by(MAIN));
    }
}
