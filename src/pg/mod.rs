//! PostgreSQL: what to connect to and what to say there. The only user of `tokio_postgres`; knows nothing of owners,
//! waiters or Node.
//!
//! Two wings that [`open`] puts together: [`connect`], everything until a session is open, and [`session`], everything that is
//! said on it.

mod backend;
pub mod clock;
mod connect;
mod fault;
pub mod fence;
mod open;
mod open_pooled;
mod session;
mod sql;

pub use connect::config::{
    ConnectConfig, Description, Password, PasswordAnswer, PasswordQuestion, PasswordSource, TlsFields,
};
pub use connect::timing::Timing;
pub use fault::Fault;
pub use session::batch::{Answered, BatchId};
pub use session::deadlock::{Findings, Inquiry, Published};
pub use session::fence::Fenced;
pub use session::held_names::HeldNames;
pub use session::holder::Holder;
pub use session::overview::LockUse;
pub use session::pooled::PooledSession;
pub use session::seen::Seen;
pub use session::turn::{Claim, Turn};
pub use session::wire::Wire;
pub use session::{Role, Session};
