//! The start of the protocol on a connected socket.

use crate::error::Error;
use crate::pg::connect::config::{ChannelBinding, ConnectConfig};
use crate::pg::connect::passwords::Given;
use crate::pg::connect::tls::Established;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_postgres::config::{self, SslMode, SslNegotiation};
use tokio_postgres::Client;

/// The task that moves the bytes. One that waits for an answer would keep its socket, and the server its locks, until
/// that comes: it ends with its session.
pub(in crate::pg) struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the protocol on a connected socket and leaves the connection running. `established`: what of TLS is there.
pub(in crate::pg) async fn start(
    config: &ConnectConfig,
    password: &Given,
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    established: Established,
) -> Result<(Client, watch::Receiver<Option<Error>>, Running), Error> {
    let mut protocol = tokio_postgres::Config::new();
    protocol.user(&config.user).dbname(&config.database).application_name(&config.application_name);
    if let Given::Password(password) = password {
        protocol.password(&password.0);
    }
    if let Some(options) = &config.options {
        protocol.options(options);
    }
    // TLS is there already where it is to be, and has nothing left to ask for.
    protocol.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    protocol.channel_binding(match config.channel_binding {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    let (client, connection) = protocol.connect_raw(socket, established).await.map_err(|error| {
        let has_reason = std::error::Error::source(&error).is_some();
        match (password, Error::from(error)) {
            // The client itself gives up where the server asks for what it has not got.
            (Given::Nothing(why), error) if has_reason && error.code() == "08P01" => {
                let why = why.as_ref().map_or(String::new(), |why| format!("; {why}"));
                Error::new("28P01", format!("the server asks for a password, and none is given{why}"))
            }
            (_, error)
                if has_reason && error.code() == "08P01" && config.channel_binding == ChannelBinding::Require =>
            {
                let message = format!("channel_binding=require cannot be met: {}", error.message());
                Error::new("ERR_CHANNEL_BINDING", message)
            }
            (_, error) => error,
        }
    })?;
    let (end, ended) = watch::channel(None);
    let running = tokio::spawn(async move {
        let reason = match connection.await {
            Ok(()) => Error::new("ECONNRESET", "the connection was closed"),
            Err(error) => Error::from(error),
        };
        end.send_replace(Some(reason));
    });
    Ok((client, ended, Running(running.abort_handle())))
}
