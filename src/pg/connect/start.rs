//! The start of the protocol on a connected socket: the one part of the conversation that `tokio_postgres` has.

use crate::error::Error;
use crate::pg::connect::cancel::CancelRequest;
use crate::pg::connect::config::{ChannelBinding, ConnectConfig};
use crate::pg::connect::opening::Opening;
use crate::pg::connect::passwords::Given;
use crate::pg::connect::socket::Socket;
use crate::pg::connect::tls::Established;
use tokio_postgres::config::{self, SslMode, SslNegotiation};

/// Starts the protocol on a connected socket, on which the caller speaks from then on; what a request to cancel has to say.
///
/// # Errors
/// What the server says, `08P01` where it is none, `28P01` where it wants a password and there is none, or the system's.
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
    let established = Established::by(socket.encryption());
    let (client, connection) = protocol.connect_raw(Opening::new(socket), established).await.map_err(|error| {
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
    drop(connection);
    CancelRequest::of(&client.cancel_token()).await
}
