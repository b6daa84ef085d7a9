//! The locks at one server, as one `advisoryLock(…)` call uses them.

use super::client::{exact, Client};
use super::unsent::{Unsent, MAIL};
use crate::core::lock_table::{Admission, Release, Request};
use crate::core::{Key, Mode, OwnerId, RequestId};
use crate::error::Error;
use crate::manager::{manager_for, Answer, ClientId, Mailbox, Manager, Settings};
use crate::pg::ConnectConfig;
use napi_derive::napi;
use std::sync::Arc;
use std::time::Duration;

/// Flags of calls; `lib/client.js` has the same table.
const SHARED: u32 = 1;
const PATIENT: u32 = 2;
const SCOPED: u32 = 4;
/// The halves are of a single 64-bit key.
const SINGLE: u32 = 8;
/// The call shares its hold with no other call.
const ALONE: u32 = 16;

/// Replies to calls, to which the flags of [`Unsent`] are added; `lib/client.js` has the same table.
const PENDING: u32 = 0;
const YES: u32 = 1;
const NO: u32 = 2;
/// What lies above the flags.
const NUMBER: f64 = 16.0;

/// Options of `advisoryLock(connectionString, options)`, checked by JavaScript; times in milliseconds.
#[napi(object)]
pub struct Options {
    /// Most sessions in the server's queue.
    pub max_wait_connections: u32,
    /// Until an unused session is closed.
    pub idle_timeout: u32,
    /// For one attempt to connect.
    pub connect_timeout: Option<u32>,
    /// Shown in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Between signs of life.
    pub heartbeat: u32,
}

/// One group of owners. It is closed when JavaScript has dropped it, which keeps it while anything is held or pending.
#[napi]
pub struct Owner {
    /// An unusable connection string is reported by each call.
    opened: Result<(Arc<Manager>, OwnerId), Error>,
    mailbox: Arc<Mailbox>,
    unsent: Arc<Unsent>,
}

#[napi]
impl Owner {
    /// Reads the connection string; connects nowhere yet.
    #[napi(constructor)]
    pub fn new(client: &Client, connection_string: String, options: Options) -> Owner {
        let milliseconds = |number: u32| Duration::from_millis(u64::from(number));
        let settings = Settings {
            max_wait_connections: options.max_wait_connections as usize,
            idle_timeout: milliseconds(options.idle_timeout),
            heartbeat: milliseconds(options.heartbeat),
        };
        let config = ConnectConfig::parse(&connection_string, |name| std::env::var(name).ok()).map(|mut config| {
            if let Some(limit) = options.connect_timeout {
                config = config.with_connect_timeout(milliseconds(limit));
            }
            if let Some(name) = options.application_name {
                config = config.with_application_name(name);
            }
            config
        });
        let opened = config.map(|config| {
            let manager = manager_for(config, settings);
            let id = manager.open_owner(&client.mailbox);
            (manager, id)
        });
        Owner { opened, mailbox: Arc::clone(&client.mailbox), unsent: Arc::clone(&client.unsent) }
    }

    /// Gives up every hold and ends every wait. `Closed` is reported to `ticket`.
    #[napi]
    pub fn close(&self, ticket: f64) -> u32 {
        match &self.opened {
            Ok((manager, id)) => self.unsent.flags(manager, &manager.close_owner(*id, self.request(ticket))),
            Err(_) => {
                self.mailbox.put_own(self.request(ticket), Answer::Closed);
                MAIL
            }
        }
    }

    /// Asks for a lock; `id` names the request and its hold. Replies granted, denied or pending.
    #[napi]
    pub fn acquire(&self, high: i32, low: i32, flags: u32, id: f64) -> u32 {
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
            owner: if flags & ALONE == 0 { owner } else { owner.of_call(id) },
            key: key(high, low, flags),
            mode: mode(flags),
            patient: flags & PATIENT != 0,
            scoped: flags & SCOPED != 0,
        };
        let reply = manager.acquire(request);
        let news = self.unsent.flags(manager, &reply);
        match reply.answer {
            Ok(Admission::Granted) => YES | news,
            Ok(Admission::Denied) => NO | news,
            Ok(Admission::Pending | Admission::Deadlock) => PENDING | news,
            Err(error) => failed(error) | news,
        }
    }

    /// Gives up the hold with this number. Replies done, not held or pending; and, times [`NUMBER`], the number of the
    /// request that was granted by it, where that is all the mail there is: handing on within a thread is then one call.
    #[napi]
    pub fn release(&self, hold: f64, ticket: f64) -> f64 {
        let Ok((manager, _)) = &self.opened else { return f64::from(NO) };
        let reply = manager.release(self.request(hold), self.request(ticket));
        let answer = match reply.answer {
            Release::Done(_) => YES,
            Release::NotHeld => NO,
            Release::Pending => PENDING,
        };
        let news = self.unsent.flags(manager, &reply);
        let granted = if reply.mail { self.mailbox.take_grant() } else { None };
        match granted {
            Some(request) => f64::from(answer | (news & !MAIL)) + NUMBER * exact(ClientId::number_of(request)),
            None => f64::from(answer | news),
        }
    }

    /// Gives up the owner's latest hold. The answer is always reported to `ticket`.
    #[napi]
    pub fn release_latest(&self, high: i32, low: i32, flags: u32, ticket: f64) -> u32 {
        let request = self.request(ticket);
        let (answer, news) = match &self.opened {
            Err(error) => (Answer::Failed(error.clone()), 0),
            Ok((manager, owner)) => {
                let reply = manager.release_latest(*owner, key(high, low, flags), mode(flags), request);
                let news = self.unsent.flags(manager, &reply);
                let answer = match reply.answer {
                    Ok(Release::Pending) => return news,
                    Ok(Release::Done(hold)) => Answer::Released(hold),
                    Ok(Release::NotHeld) => Answer::NotHeld,
                    Err(error) => Answer::Failed(error),
                };
                (answer, news)
            }
        };
        self.mailbox.put_own(request, answer);
        MAIL | news
    }

    /// Takes a request back, waiting or granted; nothing more is reported of it.
    #[napi]
    pub fn cancel(&self, id: f64) -> u32 {
        self.opened.as_ref().map_or(0, |(manager, _)| self.unsent.flags(manager, &manager.cancel(self.request(id))))
    }

    /// Asks who holds a key or waits for it on the server. The answer is reported to `ticket`.
    #[napi]
    pub fn holders(&self, high: i32, low: i32, flags: u32, ticket: f64) -> u32 {
        let request = self.request(ticket);
        let asked = match &self.opened {
            Err(error) => Err(error.clone()),
            Ok((manager, owner)) => {
                let reply = manager.holders(*owner, key(high, low, flags), request);
                let news = self.unsent.flags(manager, &reply);
                reply.answer.map(|()| news)
            }
        };
        asked.unwrap_or_else(|error| {
            self.mailbox.put_own(request, Answer::Failed(error));
            MAIL
        })
    }

    fn request(&self, id: f64) -> RequestId {
        self.mailbox.client.request(number(id))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Ok((manager, id)) = &self.opened {
            manager.abandon_owner(*id, self.mailbox.client);
        }
    }
}

fn mode(flags: u32) -> Mode {
    if flags & SHARED == 0 {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

fn key(high: i32, low: i32, flags: u32) -> Key {
    if flags & SINGLE == 0 {
        Key::Pair(high, low)
    } else {
        Key::single(high, low)
    }
}

/// A number that JavaScript counted.
// `as` maps what is no such number to 0 or the largest, and neither names anything.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn number(number: f64) -> u64 {
    number as u64
}
