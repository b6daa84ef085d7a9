//! The start of the protocol on a connected socket: the one part of the conversation that `tokio_postgres` has.

use crate::error::Error;
use crate::pg::connect::cancel::CancelRequest;
use crate::pg::connect::config::ConnectConfig;
use crate::pg::connect::login::Login;
use crate::pg::connect::passwords::Given;
use crate::pg::connect::socket::Socket;
use tokio::io::duplex;
use tokio_postgres::config::SslMode;
use tokio_postgres::NoTls;

/// No message of a start is longer than that by much.
const ROOM: usize = 8192;

/// Starts the protocol on a connected socket, on which the caller speaks from then on; what a request to cancel has to say.
///
/// # Errors
/// What the server says, `08P01` where it is none; those of a login: `28P01`, `ERR_AUTH_METHOD`, `ERR_SCRAM`,
/// `ERR_CHANNEL_BINDING`; or the system's.
///
/// # Cancel safety
/// None: the socket is of no use any more.
pub(in crate::pg) async fn start(
    config: &ConnectConfig,
    password: &Given,
    socket: &mut Socket,
) -> Result<CancelRequest, Error> {
    let mut protocol = tokio_postgres::Config::new();
    protocol.user(&config.user).dbname(&config.database).application_name(&config.application_name);
    if let Some(options) = &config.options {
        protocol.options(options);
    }
    // TLS is there already where it is to be.
    protocol.ssl_mode(SslMode::Disable);
    let end_point = socket.encryption().and_then(|encryption| encryption.end_point.clone());
    let login = Login { config, password, end_point: end_point.as_deref() };
    let (near, mut far) = duplex(ROOM);
    let opening = protocol.connect_raw(near, NoTls);
    tokio::pin!(opening);
    tokio::select! {
        biased;
        // Where this fails, what the other would say follows from it.
        request = login.attend(&mut far, socket) => {
            let request = request?;
            opening.await.map(drop)?;
            Ok(request)
        }
        opened = &mut opening => {
            opened.map(drop)?;
            Err(Error::protocol("a session that is ready before the server says so"))
        }
    }
}
