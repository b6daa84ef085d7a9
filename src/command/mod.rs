//! A command in a process group of its own, for `withlock`: started, watched until the group is empty, and ended with this
//! process. It knows nothing of locks and nothing of Node.js. Only for systems that have process groups.
//!
//! It serves a process that starts one command and has no other children: whatever child ends is taken note of here, which also
//! clears away the processes that the command has left behind.

mod terminal;
mod watchdog;

pub use terminal::{leads_group, leads_session, own_group, Terminal};

use rustix::io::{fcntl_setfd, Errno, FdFlags};
use rustix::process::{test_kill_process_group, wait, Pid, WaitOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use watchdog::Watchdog;

/// While the group outlives the command, it is looked for this often at most, and this often at least.
const MIN_LOOK_INTERVAL: Duration = Duration::from_millis(1);
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What to run.
pub struct Command {
    /// A path, or a name that is looked for in `PATH`.
    pub file: String,
    /// What follows the name.
    pub parameters: Vec<String>,
    /// Variables that are added to those of this process.
    pub variables: Vec<(String, String)>,
    /// The terminal whose foreground group the command's group becomes before the command begins.
    pub terminal: Option<Arc<Terminal>>,
}

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A signal has stopped it.
    Stopped(i32),
    /// It has ended with a status.
    Exited(i32),
    /// A signal has ended it.
    Killed(i32),
    /// Nobody of its process group is left. The last news.
    Gone,
}

/// A command that runs.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// The number of its process, which is that of its process group.
    pub group: i32,
    /// Whether its group is ended when this process is killed.
    pub is_guarded: bool,
}

/// Starts a command. Its group ends with this process: where that is killed, the group is sent SIGTERM, and SIGKILL after a
/// grace. `tell` is called from another thread.
///
/// # Errors
/// Those of the system: `ENOENT` where there is no such file, and others.
pub fn start(command: Command, tell: impl Fn(News) + Send + 'static) -> io::Result<Started> {
    adopt_orphans();
    let watchdog = Watchdog::start().ok();
    let mut builder = process::Command::new(command.file);
    builder.args(command.parameters).envs(command.variables).process_group(0);
    let terminal = command.terminal;
    // SAFETY: what runs in the child before its program does nothing but system calls.
    unsafe { builder.pre_exec(move || prepare(terminal.as_deref())) };
    let child = builder.spawn();
    let leader = child.as_ref().ok().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
    let watchdog = match (leader, watchdog) {
        (Some(leader), Some(watchdog)) => watchdog.guard(leader).ok(),
        _ => None,
    };
    child?;
    let leader = leader.ok_or(Errno::SRCH)?;
    let started = Started { group: leader.as_raw_nonzero().get(), is_guarded: watchdog.is_some() };
    thread::Builder::new().name("advisory-lock-command".to_owned()).spawn(move || watch(leader, watchdog, tell))?;
    Ok(started)
}

/// Makes the processes that a command leaves behind children of this one. Whoever is the first process of a container may never
/// clear them away, and a dead process counts as one of its group until then.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Prepares a child for its program: standard streams as a program expects them, default signals, the terminal's foreground.
// What fails here would fail the command where it only misses something.
#[allow(clippy::unnecessary_wraps)]
fn prepare(terminal: Option<&Terminal>) -> io::Result<()> {
    use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
    // Node.js closes them for whom it did not start itself, and may have made them non-blocking.
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let _ = fcntl_setfd(stream, FdFlags::empty());
        if let Ok(flags) = fcntl_getfl(stream) {
            if flags.contains(OFlags::NONBLOCK) {
                let _ = fcntl_setfl(stream, flags - OFlags::NONBLOCK);
            }
        }
    }
    // Node.js ignores this one; the standard library sees to SIGPIPE.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
    if let Some(terminal) = terminal {
        terminal.take_in_child();
    }
    Ok(())
}

/// Tells what happens to the command until its group is empty.
fn watch(leader: Pid, watchdog: Option<Watchdog>, tell: impl Fn(News)) {
    loop {
        let (pid, status) = match wait(WaitOptions::UNTRACED) {
            Ok(Some(found)) => found,
            Ok(None) | Err(Errno::INTR) => continue,
            // Somebody else has taken note of its end.
            Err(_) => {
                tell(News::Exited(1));
                break;
            }
        };
        if pid != leader {
            continue;
        }
        if let Some(signal) = status.stopping_signal() {
            tell(News::Stopped(signal));
        } else if let Some(signal) = status.terminating_signal() {
            tell(News::Killed(signal));
            break;
        } else if let Some(status) = status.exit_status() {
            tell(News::Exited(status));
            break;
        }
    }
    let mut interval = MIN_LOOK_INTERVAL;
    loop {
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        // Somebody who may not be signalled is there, too.
        if test_kill_process_group(leader) == Err(Errno::SRCH) {
            break;
        }
        thread::sleep(interval);
        interval = (interval * 2).min(MAX_LOOK_INTERVAL);
    }
    // Before anybody else can be given the group's number.
    if let Some(watchdog) = watchdog {
        watchdog.dismiss();
    }
    tell(News::Gone);
}
