//! An encrypted connection as the layers above see it.

use super::failure;
use rustls::ClientConnection;
use std::io::{self, Read, Write};

/// How a connection is encrypted.
#[derive(Clone, Debug)]
pub(in crate::pg) struct Encryption {
    /// The protocol's version, to be read.
    pub version: &'static str,
    /// What ties the proof of a password to this connection; `None` where the certificate's kind has no such thing.
    pub end_point: Option<Vec<u8>>,
}

/// What encrypts a connection. Failures are told in this crate's words.
pub(in crate::pg) struct Encrypted {
    session: ClientConnection,
    encryption: Encryption,
}

impl Encrypted {
    pub(in crate::pg) fn new(session: ClientConnection, encryption: Encryption) -> Encrypted {
        Encrypted { session, encryption }
    }

    pub fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// Reads and decrypts what has arrived at `source`: nothing at its end.
    pub fn receive(&mut self, source: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // PostgreSQL's messages tell their own length: what ends early is noticed without TLS saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
            self.session.read_tls(source)?;
            self.session.process_new_packets().map_err(|error| io::Error::other(failure::of(&error)))?;
        }
    }

    /// Encrypts as much as there is room for, and writes what `sink` takes of it; how much was encrypted.
    pub fn send(&mut self, sink: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        if self.session.wants_write() {
            self.flush(sink)?;
        }
        let taken = self.session.writer().write(bytes)?;
        match self.flush(sink) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Whether something is encrypted that is not written.
    pub fn has_to_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Writes what is encrypted already.
    pub fn flush(&mut self, sink: &mut impl Write) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(sink)?;
        }
        Ok(())
    }
}
