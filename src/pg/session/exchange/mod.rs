//! Two speakers on one connection: `tokio_postgres`, and the batches of this crate, which would wait there for a task and a
//! channel. The server answers in the order of the requests, so an answer is known by its place.
//!
//! Pure: bytes go in and come out. Invariant: a request goes out whole, and `expected` has an entry for each one that the
//! server has not finished to answer.

use crate::core::Step;
use crate::error::Error;
use crate::pg::session::batch::{Answered, Batch, BatchId, Statements};
use bytes::BytesMut;
use postgres_protocol::message::backend::{self, Header, Message};
use std::collections::VecDeque;
use std::io;

/// What the length of a message takes, which counts itself.
const LENGTH: usize = 4;
/// No answer to a batch is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// Whose request it is that the server answers.
#[derive(Debug)]
enum Expected {
    Client,
    Batch(Batch),
}

/// What has been said on a connection, as far as it is not over.
#[derive(Debug)]
pub(super) struct Exchange {
    /// For the server.
    pub out: BytesMut,
    /// Of the client, a request that is not whole yet.
    from_client: BytesMut,
    /// Whether the client has opened the conversation: its first message has no type.
    has_begun: bool,
    /// From the server, what has not been looked at.
    inbox: BytesMut,
    /// How much of the client's current message is still to come.
    passing: usize,
    /// For the client.
    pub for_client: BytesMut,
    expected: VecDeque<Expected>,
    statements: Statements,
    batches: u64,
    /// The server has left the protocol: the client, which gets everything from there on, will find out how.
    is_broken: bool,
}

impl Exchange {
    /// Of a connection on which nothing has been said.
    pub fn new() -> Exchange {
        Exchange {
            out: BytesMut::new(),
            from_client: BytesMut::new(),
            has_begun: false,
            inbox: BytesMut::new(),
            passing: 0,
            for_client: BytesMut::new(),
            // Its start is answered as a request is.
            expected: VecDeque::from([Expected::Client]),
            statements: Statements::default(),
            batches: 0,
            is_broken: false,
        }
    }

    /// The client says something.
    pub fn say(&mut self, bytes: &[u8]) {
        self.from_client.extend_from_slice(bytes);
        let mut whole = 0;
        let mut at = 0;
        loop {
            let kind = if self.has_begun { Some(self.from_client.get(at).copied()) } else { None };
            let begin = at + usize::from(kind.is_some());
            let Some(length) = self.from_client.get(begin..begin + LENGTH) else { break };
            let length = u32::from_be_bytes(length.try_into().expect("BUG: four bytes are four bytes"));
            at = begin + length.max(4) as usize;
            if at > self.from_client.len() {
                break;
            }
            match kind.flatten() {
                // The end of a request: sync, query.
                Some(b'S' | b'Q') => {
                    self.expected.push_back(Expected::Client);
                    whole = at;
                }
                // The start, what it is asked then, and the goodbye.
                None | Some(b'p' | b'X') => whole = at,
                Some(_) => {}
            }
            self.has_begun = true;
        }
        self.out.unsplit(self.from_client.split_to(whole));
    }

    /// A batch goes out; nothing is done by any backend but `pid`.
    pub fn send(&mut self, steps: Vec<Step>, pid: i32) -> BatchId {
        self.batches += 1;
        let id = BatchId(self.batches);
        let batch = Batch::encode(id, steps, &mut self.statements, pid, &mut self.out)
            .expect("BUG: a batch is longer than a message can be");
        self.expected.push_back(Expected::Batch(batch));
        id
    }

    /// The server says something. What is for the client is put there; what has become of batches is told.
    pub fn hear(&mut self, bytes: &[u8], answered: &mut Vec<Answered>) {
        self.inbox.extend_from_slice(bytes);
        while !self.is_broken {
            if self.passing > 0 {
                let now = self.passing.min(self.inbox.len());
                self.passing -= now;
                self.for_client.unsplit(self.inbox.split_to(now));
                if self.passing > 0 {
                    break;
                }
            }
            match self.hear_message(answered) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => self.is_broken = true,
            }
        }
        if self.is_broken {
            self.for_client.unsplit(self.inbox.split());
        }
    }

    /// Whether there was another message to be taken.
    fn hear_message(&mut self, answered: &mut Vec<Answered>) -> io::Result<bool> {
        let Some(header) = Header::parse(&self.inbox)? else { return Ok(false) };
        let length = usize::try_from(header.len()).unwrap_or(usize::MAX).saturating_add(1);
        let told_at_any_time = matches!(
            header.tag(),
            backend::NOTICE_RESPONSE_TAG | backend::PARAMETER_STATUS_TAG | backend::NOTIFICATION_RESPONSE_TAG
        );
        let Some(Expected::Batch(batch)) = self.expected.front_mut().filter(|_| !told_at_any_time) else {
            if header.tag() == backend::READY_FOR_QUERY_TAG {
                self.expected.pop_front();
            }
            self.passing = length;
            return Ok(true);
        };
        if length > LONGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.inbox.len() < length {
            return Ok(false);
        }
        if header.tag() == backend::ERROR_RESPONSE_TAG && ends_session(&self.inbox[..length])? {
            self.passing = length;
            return Ok(true);
        }
        let Some(message) = Message::parse(&mut self.inbox)? else { return Ok(false) };
        if let Some(done) = batch.receive(message, &mut self.statements)? {
            answered.push(done);
            self.expected.pop_front();
        }
        Ok(true)
    }
}

/// Whether this error is the last that the server says: no answer is finished after it.
fn ends_session(message: &[u8]) -> io::Result<bool> {
    match Message::parse(&mut BytesMut::from(message))? {
        Some(Message::ErrorResponse(body)) => {
            let error: Error = crate::pg::session::batch::read_error(&body)?;
            Ok(error.server().is_none_or(|server| server.severity != "ERROR"))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests;
