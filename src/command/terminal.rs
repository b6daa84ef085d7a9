//! The terminal that controls this process, and whose turn it is there.

use rustix::fs::{open, Mode, OFlags};
use rustix::process::{getpgrp, getpid, getsid, Pid};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use std::io;
use std::os::fd::OwnedFd;

/// The terminal that controls this process.
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Opens it, if there is one. From then on this thread may write to it and give it away from the background.
    #[must_use]
    pub fn open() -> Option<Terminal> {
        let terminal = open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        change_mask(libc::SIG_BLOCK);
        Some(Terminal(terminal))
    }

    /// The number of the process group whose turn it is: it reads from the terminal, and Ctrl-C is for it.
    #[must_use]
    pub fn foreground(&self) -> Option<i32> {
        tcgetpgrp(&self.0).ok().map(|group| group.as_raw_nonzero().get())
    }

    /// Makes a process group of this session the foreground group.
    ///
    /// # Errors
    /// Where there is no such group, or the terminal is gone.
    pub fn give(&self, group: i32) -> io::Result<()> {
        let group = Pid::from_raw(group).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(tcsetpgrp(&self.0, group)?)
    }

    /// Makes the group of this process, a child that was just forked, the foreground group.
    pub(super) fn take_in_child(&self) {
        change_mask(libc::SIG_BLOCK);
        // Where the terminal has gone meanwhile, the command finds out by itself.
        let _ = tcsetpgrp(&self.0, getpid());
        change_mask(libc::SIG_UNBLOCK);
    }
}

/// Whether this process is the first of its process group: a shell with job control has started it as a job.
#[must_use]
pub fn leads_group() -> bool {
    getpgrp() == getpid()
}

/// Whether this process is the first of its session: no shell of the session waits for it.
#[must_use]
pub fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// The number of this process's group.
#[must_use]
pub fn own_group() -> i32 {
    getpgrp().as_raw_nonzero().get()
}

/// Changes whether SIGTTOU, which stops whoever writes to a terminal out of turn, reaches this thread.
fn change_mask(how: i32) {
    // SAFETY: the set is initialised before it is used, and lives as long as the call.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTTOU);
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
    }
}
