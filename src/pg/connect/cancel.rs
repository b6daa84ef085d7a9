//! The way to end the statement that a session is at, by another connection.

use crate::error::Error;
use crate::pg::connect::dial::Route;
use crate::pg::connect::socket::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Length and code of the request, process id, secret (manual, section 54.7, "CancelRequest").
const HEADER: usize = 8;
const CODE: u32 = 80_877_102;
const PID: usize = 4;
const KEY: usize = PID + 4;

/// The request to end what a session is doing, as it goes over a connection of its own.
#[derive(Clone)]
pub(in crate::pg) struct CancelRequest(Vec<u8>);

impl CancelRequest {
    /// By the key that the server gives to a session: process id and secret. `None`: it is of another length than those have in
    /// the version of the protocol that is spoken.
    pub fn by(key: &[u8]) -> Option<CancelRequest> {
        let length = u32::try_from(HEADER + key.len()).ok().filter(|_| key.len() == KEY)?;
        Some(CancelRequest([&length.to_be_bytes(), &CODE.to_be_bytes(), key].concat()))
    }

    /// For a session that was given no key: one that reaches nobody.
    pub fn of_nobody() -> CancelRequest {
        CancelRequest::by(&[0; KEY]).expect("BUG: a process id and a secret are no key")
    }

    /// The process that it names: the session's backend, unless somebody stands between.
    pub fn pid(&self) -> i32 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = self.0[..] else { return 0 };
        i32::from_be_bytes([a, b, c, d])
    }
}

/// A request, and the way that it has to go.
pub(in crate::pg) struct Cancel {
    pub request: CancelRequest,
    pub route: Route,
}

/// A request that is on its way.
pub(in crate::pg) struct Sent(Socket);

impl Cancel {
    /// Connects.
    ///
    /// # Cancel safety
    /// Nothing has been sent if the future is dropped.
    pub async fn connect(&self) -> Result<Socket, Error> {
        self.route.connect().await
    }

    /// Sends the request.
    pub async fn send(&self, mut socket: Socket) -> Result<Sent, Error> {
        socket.write_all(&self.request.0).await.map_err(|error| Error::system(&error, Some(self.route.peer())))?;
        Ok(Sent(socket))
    }
}

impl Sent {
    /// Until the server has closed the connection, which it does after it has signalled the backend: from then on the request
    /// hits nothing that is sent later.
    pub async fn delivered(mut self) {
        let mut rest = [0; 64];
        while matches!(self.0.read(&mut rest).await, Ok(1..)) {}
    }
}
