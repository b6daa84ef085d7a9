//! A small process that ends a command's group when this process is killed and cannot do so itself.

use rustix::process::{setsid, Pid};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};

/// Reads the number of the group, then waits for a line that dismisses it. If the end of the input comes first, whoever held its
/// other end is dead. The group has five seconds to end, as after the loss of a lock.
const SCRIPT: &str = r#"
read -r group && ! read -r line || exit 0
kill -s TERM -- "-$group"
kill -s CONT -- "-$group"
for second in 1 2 3 4 5; do
  sleep 1
  kill -s 0 -- "-$group" || exit 0
done
kill -s KILL -- "-$group"
"#;

/// A process that waits for the end of this one.
pub(super) struct Watchdog(ChildStdin);

impl Watchdog {
    /// Starts it, in a session of its own, as what kills this process may kill its group or its session.
    ///
    /// # Errors
    /// Those of the system, also where there is no shell.
    pub fn start() -> io::Result<Watchdog> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "withlock-watchdog"]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: a system call is all that runs in the child before its program.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                Ok(())
            })
        };
        let stdin = command.spawn()?.stdin.take();
        Ok(Watchdog(stdin.ok_or(io::ErrorKind::BrokenPipe)?))
    }

    /// Lets it watch over a group.
    ///
    /// # Errors
    /// Where it is not there any more.
    pub fn guard(mut self, group: Pid) -> io::Result<Watchdog> {
        writeln!(self.0, "{}", group.as_raw_nonzero())?;
        Ok(self)
    }

    /// Ends it: there is nobody left to end.
    pub fn dismiss(mut self) {
        // It may have been killed.
        let _ = writeln!(self.0, "gone");
    }
}
