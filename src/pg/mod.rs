//! PostgreSQL: what to connect to and what to say there. The only user of `tokio_postgres`; knows nothing of owners,
//! waiters or Node.

mod config;
mod connect;
mod holder;
mod open;
mod passwords;
mod pooler;
mod rings;
mod session;
mod setup;
mod sql;
mod start;
mod tls;

pub use config::ConnectConfig;
pub use holder::Holder;
pub use rings::{Findings, Inquiry, Published};
pub use session::{Fault, Role, Session, Step};
