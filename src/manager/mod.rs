//! Joins the lock table to the sessions: one manager per process and connection config.
//!
//! Calls come in on the callers' threads, hold the state's lock for a moment and return; answers that need the server come
//! later through the caller's [`Mailbox`]. It knows nothing of Node.
//!
//! In reading order, from the top down:
//! - `registry` finds the manager for a config; `handle` has the calls, `attendance` what a caller's thread reads by itself, `stats`
//!   what is counted;
//! - `session_task` runs a session, with `session_life`; `session_events` is what it asks and reports;
//! - `state` is what is behind the lock, and what passes between its three parts: the lock table, `clients` and `sessions`. `deadlocks`,
//!   `liveness` and `fences` watch over these;
//! - `routing` gives operations to `sessions` and makes a `report` of what comes of them. These are `main_sessions` for tries and
//!   holds and those of `waits`, with `polls`; `last_wait` makes one of the other. Each is a `slot` among `slots`, and has a `job`
//!   to do or a `wait`. `unsent` are those with something to send; `contended` and `backoff` say what is left alone for a while;
//! - `mailbox`, `news`, `publication` and `overview` tell whoever wants to know.
//!
//! Where a transaction pooler is worked through, the sessions in `pooled` do what those of `sessions` do elsewhere.

mod attendance;
mod backoff;
mod clients;
mod contended;
mod deadlocks;
mod fences;
mod handle;
mod job;
mod last_wait;
mod liveness;
mod mailbox;
mod main_sessions;
mod news;
mod overview;
mod polls;
mod pooled;
mod publication;
mod registry;
mod report;
mod routing;
mod session_events;
mod session_life;
mod session_task;
mod sessions;
mod settings;
mod slot;
mod slots;
mod state;
mod stats;
mod unsent;
mod wait;
mod waits;

pub use handle::{Manager, Reply};
pub use mailbox::{Answer, ClientId, Mailbox};
pub use news::{listen, stop_listening, SessionEvent, SessionNews};
pub use overview::Overview;
pub use publication::remember_name;
pub use registry::{close_client, manager_for};
pub use settings::Settings;
