//! Everything until a session is open: what a connection string means, addresses and sockets, TLS, the start of the protocol
//! and the set-up. Knows nothing of what is said on the session later.

mod blocking;
pub(in crate::pg) mod cancel;
pub(in crate::pg) mod config;
pub(in crate::pg) mod dial;
mod login;
pub(in crate::pg) mod passwords;
#[cfg(unix)]
mod peer_owner;
pub(in crate::pg) mod pooler;
mod private_file;
mod resolve;
pub(in crate::pg) mod setup;
pub(in crate::pg) mod socket;
pub(in crate::pg) mod start;
pub(in crate::pg) mod timing;
pub(in crate::pg) mod tls;
