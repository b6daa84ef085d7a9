//! A bug that shows in a call is an error of that call, and not the end of the process.

use crate::error::Error;
use crate::manager::Manager;
use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// The code of an error that JavaScript is thrown.
pub(super) type Code = &'static str;

/// Makes a call of a manager.
///
/// # Errors
/// `ERR_INTERNAL`: it has panicked. Nobody knows what the manager has come to think of its locks then, so all of them count as
/// lost: its sessions end, and whoever holds one is told.
// What a panic may leave behind half done is given up.
pub(super) fn caught<T>(manager: &Manager, call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let error = error_of(panic.as_ref());
        let _ = catch_unwind(AssertUnwindSafe(|| manager.give_up(&error)));
        error
    })
}

/// The same for a call whose caller is told by what it throws.
pub(super) fn thrown<T>(manager: &Manager, call: impl FnOnce() -> T) -> napi::Result<T, Code> {
    caught(manager, call).map_err(|error| napi::Error::new("ERR_INTERNAL", error.message().to_owned()))
}

fn error_of(panic: &(dyn Any + Send)) -> Error {
    // A text that was put together may have anything in it.
    let what = panic.downcast_ref::<&'static str>().copied().unwrap_or("BUG: a call has panicked");
    Error::new("ERR_INTERNAL", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::{manager_for, ClientId, Mailbox, Settings};
    use crate::pg::{ConnectConfig, Timing};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_call_that_panics_fails_and_the_next_one_goes_on() {
        let config =
            ConnectConfig::parse("postgres://nobody@127.0.0.1:1/nothing", |_| None).expect("it is well-formed");
        let settings = Settings {
            max_wait_connections: 1,
            max_pinned_connections: None,
            looks_through: None,
            idle_timeout: Duration::ZERO,
            timing: Timing::new(Duration::from_secs(3), Duration::from_secs(5)),
            publish_names: false,
        };
        let manager = manager_for(config, settings);
        let mailbox = Arc::new(Mailbox::new(ClientId::next(), || {}));
        let failed = caught(&manager, || {
            manager.open_owner(&mailbox);
            unreachable!("BUG: on purpose")
        });
        let failed: Result<(), Error> = failed;
        let error = failed.expect_err("it has panicked");
        assert_eq!(
            (error.code(), error.message()),
            ("ERR_INTERNAL", "internal error: entered unreachable code: BUG: on purpose")
        );
        let opened = caught(&manager, || manager.open_owner(&mailbox)).expect("it goes on");
        caught(&manager, || manager.abandon_owner(opened, mailbox.client)).expect("it goes on");
    }

    #[test]
    fn what_is_told_of_a_panic_is_a_text_of_this_crate() {
        let text = |panic: Box<dyn Any + Send>| error_of(panic.as_ref()).message().to_owned();
        assert_eq!(text(Box::new("BUG: it is known")), "BUG: it is known");
        assert_eq!(text(Box::new(String::from("postgres://somebody:secret@host"))), "BUG: a call has panicked");
        assert_eq!(error_of(&1).code(), "ERR_INTERNAL");
    }
}
