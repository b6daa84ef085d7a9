//! What the I/O thread does with a wire: it reads and writes whenever that is possible, until the connection is over.

use crate::error::{Error, Peer};
use crate::pg::connect::socket::Socket;
use crate::pg::session::readiness::Readiness;
use crate::pg::session::wire::silence::Silence;
use crate::pg::session::wire::turn::{Turn, LOOK};
use crate::pg::session::wire::{closed, Patience, Wire};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{sleep_until, Instant};

/// Ends the connection when it is dropped.
pub(in crate::pg) struct Driver(Arc<Wire>);

impl Driver {
    /// Makes a wire of a socket on which a session was started at `since`, by [`crate::pg::clock`], and drives it. Must be called
    /// within the I/O thread's runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        socket: Socket,
        peer: Peer,
        patience: Patience,
        since: Duration,
    ) -> Result<(Arc<Wire>, Driver), Error> {
        let Socket { stream, tls } = socket;
        let socket = stream.detach().map_err(|error| Error::system(&error, None))?;
        let wire = Arc::new(Wire::new(socket, tls, peer, patience, since));
        tokio::spawn(drive(Driven(Arc::clone(&wire))));
        Ok((Arc::clone(&wire), Driver(wire)))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.give_up(&closed());
    }
}

async fn drive(wire: Driven) {
    let wire = &wire.0;
    let mut silence = Silence::default();
    // Nothing while somebody attends: the I/O thread is not to be woken for what is not to be read by it.
    let mut readiness: Option<Readiness> = None;
    loop {
        let Turn { more, is_full, is_attended, mut due, answered, is_over } =
            wire.turn(readiness.is_some(), &mut silence);
        wire.report(answered);
        if is_over {
            return;
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        if let Some(readiness) = &readiness {
            readiness.clear(Interest::READABLE);
            if is_full {
                readiness.clear(Interest::WRITABLE);
            }
        }
        if is_attended && !is_full {
            readiness = None;
        } else if readiness.is_none() {
            readiness = Readiness::new(wire.socket()).ok();
            if readiness.is_none() {
                let look = Instant::now() + LOOK;
                due = Some(due.map_or(look, |due| due.min(look)));
            }
        }
        let interest = if is_full { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            ready = wait(readiness.as_ref(), interest) => {
                if let Err(error) = ready {
                    wire.give_up(&Error::system(&error, None));
                }
            }
            () = wire.changed() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

async fn wait(readiness: Option<&Readiness<'_>>, interest: Interest) -> std::io::Result<()> {
    match readiness {
        Some(readiness) => readiness.wait(interest).await,
        None => pending().await,
    }
}

/// A wire that somebody drives. If that ends by a bug, those who wait for answers are told.
struct Driven(Arc<Wire>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.give_up(&Error::new("ERR_INTERNAL", "BUG: what reads a session's answers has failed"));
    }
}
