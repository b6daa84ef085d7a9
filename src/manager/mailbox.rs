//! Where answers wait for the thread that asked. The manager puts them in, the binding takes them out.

use crate::core::{RequestId, ThreadId};
use crate::error::Error;
use crate::pg::{Fenced, Holder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One JavaScript thread.
pub type ClientId = ThreadId;

impl ThreadId {
    /// A new one.
    #[must_use]
    pub fn next() -> ThreadId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ThreadId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A request of this thread to which nothing is answered.
    #[must_use]
    pub fn unanswered(self) -> RequestId {
        self.request(0)
    }

    /// The request of this thread with this number, which is 1 or greater.
    #[must_use]
    pub fn request(self, number: u64) -> RequestId {
        RequestId::new(self, number)
    }

    /// Who made the request.
    #[must_use]
    pub fn of(request: RequestId) -> ThreadId {
        request.thread
    }

    /// The number that the thread gave the request.
    #[must_use]
    pub fn number_of(request: RequestId) -> u64 {
        request.number
    }
}

/// What became of a request.
#[derive(Clone)]
pub enum Answer {
    /// The lock is held.
    Granted,
    /// The lock is taken.
    Denied,
    /// The request failed, or a closing could not be finished.
    Failed(Error),
    /// A release is done; of which hold.
    Released(RequestId),
    /// A release found nothing to release.
    NotHeld,
    /// A release came too late: the hold was lost.
    ReleaseFailed(RequestId, Error),
    /// A hold is lost.
    Lost(Error),
    /// Who holds a key or waits for it.
    Holders(Vec<Holder>),
    /// A hold stood at this time of the server's clock, in milliseconds since 1970.
    Verified(f64),
    /// A hold is fenced; whether another hold of its owner has waited for those before it.
    Fenced(Fenced, bool),
    /// An owner is closed, and the sessions that only it used.
    Closed,
    /// A password is wanted for a new session, from this function of the client's.
    PasswordWanted(RequestId),
}

/// The answers for one client.
pub struct Mailbox {
    /// Whose it is.
    pub client: ClientId,
    answers: Mutex<Vec<(RequestId, Answer)>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// An empty one; `wake` is called, from any thread, when something arrives while it is empty.
    pub fn new(client: ClientId, wake: impl Fn() + Send + Sync + 'static) -> Mailbox {
        Mailbox { client, answers: Mutex::new(Vec::new()), wake: Box::new(wake) }
    }

    /// Everything that has arrived, in order.
    #[must_use]
    pub fn take(&self) -> Vec<(RequestId, Answer)> {
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The request that has been granted, if that is all that has arrived.
    #[must_use]
    pub fn take_grant(&self) -> Option<RequestId> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers[..] {
            [(request, Answer::Granted)] => {
                answers.clear();
                Some(request)
            }
            _ => None,
        }
    }

    /// Whether something has arrived.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.answers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Puts an answer in; whether the mailbox was empty, so that its client has to be woken.
    pub(super) fn put(&self, request: RequestId, answer: Answer) -> bool {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push((request, answer));
        answers.len() == 1
    }

    /// Puts in an answer that was found on the client's own thread, which looks for it at once.
    pub fn put_own(&self, request: RequestId, answer: Answer) {
        self.put(request, answer);
    }

    /// Puts an answer in, and wakes the client where it does not know of any yet.
    pub fn deliver(&self, request: RequestId, answer: Answer) {
        if self.put(request, answer) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        (self.wake)();
    }
}
