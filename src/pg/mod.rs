//! PostgreSQL: what to connect to and what to say there. The only user of `tokio_postgres`; knows nothing of owners,
//! waiters or Node.
//!
//! Two wings that [`open`] puts together: [`connect`], everything until a session is open, and [`session`], everything that is
//! said on it.

mod connect;
mod open;
mod session;
mod sql;

pub use connect::config::ConnectConfig;
pub use connect::setup::ANSWER_LIMIT;
pub use session::batch::{Answered, BatchId};
pub use session::deadlock::{Findings, Inquiry, Published};
pub use session::holder::Holder;
pub use session::lane::Lane;
pub use session::{Fault, Role, Session};
