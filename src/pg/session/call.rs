//! A call: one statement with its parameters, and what the server has to answer to it.

use crate::error::{Error, ServerDetails};
use crate::pg::fault::Fault;
use crate::pg::session::row::Row;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use postgres_protocol::IsNull;
use std::io;
use tokio_postgres::types::{ToSql, Type};

/// A statement of the server.
#[derive(Clone, Copy, Debug)]
pub(in crate::pg) struct Statement<'a> {
    /// What the server keeps it by; empty: it is sent each time.
    pub name: &'static str,
    pub text: &'a str,
}

impl<'a> Statement<'a> {
    /// One that is used now and then.
    pub const fn once(text: &'a str) -> Statement<'a> {
        Statement { name: "", text }
    }
}

/// A value, and its type at the server.
pub(in crate::pg) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The rows of an answer, or why there are none.
pub(in crate::pg) type Answer = Result<Vec<Row>, Fault>;

/// No answer is longer: the locks of a session, or those who wait for one, need a tenth at the most.
const MOST_BYTES: usize = 16 << 20;
/// A text that the server says of an error is cut after so many bytes.
const LONGEST_TEXT: usize = 8192;
const BINARY: i16 = 1;

/// Writes a call of the statement: its text if the server has not got that, the parameters, and the end of the request.
pub(super) fn encode(
    statement: &Statement,
    brings_text: bool,
    parameters: &[Parameter],
    out: &mut BytesMut,
) -> io::Result<()> {
    let name = statement.name;
    if brings_text {
        if is_closed_first(name) {
            // A session that a pooler has lent before may have left one by this name.
            frontend::close(b'S', name, out)?;
        }
        frontend::parse(name, statement.text, parameters.iter().map(|(_, kind)| kind.oid()), out)?;
    }
    let serialize = |(value, kind): &Parameter, out: &mut BytesMut| {
        value.to_sql_checked(kind, out).map(|is_null| match is_null {
            tokio_postgres::types::IsNull::Yes => IsNull::Yes,
            tokio_postgres::types::IsNull::No => IsNull::No,
        })
    };
    frontend::bind("", name, [BINARY], parameters, serialize, [BINARY], out).map_err(|error| match error {
        frontend::BindError::Serialization(error) => error,
        frontend::BindError::Conversion(error) => io::Error::other(error),
    })?;
    frontend::execute("", 0, out)?;
    frontend::sync(out);
    Ok(())
}

/// Whether a statement that is sent takes the place of one that the server may keep by that name.
fn is_closed_first(name: &str) -> bool {
    !name.is_empty()
}

/// What the server has to say next of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// That another statement of this name is gone; somebody in between may leave it out.
    Close,
    Parse,
    Bind,
    Rows,
    Ready,
}

/// An answer, as far as it has come.
#[derive(Debug)]
pub(super) struct Reply {
    stage: Stage,
    rows: Vec<Row>,
    size: usize,
    error: Option<Error>,
    /// Whether the server has taken the text that the call brought.
    took_text: bool,
}

impl Reply {
    /// To a call of a statement by this name, of which nothing has come.
    pub fn new(name: &str, brings_text: bool) -> Reply {
        let stage = match brings_text {
            true if is_closed_first(name) => Stage::Close,
            true => Stage::Parse,
            false => Stage::Bind,
        };
        Reply { stage, rows: Vec::new(), size: 0, error: None, took_text: false }
    }

    /// Takes the next message; whether it was the last.
    ///
    /// # Errors
    /// `08P01`: the message does not belong there. What the server says, where it is its last word.
    pub fn receive(&mut self, message: Message) -> Result<bool, Error> {
        self.stage = match (message, self.stage) {
            (Message::CloseComplete, Stage::Close) => Stage::Parse,
            (Message::ParseComplete, Stage::Close | Stage::Parse) => {
                self.took_text = true;
                Stage::Bind
            }
            (Message::BindComplete, Stage::Bind) => Stage::Rows,
            (Message::DataRow(body), Stage::Rows) => {
                let row = Row::of(&body).map_err(|error| Error::protocol(&error.to_string()))?;
                self.size += row.size();
                if self.size > MOST_BYTES {
                    return Err(Error::protocol("an answer without end"));
                }
                self.rows.push(row);
                Stage::Rows
            }
            (Message::CommandComplete(_) | Message::EmptyQueryResponse, Stage::Rows) => Stage::Ready,
            (Message::ErrorResponse(body), Stage::Close | Stage::Parse | Stage::Bind | Stage::Rows) => {
                let error = read_error(&body)?;
                if error.server().is_none_or(|server| server.severity != "ERROR") {
                    return Err(error);
                }
                self.error = Some(error);
                Stage::Ready
            }
            (Message::ErrorResponse(body), Stage::Ready) => return Err(read_error(&body)?),
            (Message::ReadyForQuery(_), Stage::Ready) => return Ok(true),
            _ => return Err(Error::protocol("a message that belongs to no answer")),
        };
        Ok(false)
    }

    /// The server's error, if it has said one.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Whether the server has taken the text that the call brought.
    pub fn took_text(&self) -> bool {
        self.took_text
    }

    /// The answer, after the last message.
    pub fn into_answer(self) -> Answer {
        match self.error {
            Some(error) => Err(Fault::of_statement(error)),
            None => Ok(self.rows),
        }
    }
}

/// What the server says of a failure.
///
/// # Errors
/// `08P01`: it is unreadable.
pub(in crate::pg) fn read_error(body: &ErrorResponseBody) -> Result<Error, Error> {
    let mut code = String::new();
    let mut message = String::new();
    let mut details = ServerDetails::default();
    let mut fields = body.fields();
    while let Some(field) = fields.next().map_err(|error| Error::protocol(&error.to_string()))? {
        let value = || {
            let bytes = field.value_bytes();
            String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST_TEXT)]).into_owned()
        };
        match field.type_() {
            // The severity that is not translated, where the server sends both (manual, section 54.8).
            b'V' => details.severity = value(),
            b'S' if details.severity.is_empty() => details.severity = value(),
            b'C' => code = value(),
            b'M' => message = value(),
            b'D' => details.detail = Some(value()),
            b'H' => details.hint = Some(value()),
            _ => {}
        }
    }
    // What to match on has a form (manual, appendix A).
    if code.len() != 5 || !code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
        return Err(Error::protocol("a failure without a code"));
    }
    Ok(Error::from_server(code, message, details))
}
