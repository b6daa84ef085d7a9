//! The locks at one server, as one JavaScript thread uses them.

use super::client::{exact, Client};
use crate::core::lock_table::{Admission, Release, Request};
use crate::core::{Key, Mode, OwnerId, RequestId};
use crate::error::Error;
use crate::manager::{manager_for, Answer, Mailbox, Manager, Reply, Settings};
use crate::pg::ConnectConfig;
use napi_derive::napi;
use std::sync::Arc;
use std::time::Duration;

const SHARED: u32 = 1;
const PATIENT: u32 = 2;
const SCOPED: u32 = 4;

/// Replies to calls, to which [`MAIL`] is added; `lib/client.js` has the same table.
const PENDING: u32 = 0;
const YES: u32 = 1;
const NO: u32 = 2;
const MAIL: u32 = 4;

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

/// What one connection string leads to. An unusable string is reported by each call.
#[napi]
pub struct Locks {
    manager: Result<Arc<Manager>, Error>,
    mailbox: Arc<Mailbox>,
}

#[napi]
impl Locks {
    /// Reads the connection string; connects nowhere yet.
    #[napi(constructor)]
    pub fn new(client: &Client, connection_string: String, options: Options) -> Locks {
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
        let manager = config.map(|config| manager_for(config, settings));
        Locks { manager, mailbox: Arc::clone(&client.mailbox) }
    }

    /// A new owner: its number.
    #[napi]
    pub fn open_owner(&self) -> f64 {
        self.manager.as_ref().map_or(0.0, |manager| exact(manager.open_owner(&self.mailbox).0))
    }

    /// Ends an owner. `Closed` is reported to `ticket`.
    #[napi]
    pub fn close_owner(&self, owner: f64, ticket: f64) -> u32 {
        match &self.manager {
            Ok(manager) => mail(manager.close_owner(OwnerId(number(owner)), self.request(ticket))),
            Err(_) => {
                self.mailbox.put_own(self.request(ticket), Answer::Closed);
                MAIL
            }
        }
    }

    /// Asks for a lock; `id` names the request and its hold. Replies granted, denied or pending.
    #[napi]
    pub fn acquire(&self, owner: f64, high: i32, low: i32, flags: u32, id: f64) -> u32 {
        let request = Request {
            id: self.request(id),
            owner: OwnerId(number(owner)),
            key: Key::Pair(high, low),
            mode: mode(flags),
            patient: flags & PATIENT != 0,
            scoped: flags & SCOPED != 0,
        };
        let failed = |error: Error| {
            self.mailbox.put_own(self.request(id), Answer::Failed(error));
            PENDING | MAIL
        };
        match &self.manager {
            Err(error) => failed(error.clone()),
            Ok(manager) => match manager.acquire(request) {
                Reply { answer: Ok(admission), mail: more } => {
                    let answer = match admission {
                        Admission::Granted => YES,
                        Admission::Denied => NO,
                        Admission::Pending | Admission::Deadlock => PENDING,
                    };
                    answer | mail(more)
                }
                Reply { answer: Err(error), .. } => failed(error),
            },
        }
    }

    /// Gives up the hold with this number. Replies done, not held or pending.
    #[napi]
    pub fn release(&self, hold: f64, ticket: f64) -> u32 {
        let Ok(manager) = &self.manager else { return NO };
        let reply = manager.release(self.request(hold), self.request(ticket));
        let answer = match reply.answer {
            Release::Done(_) => YES,
            Release::NotHeld => NO,
            Release::Pending => PENDING,
        };
        answer | mail(reply.mail)
    }

    /// Gives up the owner's latest hold. The answer is always reported to `ticket`.
    #[napi]
    pub fn release_latest(&self, owner: f64, high: i32, low: i32, flags: u32, ticket: f64) -> u32 {
        let request = self.request(ticket);
        let answer = match &self.manager {
            Err(error) => Answer::Failed(error.clone()),
            Ok(manager) => {
                let key = Key::Pair(high, low);
                let reply = manager.release_latest(OwnerId(number(owner)), key, mode(flags), request);
                match reply.answer {
                    Ok(Release::Pending) => return mail(reply.mail),
                    Ok(Release::Done(hold)) => Answer::Released(hold),
                    Ok(Release::NotHeld) => Answer::NotHeld,
                    Err(error) => Answer::Failed(error),
                }
            }
        };
        self.mailbox.put_own(request, answer);
        MAIL
    }

    /// Takes a request back, waiting or granted; nothing more is reported of it.
    #[napi]
    pub fn cancel(&self, id: f64) -> u32 {
        self.manager.as_ref().map_or(0, |manager| mail(manager.cancel(self.request(id))))
    }

    fn request(&self, id: f64) -> RequestId {
        self.mailbox.client.request(number(id))
    }
}

fn mail(more: bool) -> u32 {
    if more {
        MAIL
    } else {
        0
    }
}

fn mode(flags: u32) -> Mode {
    if flags & SHARED == 0 {
        Mode::Exclusive
    } else {
        Mode::Shared
    }
}

/// A number that JavaScript got from here or counted itself.
// `as` maps what is no such number to 0 or the largest, and neither names anything.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn number(number: f64) -> u64 {
    number as u64
}
