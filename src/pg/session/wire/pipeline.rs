//! What has been asked on a connection and is not answered yet. The server answers in the order of the requests, so an answer
//! is known by its place.
//!
//! Pure: bytes go in and come out. Invariants: a request goes out whole; `expected` has an entry for each one whose answer is
//! not complete; nothing is kept or made room for because a peer announces it.

use crate::error::Error;
use crate::pg::fault::Fault;
use crate::pg::session::batch::{Answered, Batch};
use crate::pg::session::call::{self, Answer, Parameter, Reply, Statement};
use bytes::BytesMut;
use postgres_protocol::message::backend::{self, Header, Message};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// No message is longer. An answer to the largest batch takes 5 KiB.
const LONGEST_MESSAGE: usize = 1 << 20;
/// So much may be said unasked between two answers: notices, changed settings. What goes on and on is no server.
const MOST_UNASKED: usize = 1 << 20;

/// Whom an answer is for.
#[derive(Debug)]
pub(super) enum Recipient {
    Batch(Batch),
    Caller(oneshot::Sender<Answer>),
    /// The answer counts as a sign of life only.
    Nobody,
}

/// When something was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// By the clock that timers go by.
    pub at: Instant,
    /// By [`crate::pg::clock`].
    pub on: Duration,
}

/// A request that is not answered.
#[derive(Debug)]
struct Expected {
    number: u64,
    /// Of the statement.
    name: &'static str,
    brings_text: bool,
    reply: Reply,
    asked: Asked,
    /// For how long the server may be silent once it has got to this.
    limit: Duration,
    to: Recipient,
}

/// A statement that the server keeps.
#[derive(Debug)]
struct Kept {
    name: &'static str,
    /// Whether the server has its text, or is about to.
    is_sent: bool,
    /// Why it was refused, for those requests up to this number that had relied on it.
    refused: Option<(u64, Error)>,
}

/// What has been asked on a connection, as far as it is not over.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// For the server.
    pub out: BytesMut,
    /// From the server, what has not been looked at: less than a message.
    inbox: BytesMut,
    expected: VecDeque<Expected>,
    /// Answers that are complete and not handed out.
    answered: Vec<(Recipient, Answer)>,
    kept: Vec<Kept>,
    /// Whether each statement is sent each time, as the server may be another one for the next.
    pub keeps_no_statements: bool,
    /// Of the latest request.
    number: u64,
    /// How much has been said unasked since the last answer.
    unasked: usize,
}

/// What has come of received bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// How much of answers was in it, in bytes.
    pub of_answers: usize,
    /// When that was asked, of which the answer was completed last.
    pub latest: Option<Duration>,
}

impl Pipeline {
    /// Puts a request on the wire.
    pub fn ask(
        &mut self,
        statement: Statement,
        parameters: &[Parameter],
        asked: Asked,
        limit: Duration,
        to: Recipient,
    ) {
        self.number += 1;
        let statement = if self.keeps_no_statements { Statement::once(statement.text) } else { statement };
        let before = self.out.len();
        let brings_text = !self.keeps(statement.name);
        if let Err(error) = call::encode(&statement, brings_text, parameters, &mut self.out) {
            self.out.truncate(before);
            let error =
                Error::new("ERR_INTERNAL", format!("BUG: a statement could not be put into a message: {error}"));
            self.answered.push((to, Err(Fault::Statement(error))));
            return;
        }
        if brings_text {
            self.mark_sent(statement.name);
        }
        let (number, name, reply) = (self.number, statement.name, Reply::new(statement.name, brings_text));
        self.expected.push_back(Expected { number, name, brings_text, reply, asked, limit, to });
    }

    /// Takes what the server says: what has come of it, and whether the conversation goes on; if not, why: the server's last
    /// word, or `08P01`.
    pub fn receive(&mut self, bytes: &[u8]) -> (Received, Result<(), Error>) {
        self.inbox.extend_from_slice(bytes);
        let mut received = Received::default();
        loop {
            match self.receive_message(&mut received) {
                Ok(true) => {}
                Ok(false) => return (received, Ok(())),
                Err(reason) => return (received, Err(reason)),
            }
        }
    }

    /// Whether there was another message to be taken.
    fn receive_message(&mut self, received: &mut Received) -> Result<bool, Error> {
        let unreadable = |error: std::io::Error| Error::protocol(&error.to_string());
        let Some(header) = Header::parse(&self.inbox).map_err(unreadable)? else { return Ok(false) };
        let length = usize::try_from(header.len()).unwrap_or(usize::MAX).saturating_add(1);
        if length > LONGEST_MESSAGE {
            return Err(Error::protocol("a message that is too long"));
        }
        if self.inbox.len() < length {
            return Ok(false);
        }
        let tag = header.tag();
        if matches!(
            tag,
            backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG | backend::NOTIFICATION_RESPONSE_TAG
        ) {
            let _ = self.inbox.split_to(length);
            self.unasked += length;
            if self.unasked > MOST_UNASKED {
                return Err(Error::protocol("messages without end that nobody asked for"));
            }
            return Ok(true);
        }
        let Some(message) = Message::parse(&mut self.inbox).map_err(unreadable)? else { return Ok(false) };
        let Some(front) = self.expected.front_mut() else {
            return Err(match message {
                Message::ErrorResponse(body) => call::read_error(&body)?,
                _ => Error::protocol("an answer to nothing"),
            });
        };
        let is_complete = front.reply.receive(message)?;
        received.of_answers += length;
        if is_complete {
            self.unasked = 0;
            received.latest = Some(front.asked.on);
            self.complete_front();
        }
        Ok(true)
    }

    fn complete_front(&mut self) {
        let Some(Expected { number, name, brings_text, reply, to, .. }) = self.expected.pop_front() else {
            return;
        };
        let latest = self.number;
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.name == name) {
            if brings_text && !reply.took_text() {
                kept.is_sent = false;
                kept.refused = reply.error().map(|error| (latest, error.clone()));
            } else if brings_text {
                kept.refused = None;
            } else if let (Some(error), Some((until, refused))) = (reply.error(), &kept.refused) {
                if number <= *until && error.code() == "26000" {
                    let refused = Fault::of_statement(refused.clone());
                    self.answered.push((to, Err(refused)));
                    return;
                }
            }
        }
        self.answered.push((to, reply.into_answer()));
    }

    /// Whether the server has this statement, or is about to.
    fn keeps(&self, name: &str) -> bool {
        self.kept.iter().any(|kept| kept.name == name && kept.is_sent)
    }

    fn mark_sent(&mut self, name: &'static str) {
        if name.is_empty() {
            return;
        }
        match self.kept.iter_mut().find(|kept| kept.name == name) {
            Some(kept) => kept.is_sent = true,
            None => self.kept.push(Kept { name, is_sent: true, refused: None }),
        }
    }

    /// When the request was made that the server is at, and for how long it may be silent; `None`: there is none.
    pub fn front(&self) -> Option<(Instant, Duration)> {
        self.expected.front().map(|front| (front.asked.at, front.limit))
    }

    /// When the latest unanswered request was made.
    pub fn latest(&self) -> Option<Duration> {
        self.expected.back().map(|back| back.asked.on)
    }

    /// Whether answers are complete.
    pub fn has_answers(&self) -> bool {
        !self.answered.is_empty()
    }

    /// Hands complete answers out: to callers at once, of batches to whoever is told.
    pub fn hand_out(&mut self, batches: &mut Vec<Answered>) {
        for (to, answer) in self.answered.drain(..) {
            match to {
                Recipient::Batch(batch) => batches.push(batch.answered(answer)),
                // Who has stopped waiting is told nothing.
                Recipient::Caller(caller) => drop(caller.send(answer)),
                Recipient::Nobody => {}
            }
        }
    }

    /// Nothing more comes. Whoever waits for an answer is told why, but for batches; so is who has one that is not handed out
    /// yet, unless it is kept.
    pub fn end(&mut self, reason: &Error, keeps_answers: bool) {
        let answered = if keeps_answers { Vec::new() } else { std::mem::take(&mut self.answered) };
        let unanswered = self.expected.drain(..).map(|expected| expected.to);
        for to in answered.into_iter().map(|(to, _)| to).chain(unanswered) {
            if let Recipient::Caller(caller) = to {
                let _ = caller.send(Err(Fault::Lost(reason.clone())));
            }
        }
        self.out = BytesMut::new();
        self.inbox = BytesMut::new();
    }
}
