//! What the server says until the session is ready, message by message.
//!
//! Invariant: nothing is kept or made room for because the server announces it, and all of it has an end.

use crate::error::Error;
use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{NOTICE_RESPONSE_TAG, PARAMETER_STATUS_TAG};
use std::io;
use tokio::io::{copy, sink, AsyncRead, AsyncReadExt};

/// Type and length of a message; the length counts itself, and not the type.
pub(super) const HEADER: usize = 5;
pub(super) const LENGTH: usize = 4;
/// What the server asks.
pub(super) const AUTHENTICATION: u8 = b'R';

/// What the server asks has at most so many bytes, as in libpq.
const LONGEST_REQUEST: usize = 2000;
/// So many has a refusal before the client is let in, as in libpq.
const LONGEST_REFUSAL: usize = 30_000;
/// So many has what is kept afterwards, as on an open session: the database itself may refuse at length.
const LONGEST_MESSAGE: usize = 1 << 20;
/// So many has all of it. A database may have much to tell to whoever logs in, and to libpq it may go on for ever.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// A shorter message counts as one of so many, as it takes as much work.
const LEAST_BYTES: usize = 256;

/// The server's next message, whole, or the header alone of one that nobody reads; `is_in`: the client is let in. Its length is
/// taken from `left`.
///
/// # Errors
/// `08P01`: it is longer than any is, or than what is left. The system's.
pub(super) async fn receive(
    server: &mut (impl AsyncRead + Unpin),
    is_in: bool,
    left: &mut usize,
) -> Result<BytesMut, Error> {
    let mut message = BytesMut::zeroed(HEADER);
    server.read_exact(&mut message).await.map_err(|error| failure(&error))?;
    let (kind, length) = (message[0], (&message[1..]).get_u32() as usize);
    let is_read = ![NOTICE_RESPONSE_TAG, PARAMETER_STATUS_TAG].contains(&kind);
    let most = match kind {
        AUTHENTICATION => LONGEST_REQUEST,
        _ if !is_read => MOST_BYTES,
        _ if is_in => LONGEST_MESSAGE,
        _ => LONGEST_REFUSAL,
    };
    if !(LENGTH..=most).contains(&length) {
        return Err(Error::protocol("a message of a length that no login has"));
    }
    let rest = left.checked_sub((1 + length).max(LEAST_BYTES));
    *left = rest.ok_or_else(|| Error::protocol("messages without end before the session is ready"))?;
    let length = length - LENGTH;
    let mut body = server.take(length as u64);
    if is_read {
        while body.limit() > 0 && body.read_buf(&mut message).await.map_err(|error| failure(&error))? > 0 {}
    } else {
        copy(&mut body, &mut sink()).await.map_err(|error| failure(&error))?;
    }
    if body.limit() > 0 {
        return Err(failure(&io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(message)
}

fn failure(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::new("ECONNRESET", "the server closed the connection"),
        _ => Error::system(error, None),
    }
}
