//! Who is told: the clients with their mailboxes, the owners that they have opened, and the calls that close these.

use super::mailbox::{Answer, ClientId, Mailbox};
use crate::core::lock_table::Outcome;
use crate::core::{OwnerId, RequestId};
use crate::error::Error;
use foldhash::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Clients {
    mailboxes: HashMap<ClientId, Arc<Mailbox>>,
    /// Mailboxes that were empty and are not any more.
    to_wake: Vec<Arc<Mailbox>>,
    owners: HashMap<OwnerId, ClientId>,
    /// Calls that close an owner, and how many of its releases are still unconfirmed.
    closing: HashMap<RequestId, usize>,
    /// Those that wait for the last session to be gone, and whether one has come since that was asked last.
    closers_waiting: Vec<RequestId>,
    has_new_closer: bool,
}

impl Clients {
    pub fn open_owner(&mut self, owner: OwnerId, mailbox: &Arc<Mailbox>) {
        self.mailboxes.entry(mailbox.client).or_insert_with(|| Arc::clone(mailbox));
        self.owners.insert(owner, mailbox.client);
        // The sessions are needed once more.
        self.tell_closers();
    }

    pub fn is_open(&self, owner: OwnerId) -> bool {
        self.owners.contains_key(&owner.group())
    }

    /// Whether some owner may still call.
    pub fn has_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    pub fn owners_of(&self, client: ClientId) -> Vec<OwnerId> {
        self.owners.iter().filter(|(_, whose)| **whose == client).map(|(&owner, _)| owner).collect()
    }

    /// The client's thread has ended, and its owners are closed.
    pub fn forget(&mut self, client: ClientId) {
        self.mailboxes.remove(&client);
    }

    /// An owner begins to be closed. Its releases may be confirmed from here on; how many there are is told by
    /// [`Clients::expect_releases`].
    pub fn close_owner(&mut self, owner: OwnerId, ticket: RequestId) {
        self.owners.remove(&owner);
        *self.closing.entry(ticket).or_insert(0) += UNKNOWN;
    }

    /// So many releases of the owner that is being closed are to be confirmed in all.
    pub fn expect_releases(&mut self, ticket: RequestId, count: usize) {
        if let Some(left) = self.closing.get_mut(&ticket) {
            *left = *left - UNKNOWN + count + 1;
        }
        self.release_confirmed(ticket);
    }

    /// One more release of an owner that is being closed is confirmed.
    fn release_confirmed(&mut self, ticket: RequestId) {
        let Some(left) = self.closing.get_mut(&ticket) else { return };
        *left -= 1;
        if *left == 0 {
            self.closing.remove(&ticket);
            self.closers_waiting.push(ticket);
            self.has_new_closer = true;
        }
    }

    /// Whether somebody waits for the last session to be gone, who did not when that was asked last.
    pub fn take_new_closer(&mut self) -> bool {
        std::mem::take(&mut self.has_new_closer)
    }

    /// Answers those who have closed an owner and wait for nothing more.
    pub fn tell_closers(&mut self) {
        for ticket in std::mem::take(&mut self.closers_waiting) {
            self.post(ticket, Answer::Closed);
        }
    }

    pub fn post(&mut self, request: RequestId, answer: Answer) {
        if request == request.thread.unanswered() {
            return;
        }
        // A client that is gone is told nothing.
        if let Some(mailbox) = self.mailboxes.get(&request.thread) {
            if mailbox.put(request, answer) {
                self.to_wake.push(Arc::clone(mailbox));
            }
        }
    }

    /// Tells the lock table's outcomes; `cause`: why, where they are bad news.
    pub fn post_outcomes(&mut self, outcomes: &mut Vec<(RequestId, Outcome)>, cause: Option<&Error>) {
        let cause = || cause.cloned().unwrap_or_else(|| Error::new("ECONNRESET", "the session that held it is gone"));
        for (request, outcome) in outcomes.drain(..) {
            let answer = match outcome {
                Outcome::Granted => Answer::Granted,
                Outcome::Denied => Answer::Denied,
                Outcome::Failed => Answer::Failed(cause()),
                Outcome::Closed => Answer::Failed(Error::client_closed()),
                Outcome::Deadlock => Answer::Failed(Error::deadlock()),
                Outcome::Lost => Answer::Lost(Error::lock_lost(&cause())),
                Outcome::NotHeld => Answer::NotHeld,
                Outcome::Released { .. } | Outcome::ReleaseFailed { .. } if self.closing.contains_key(&request) => {
                    self.release_confirmed(request);
                    continue;
                }
                Outcome::Released { hold } => Answer::Released(hold),
                Outcome::ReleaseFailed { hold } => Answer::ReleaseFailed(hold, Error::lock_lost(&cause())),
            };
            self.post(request, answer);
        }
    }

    /// The mailboxes whose clients are to be woken.
    pub fn take_to_wake(&mut self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.to_wake)
    }
}

/// More releases than an owner can have: some may be confirmed before their number is known.
const UNKNOWN: usize = usize::MAX / 2;
