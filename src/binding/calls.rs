//! The two calls that everybody makes again and again. Functions rather than methods of [`super::owner::Owner`], as napi would
//! spend more time on finding the object than they do: the owner is known by a number, on its thread.

use super::numbers::{exact, number};
use super::panics::caught;
use super::unsent::{Unsent, MAIL};
use crate::core::lock_table::{Admission, Release, Request};
use crate::core::{Key, Mode, OwnerId, RequestId};
use crate::error::Error;
use crate::manager::{Answer, ClientId, Mailbox, Manager};
use foldhash::HashMap;
use napi_derive::napi;
use std::cell::RefCell;
use std::sync::Arc;

/// Flag of a call: in shared mode.
#[napi]
pub const SHARED: u32 = 1;
/// Flag of a call: it waits for the lock.
#[napi]
pub const PATIENT: u32 = 2;
/// Flag of a call: the hold ends with a function that runs under it, so `unlock()` means another one where there is one.
#[napi]
pub const SCOPED: u32 = 4;
/// Flag of a call: the halves are of a single 64-bit key.
#[napi]
pub const SINGLE: u32 = 8;
/// Flag of a call: it shares its hold with no other call.
#[napi]
pub const ALONE: u32 = 16;
/// Flag of a call: its hold keeps the process alive. Read by JavaScript alone.
#[napi]
pub const KEEP_ALIVE: u32 = 32;

/// Reply to a call, to which the flags of [`Unsent`] are added: the answer comes by the mailbox.
#[napi]
pub const PENDING: u32 = 0;
/// Reply to a call: granted, released.
#[napi]
pub const YES: u32 = 1;
/// Reply to a call: the lock is taken, there was nothing to release.
#[napi]
pub const NO: u32 = 2;
/// A reply's flags lie below this number; above them, times it, the number of a request that was granted.
#[napi]
pub const GRANT_FACTOR: u32 = 16;

/// What a call needs of its owner.
struct Caller {
    opened: Result<(Arc<Manager>, OwnerId), Error>,
    mailbox: Arc<Mailbox>,
    unsent: Arc<Unsent>,
}

#[derive(Default)]
struct Callers {
    by_number: HashMap<u32, Caller>,
    registered: u32,
}

thread_local! {
    static CALLERS: RefCell<Callers> = RefCell::default();
}

/// Makes an owner known to the calls of this thread, by the number that is returned.
pub(super) fn register(
    opened: Result<(Arc<Manager>, OwnerId), Error>,
    mailbox: Arc<Mailbox>,
    unsent: Arc<Unsent>,
) -> u32 {
    CALLERS.with_borrow_mut(|callers| loop {
        callers.registered = callers.registered.wrapping_add(1);
        if let std::collections::hash_map::Entry::Vacant(place) = callers.by_number.entry(callers.registered) {
            place.insert(Caller { opened, mailbox, unsent });
            return callers.registered;
        }
    })
}

/// The owner makes no calls any more.
pub(super) fn forget(number: u32) {
    // At the end of a thread the table may be gone first.
    let _ = CALLERS.try_with(|callers| callers.borrow_mut().by_number.remove(&number));
}

/// Asks for a lock; `id` names the request and its hold. Replies granted, denied or pending.
#[napi(catch_unwind)]
#[must_use]
pub fn acquire(owner: u32, high: i32, low: i32, flags: u32, id: f64) -> u32 {
    CALLERS.with_borrow(|callers| match callers.by_number.get(&owner) {
        Some(caller) => caller.acquire(high, low, flags, id),
        None => NO,
    })
}

/// Finds out whether holds of the owner's process are still its own, where the last sign of life of a session is so old that it
/// does not promise that any more. Replies whether there is mail.
#[napi(catch_unwind)]
#[must_use]
pub fn look(owner: u32) -> u32 {
    CALLERS.with_borrow(|callers| callers.by_number.get(&owner).map_or(0, Caller::look))
}

/// Gives up the hold with this number. Replies done, not held or pending; and, times [`GRANT_FACTOR`], the number of the
/// request that was granted by it, where that is all the mail there is: handing on within a thread is then one call.
#[napi(catch_unwind)]
#[must_use]
pub fn release(owner: u32, hold: f64, ticket: f64) -> f64 {
    CALLERS.with_borrow(|callers| match callers.by_number.get(&owner) {
        Some(caller) => caller.release(hold, ticket),
        None => f64::from(NO),
    })
}

impl Caller {
    fn acquire(&self, high: i32, low: i32, flags: u32, id: f64) -> u32 {
        let failed = |error: Error| {
            self.mailbox.put_own(self.request(id), Answer::Failed(error));
            PENDING | MAIL
        };
        let (manager, owner) = match &self.opened {
            Ok((manager, owner)) => (manager, *owner),
            Err(error) => return failed(error.clone()),
        };
        let id = self.request(id);
        let request = Request {
            id,
            owner: owner_of_call(owner, id, flags),
            key: key(high, low, flags),
            mode: mode(flags),
            patient: flags & PATIENT != 0,
            scoped: flags & SCOPED != 0,
        };
        let reply = match caught(manager, || manager.acquire(request)) {
            Ok(reply) => reply,
            Err(error) => return failed(error),
        };
        let news = self.unsent.flags(manager, &reply);
        match reply.answer {
            Ok(Admission::Granted) => YES | news,
            Ok(Admission::Denied) => NO | news,
            Ok(Admission::Pending | Admission::Deadlock) => PENDING | news,
            Err(error) => failed(error) | news,
        }
    }

    fn look(&self) -> u32 {
        let Ok((manager, _)) = &self.opened else { return 0 };
        // Of a bug the holders are told as of a loss.
        caught(manager, || manager.check_liveness(self.mailbox.client))
            .map_or(0, |reply| self.unsent.flags(manager, &reply))
    }

    fn release(&self, hold: f64, ticket: f64) -> f64 {
        let Ok((manager, _)) = &self.opened else { return f64::from(NO) };
        let (hold, ticket) = (self.request(hold), self.request(ticket));
        let reply = match caught(manager, || manager.release(hold, ticket)) {
            Ok(reply) => reply,
            Err(error) => {
                self.mailbox.put_own(ticket, Answer::ReleaseFailed(hold, error));
                return f64::from(PENDING | MAIL);
            }
        };
        let answer = match reply.answer {
            Release::Done(_) => YES,
            Release::NotHeld => NO,
            Release::Pending => PENDING,
        };
        let news = self.unsent.flags(manager, &reply);
        let granted = if reply.mail { self.mailbox.take_grant() } else { None };
        match granted {
            Some(request) => {
                f64::from(answer | (news & !MAIL)) + f64::from(GRANT_FACTOR) * exact(ClientId::number_of(request))
            }
            None => f64::from(answer | news),
        }
    }

    fn request(&self, id: f64) -> RequestId {
        self.mailbox.client.request(number(id))
    }
}

/// The owner of what a call asks for: everybody's, or one of its own.
pub(super) fn owner_of_call(owner: OwnerId, id: RequestId, flags: u32) -> OwnerId {
    if flags & ALONE == 0 {
        owner
    } else {
        owner.of_call(id)
    }
}

pub(super) fn mode(flags: u32) -> Mode {
    if flags & SHARED == 0 {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

pub(super) fn key(high: i32, low: i32, flags: u32) -> Key {
    if flags & SINGLE == 0 {
        Key::Pair(high, low)
    } else {
        Key::single(high, low)
    }
}
