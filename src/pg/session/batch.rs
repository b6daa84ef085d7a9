//! A batch on the wire: steps to one statement, and its reply back to an answer for each step.

use crate::core::{Key, Step};
use crate::error::{Error, ServerDetails};
use crate::pg::connect::pooler;
use crate::pg::session::Fault;
use crate::pg::sql;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use postgres_protocol::IsNull;
use std::io;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql, Type};

/// Names a batch of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(pub(in crate::pg) u64);

/// What has become of a batch.
#[derive(Debug)]
pub struct Answered {
    /// Which one.
    pub batch: BatchId,
    /// An answer for each step; or what went wrong with the statement, of which some steps may have been done.
    pub answers: Result<Vec<bool>, Fault>,
}

/// A batch that is under way.
#[derive(Debug)]
pub(in crate::pg) struct Batch {
    id: BatchId,
    steps: Vec<Step>,
    statement: usize,
    /// Whether it brings the text of its statement, and the server has taken that.
    parse: Option<bool>,
    answers: Option<Result<Vec<bool>, Fault>>,
}

/// The statements of batches, each sent with the first batch that needs it. The last one is for any batch.
const TEXTS: [&str; 5] = [sql::SINGLE[0], sql::SINGLE[1], sql::SINGLE[2], sql::SINGLE[3], sql::BATCH];
const NAMES: [&str; 5] = ["lock", "lock_shared", "unlock", "unlock_shared", "batch"];
const MANY: usize = 4;

/// Which statements the server knows.
#[derive(Debug, Default)]
pub(in crate::pg) struct Statements {
    /// Whether the text has been sent.
    sent: [bool; TEXTS.len()],
    /// Why the server did not take it, for batches that had relied on it.
    refused: [Option<Error>; TEXTS.len()],
}

const BINARY: i16 = 1;

impl Batch {
    /// Puts the steps on the wire.
    pub fn encode(
        id: BatchId,
        steps: Vec<Step>,
        statements: &mut Statements,
        pid: i32,
        out: &mut BytesMut,
    ) -> io::Result<Batch> {
        let mut rows = Vec::with_capacity(steps.len());
        steps.iter().for_each(|step| step.push_rows(&mut rows));
        let single = match *rows {
            [(action, key @ Key::Pair(high, low))] => action.single(key.space()).map(|place| (place, high, low)),
            _ => None,
        };
        let (statement, parse) = match single {
            Some((place, high, low)) => {
                let parameters: &[Parameter] = &[(&high, Type::INT4), (&low, Type::INT4), (&pid, Type::INT4)];
                (place, statements.put(place, parameters, out)?)
            }
            None => {
                let actions: Vec<i16> = rows.iter().map(|(action, key)| action.code(key.space())).collect();
                let (highs, lows): (Vec<i32>, Vec<i32>) = rows.iter().map(|(_, key)| key.halves()).unzip();
                let parameters: &[Parameter] = &[
                    (&actions, Type::INT2_ARRAY),
                    (&highs, Type::INT4_ARRAY),
                    (&lows, Type::INT4_ARRAY),
                    (&pid, Type::INT4),
                ];
                (MANY, statements.put(MANY, parameters, out)?)
            }
        };
        Ok(Batch { id, steps, statement, parse: parse.then_some(false), answers: None })
    }

    /// Takes the next message of its reply; `Some` after the last one.
    ///
    /// # Errors
    /// The message belongs to no reply of a batch.
    pub fn receive(&mut self, message: Message, statements: &mut Statements) -> io::Result<Option<Answered>> {
        match message {
            Message::ParseComplete => self.parse = Some(true),
            Message::BindComplete | Message::CommandComplete(_) => {}
            Message::DataRow(row) => {
                let value = row.ranges().next()?.flatten().map(|range| &row.buffer()[range]);
                self.answers = Some(self.read(value));
            }
            Message::ErrorResponse(body) => self.answers = Some(Err(self.read_failure(&body, statements)?)),
            Message::ReadyForQuery(_) => {
                let answers = self.answers.take().unwrap_or_else(|| Err(Fault::Lost(unexpected("no row"))));
                return Ok(Some(Answered { batch: self.id, answers }));
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that belongs to no batch")),
        }
        Ok(None)
    }

    fn read(&self, value: Option<&[u8]>) -> Result<Vec<bool>, Fault> {
        // Nothing is done in another backend than the session began with.
        let Some(value) = value else { return Err(Fault::Lost(Error::transaction_pooling())) };
        let rows = if self.statement == MANY {
            Vec::<bool>::from_sql(&Type::BOOL_ARRAY, value)
        } else {
            bool::from_sql(&Type::BOOL, value).map(|row| vec![row])
        };
        let mut rows = rows.map_err(|error| Fault::Lost(unexpected(&error.to_string())))?.into_iter();
        let answers = self.steps.iter().map(|step| step.answer(&mut rows)).collect();
        let too_many = rows.next().is_some();
        match answers {
            Some(answers) if !too_many => Ok(answers),
            _ => Err(Fault::Lost(unexpected("another number of steps than it was asked"))),
        }
    }

    fn read_failure(&self, body: &ErrorResponseBody, statements: &mut Statements) -> io::Result<Fault> {
        let error = read_error(body)?;
        if self.parse == Some(false) {
            statements.sent[self.statement] = false;
            statements.refused[self.statement] = Some(error.clone());
        } else if error.code() == SqlState::INVALID_SQL_STATEMENT_NAME.code() {
            if let Some(refused) = &statements.refused[self.statement] {
                return Ok(Fault::Statement(refused.clone()));
            }
        }
        let error = pooler::recognize(error);
        Ok(if error.is_transaction_pooling() { Fault::Lost(error) } else { Fault::Statement(error) })
    }
}

type Parameter<'a> = (&'a dyn ToSql, Type);

impl Statements {
    /// Puts a call of a statement on the wire, and before that its text if the server has not got it; whether that was so.
    fn put(&mut self, statement: usize, parameters: &[Parameter], out: &mut BytesMut) -> io::Result<bool> {
        let name = NAMES[statement];
        let parse = !std::mem::replace(&mut self.sent[statement], true);
        if parse {
            let types = parameters.iter().map(|(_, kind)| kind.oid());
            frontend::parse(name, TEXTS[statement], types, out)?;
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
        Ok(parse)
    }
}

/// What the server says of a failed statement.
pub(in crate::pg) fn read_error(body: &ErrorResponseBody) -> io::Result<Error> {
    let mut code = String::new();
    let mut message = String::new();
    let mut details = ServerDetails::default();
    let mut fields = body.fields();
    while let Some(field) = fields.next()? {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
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
    Ok(Error::from_server(code, message, details))
}

fn unexpected(what: &str) -> Error {
    Error::new("08P01", format!("the server answered a batch outside of the protocol: {what}"))
}
