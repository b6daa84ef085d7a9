//! Distributed locks on PostgreSQL advisory locks, for Node.js: the core behind the npm package `advisory-lock-native`.
//!
//! In reading order, each module knowing only those before it:
//!
//! 1. [`mod@error`]: the one error type. [`notice`]: warnings, and what happens, for whoever wants to know.
//! 2. [`core`]: keys, modes, and the lock table, which decides who gets a lock. No I/O.
//! 3. [`pg`]: connections to PostgreSQL: open, batch, wait, lose.
//! 4. [`manager`]: gives the lock table's operations to sessions and its outcomes to the callers.
//! 5. `runtime`: the I/O thread.
//! 6. `command`: the command that `withlock` runs, in a process group of its own.
//! 7. `binding`: the classes that `lib/mailbox.js` calls.
//!
//! A call runs on the JavaScript thread through the binding into the manager, which asks the lock table under a short
//! lock. What needs no server is answered there and then. The rest is written to sessions' sockets; the answers are read by the
//! thread that has asked, where it attends to the session, or by the I/O thread, and return through a mailbox, one wake-up a
//! batch.

#![warn(missing_docs)]

mod binding;
#[cfg(unix)]
pub mod command;
pub mod core;
pub mod error;
pub mod manager;
pub mod notice;
pub mod pg;
mod runtime;
