//! The command that runs under a lock, and its terminal.

use crate::command::{self, Command, News};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use std::sync::Arc;

/// What happens to a command, as the first number of its news; the second is a signal or a status.
#[napi]
pub const COMMAND_STOPPED: u32 = 1;
/// It has ended with a status.
#[napi]
pub const COMMAND_EXITED: u32 = 2;
/// A signal has ended it.
#[napi]
pub const COMMAND_KILLED: u32 = 3;
/// Nobody of its process group is left.
#[napi]
pub const COMMAND_GONE: u32 = 4;

/// What has become of the start of a command.
#[napi(object)]
pub struct StartedCommand {
    /// Its process group.
    pub group: i32,
    /// Whether its group is ended when this process is killed.
    pub is_guarded: bool,
    /// The system's number of what has failed instead; 0 where nothing has.
    pub errno: i32,
}

/// A variable of the command's environment.
#[napi(object)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Starts a command in a process group of its own, which becomes the foreground group of `terminal` where that is given. Keeps
/// this process alive until nobody of that group is left.
#[napi(catch_unwind)]
pub fn start_command(
    file: String,
    parameters: Vec<String>,
    variables: Vec<Variable>,
    terminal: Option<&Terminal>,
    on_news: Function<'_, FnArgs<(u32, i32)>, ()>,
) -> napi::Result<StartedCommand> {
    let tell = on_news.build_threadsafe_function::<FnArgs<(u32, i32)>>().build()?;
    let command = Command {
        file,
        parameters,
        variables: variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
        terminal: terminal.map(|terminal| Arc::clone(&terminal.terminal)),
    };
    let started = command::start(command, move |news| {
        let numbers = match news {
            News::Stopped(signal) => (COMMAND_STOPPED, signal),
            News::Exited(status) => (COMMAND_EXITED, status),
            News::Killed(signal) => (COMMAND_KILLED, signal),
            News::Gone => (COMMAND_GONE, 0),
        };
        tell.call(numbers.into(), ThreadsafeFunctionCallMode::NonBlocking);
    });
    Ok(match started {
        Ok(started) => StartedCommand { group: started.group, is_guarded: started.is_guarded, errno: 0 },
        Err(error) => StartedCommand { group: 0, is_guarded: false, errno: error.raw_os_error().unwrap_or(libc::EIO) },
    })
}

/// The terminal that controls this process.
#[napi]
pub struct Terminal {
    terminal: Arc<command::Terminal>,
}

#[napi]
impl Terminal {
    /// The process group whose turn it is there; 0 where the terminal is gone.
    #[napi(getter, catch_unwind)]
    pub fn foreground(&self) -> i32 {
        self.terminal.foreground().unwrap_or(0)
    }

    /// Makes a process group the foreground group; whether that was possible.
    #[napi(catch_unwind)]
    pub fn give(&self, group: i32) -> bool {
        self.terminal.give(group).is_ok()
    }
}

/// The terminal that controls this process, if there is one.
#[napi(catch_unwind)]
pub fn open_terminal() -> Option<Terminal> {
    command::Terminal::open().map(|terminal| Terminal { terminal: Arc::new(terminal) })
}

/// Where this process stands among those of its terminal.
#[napi(object)]
pub struct OwnPlace {
    /// Its process group.
    pub group: i32,
    /// Whether it is the first of that group: a shell with job control has started it as a job.
    pub leads_group: bool,
    /// Whether it is the first of its session: no shell of the session waits for it.
    pub leads_session: bool,
}

/// Where this process stands among those of its terminal.
#[napi(catch_unwind)]
pub fn own_place() -> OwnPlace {
    OwnPlace {
        group: command::own_group(),
        leads_group: command::leads_group(),
        leads_session: command::leads_session(),
    }
}
