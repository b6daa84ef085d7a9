//! Joins the lock table to the sessions: one manager per process and connection config.
//!
//! Calls come in on the callers' threads, take the state's lock for a moment and leave; answers that need the server come
//! later through the caller's [`Mailbox`]. It knows nothing of Node.
//!
//! In reading order: `handle`, the calls; `state`, what is behind the lock and what passes between its three parts, which are
//! `clients`, `sessions` with `routing` (of them `slot`, `job`, `wait`, `polls`, `contended`, `backoff`), and the lock table;
//! `deadlocks` and `doubts`, which watch over these; `fences`, of holds; `session_task`, which runs a session, and
//! `session_events`, what it asks and reports; `attendance`, of the callers' own threads; `news`, `stats`, `publication` and
//! `overview`, for whoever wants to know; `registry`, which finds the manager for a config. Where a transaction pooler is worked
//! through, the sessions in `pooled` do what those of `sessions` do elsewhere.

mod attendance;
mod backoff;
mod clients;
mod contended;
mod deadlocks;
mod doubts;
mod fences;
mod handle;
mod job;
mod mailbox;
mod news;
mod overview;
mod polls;
mod pooled;
mod publication;
mod registry;
mod routing;
mod session_events;
mod session_task;
mod sessions;
mod settings;
mod slot;
mod state;
mod stats;
mod wait;

pub use handle::{Manager, Reply};
pub use mailbox::{Answer, ClientId, Mailbox};
pub use news::{listen, stop_listening, SessionEvent, SessionNews};
pub use overview::Overview;
pub use publication::remember_name;
pub use registry::{close_client, manager_for};
pub use settings::Settings;
