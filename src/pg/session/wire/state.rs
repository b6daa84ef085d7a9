//! What a wire has behind its lock.

use super::attendance::Attendance;
use super::pipeline::{Pipeline, Received};
use super::silence;
use crate::error::Error;
use crate::pg::clock;
use crate::pg::connect::socket;
use crate::pg::connect::tls::Encrypted;
use bytes::Buf;
use socket2::Socket;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// What is to be sent, what is expected, what has arrived; and for how long nothing has.
pub(super) struct State {
    pub tls: Option<Box<Encrypted>>,
    pub pipeline: Pipeline,
    pub batches: u64,
    /// When that was asked, by [`clock`], which the server has answered last.
    pub proof: Duration,
    /// Since when the server has not got on with what it was asked: it answered, or took what was to be written. A part of an
    /// answer counts for what it is worth.
    pub progress: Instant,
    /// Whether something that was to be written has found no room.
    pub waits_for_room: bool,
    /// Why nothing can be written any more. What the server has said before is read all the same.
    pub unwritable: Option<Error>,
    /// Whether the I/O thread looks again without being told.
    pub is_watched: bool,
    pub attendance: Attendance,
    pub is_over: bool,
}

impl State {
    /// Of a session that was started at `since`, by [`clock`].
    pub fn new(tls: Option<Box<Encrypted>>, since: Duration) -> State {
        State {
            tls,
            pipeline: Pipeline::default(),
            batches: 0,
            proof: since,
            progress: Instant::now(),
            waits_for_room: false,
            unwritable: None,
            is_watched: true,
            attendance: Attendance::Free,
            is_over: false,
        }
    }

    /// How long ago that was asked for which the server has last shown that it is there.
    pub fn age_of_proof(&self) -> Duration {
        clock::now().saturating_sub(self.proof)
    }

    /// Something was received. An answer that is complete begins the time of the next; see [`silence::got_on`] for parts.
    pub fn note_answers(&mut self, received: Received) {
        let now = Instant::now();
        if let Some(asked) = received.latest {
            self.proof = self.proof.max(asked);
            self.progress = now;
        } else if let (1.., Some((asked, limit))) = (received.of_answers, self.pipeline.front()) {
            self.progress = silence::got_on(asked.max(self.progress), limit, received.of_answers, now);
        }
    }

    /// Writes as much as there is room for.
    pub fn write(&mut self, socket: &Socket) {
        match self.try_write(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.unwritable = Some(Error::system(&error, None));
                self.pipeline.out.clear();
            }
            _ => {}
        }
        self.waits_for_room = self.has_to_write();
    }

    fn try_write(&mut self, socket: &Socket) -> io::Result<()> {
        if self.unwritable.is_some() || self.is_over {
            return Ok(());
        }
        while !self.pipeline.out.is_empty() {
            let count = socket::send(socket, &mut self.tls, &self.pipeline.out)?;
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.pipeline.out.advance(count);
            self.note_room();
        }
        socket::flush(socket, &mut self.tls)?;
        self.note_room();
        Ok(())
    }

    /// Something was written. That tells of the server only where there had been no room: what is asked anew finds room for a long
    /// time after a link has died.
    fn note_room(&mut self) {
        if self.waits_for_room {
            self.progress = Instant::now();
        }
    }

    /// Whether there was no room for something.
    pub fn has_to_write(&self) -> bool {
        !self.is_over && (!self.pipeline.out.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_to_write()))
    }
}
