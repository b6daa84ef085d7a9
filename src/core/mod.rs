//! What a lock is and who gets it: pure data and decisions, without I/O, clock, PostgreSQL or Node.

mod ids;
mod key;
pub mod lock_table;
mod mode;
mod names;
mod step;

pub use ids::{OwnerId, RequestId, SessionId, ThreadId};
pub use key::Key;
pub use mode::{Mode, Modes};
pub use names::{Name, Names};
pub use step::{salvage, Salvaged, Step};
