//! PostgreSQL: what to connect to and what to say there. The only user of `tokio_postgres`; knows nothing of owners,
//! waiters or Node.

mod batch;
mod config;
mod connect;
mod exchange;
mod holder;
mod lane;
mod open;
mod passwords;
mod pooler;
mod rings;
mod session;
mod setup;
mod socket;
mod sql;
mod start;
mod steps;
mod tls;

pub use batch::{Answered, BatchId};
pub use config::ConnectConfig;
pub use holder::Holder;
pub use lane::Lane;
pub use rings::{Findings, Inquiry, Published};
pub use session::{Fault, Role, Session};
pub use setup::ANSWER_LIMIT;
pub use steps::Step;
