//! A session's socket, read by this JavaScript thread.

use super::unsent::Unsent;
use crate::manager::SessionReader;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;
use std::sync::Arc;

/// The right to read a session's socket.
#[napi]
pub struct Reader {
    pub(super) reader: SessionReader,
    pub(super) unsent: Arc<Unsent>,
}

#[napi]
impl Reader {
    /// A descriptor to read from, which belongs to the caller; -1: there is nothing to be read any more.
    #[napi]
    #[must_use]
    pub fn begin(&self) -> i32 {
        #[cfg(unix)]
        if let Some(descriptor) = self.reader.begin() {
            return std::os::fd::IntoRawFd::into_raw_fd(descriptor);
        }
        -1
    }

    /// Hands in the first bytes of the buffer. Replies whether there is mail, and something to be sent.
    #[napi]
    pub fn hand_in(&self, buffer: BufferSlice, count: u32) -> u32 {
        let count = buffer.len().min(count as usize);
        self.unsent.flags(self.reader.manager(), &self.reader.hand_in(&buffer[..count]))
    }

    /// Nothing is read from the descriptor any more.
    #[napi]
    pub fn end(&self) {
        self.reader.end();
    }
}
