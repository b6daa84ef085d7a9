//! The way to end the statement that a session is at, by another connection.

use crate::error::Error;
use crate::pg::connect::dial::Route;
use crate::pg::connect::socket::Socket;
use crate::pg::connect::tls::Established;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};
use tokio_postgres::CancelToken;

/// Length and code of the request, process id, secret (manual, section 54.7, "CancelRequest").
const LENGTH: usize = 16;

/// The request to end what a session is doing, as it goes over a connection of its own.
#[derive(Clone)]
pub(in crate::pg) struct CancelRequest([u8; LENGTH]);

impl CancelRequest {
    /// Of a session that has been started.
    ///
    /// # Errors
    /// `08P01`: the server has given no key for it.
    pub async fn of(token: &CancelToken) -> Result<CancelRequest, Error> {
        // What is in the token is not told otherwise than by a request.
        let (mut near, far) = duplex(LENGTH);
        token.cancel_query_raw(far, Established::default()).await.map_err(Error::from)?;
        let mut request = [0; LENGTH];
        match near.read_exact(&mut request).await {
            Ok(_) => Ok(CancelRequest(request)),
            Err(_) => Err(Error::protocol("no key for requests to cancel")),
        }
    }

    /// The process that it names: the session's backend, unless somebody stands between.
    pub fn pid(&self) -> i32 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = self.0;
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
