//! The locks at one server, as one `advisoryLock(…)` call uses them.

use super::calls::{self, key, mode, owner_of_call};
use super::client::Client;
use super::config::Config;
use super::data::{failures, Failure};
use super::numbers::number;
use super::panics::caught;
use super::unsent::{Unsent, MAIL};
use crate::core::lock_table::Release;
use crate::core::{OwnerId, RequestId};
use crate::error::Error;
use crate::manager::{manager_for, Answer, Mailbox, Manager, Reply};
use napi_derive::napi;
use std::sync::Arc;
use std::time::Duration;

/// One group of owners. It is closed when JavaScript has dropped it, which keeps it while anything is held or pending.
#[napi]
pub struct Owner {
    /// An unusable connection string is reported by each call.
    pub(super) opened: Result<(Arc<Manager>, OwnerId), Error>,
    mailbox: Arc<Mailbox>,
    unsent: Arc<Unsent>,
    number: u32,
}

#[napi]
impl Owner {
    /// Connects nowhere yet.
    #[napi(constructor, catch_unwind)]
    pub fn new(client: &Client, config: &Config) -> Owner {
        if let Some(questions) = &config.questions {
            questions.attach(&client.mailbox);
        }
        let opened = config.read.clone().map(|(config, settings)| {
            let manager = manager_for(config, settings);
            let id = manager.open_owner(&client.mailbox);
            (manager, id)
        });
        let (mailbox, unsent) = (Arc::clone(&client.mailbox), Arc::clone(&client.unsent));
        let number = calls::register(opened.clone(), Arc::clone(&mailbox), Arc::clone(&unsent));
        Owner { opened, mailbox, unsent, number }
    }

    /// By which the functions of [`calls`] know it, on this thread.
    #[napi(getter, catch_unwind)]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Gives up every hold and ends every wait. `Closed` is reported to `ticket`.
    #[napi(catch_unwind)]
    pub fn close(&self, ticket: f64) -> u32 {
        match &self.opened {
            Ok((manager, id)) => {
                let closed = caught(manager, || manager.close_owner(*id, self.request(ticket)));
                closed.map_or_else(
                    |error| self.fail(self.request(ticket), error),
                    |reply| self.unsent.flags(manager, &reply),
                )
            }
            Err(_) => {
                self.mailbox.put_own(self.request(ticket), Answer::Closed);
                MAIL
            }
        }
    }

    /// Gives up the owner's latest hold. The answer is always reported to `ticket`.
    #[napi(catch_unwind)]
    pub fn release_latest(&self, high: i32, low: i32, flags: u32, ticket: f64) -> u32 {
        let request = self.request(ticket);
        let (answer, news) = match &self.opened {
            Err(error) => (Answer::Failed(error.clone()), 0),
            Ok((manager, owner)) => {
                let released =
                    caught(manager, || manager.release_latest(*owner, key(high, low, flags), mode(flags), request));
                let reply = match released {
                    Ok(reply) => reply,
                    Err(error) => return self.fail(request, error),
                };
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

    /// Why nobody can say whether a key is taken, for which a request has waited for so many milliseconds: an error and its causes.
    /// None where the key is known to be taken or the server has answered meanwhile.
    #[napi(catch_unwind)]
    pub fn why_unanswered(&self, high: i32, low: i32, flags: u32, id: f64, milliseconds: f64) -> Vec<Failure> {
        let Ok((manager, owner)) = &self.opened else { return Vec::new() };
        let owner = owner_of_call(*owner, self.request(id), flags);
        let waited = Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(Duration::MAX);
        let why = || manager.why_unanswered(owner, key(high, low, flags), mode(flags), waited);
        caught(manager, why).unwrap_or_else(Some).map_or(Vec::new(), |error| failures(&error))
    }

    /// Takes a request back, waiting or granted; nothing more is reported of it.
    #[napi(catch_unwind)]
    pub fn cancel(&self, id: f64) -> u32 {
        let Ok((manager, _)) = &self.opened else { return 0 };
        // What a bug leaves behind of it is given up with its session.
        caught(manager, || manager.cancel(self.request(id))).map_or(0, |reply| self.unsent.flags(manager, &reply))
    }

    /// Asks who holds a key or waits for it on the server. The answer is reported to `ticket`.
    #[napi(catch_unwind)]
    pub fn holders(&self, high: i32, low: i32, flags: u32, ticket: f64) -> u32 {
        let request = self.request(ticket);
        self.ask(request, |manager, owner| manager.holders(owner, key(high, low, flags), request))
    }

    /// Asks the session of the hold with this number for a sign of life. The answer is reported to `ticket`.
    #[napi(catch_unwind)]
    pub fn verify(&self, hold: f64, ticket: f64) -> u32 {
        let request = self.request(ticket);
        self.ask(request, |manager, _| manager.verify(self.request(hold), request))
    }

    /// Takes a key and a token for the hold with this number. `Fenced` is reported to `ticket`.
    #[napi(catch_unwind)]
    pub fn fence(&self, hold: f64, ticket: f64) -> u32 {
        let request = self.request(ticket);
        self.ask(request, |manager, _| manager.fence(self.request(hold), request))
    }

    /// All that relied on fences of holds before this one has been waited for.
    #[napi(catch_unwind)]
    pub fn complete_fence(&self, hold: f64) -> u32 {
        let Ok((manager, _)) = &self.opened else { return 0 };
        let completed = caught(manager, || manager.complete_fence(self.request(hold)));
        completed.map_or(0, |reply| self.unsent.flags(manager, &reply))
    }

    /// Asks the server something, if that is possible. The answer is reported to `ticket`.
    fn ask(&self, ticket: RequestId, ask: impl FnOnce(&Manager, OwnerId) -> Reply<Result<(), Error>>) -> u32 {
        let asked = match &self.opened {
            Err(error) => Err(error.clone()),
            Ok((manager, owner)) => {
                let reply = caught(manager, || ask(manager, *owner));
                reply.and_then(|reply| {
                    let news = self.unsent.flags(manager, &reply);
                    reply.answer.map(|()| news)
                })
            }
        };
        asked.unwrap_or_else(|error| self.fail(ticket, error))
    }

    /// Reports a failure to the ticket.
    fn fail(&self, ticket: RequestId, error: Error) -> u32 {
        self.mailbox.put_own(ticket, Answer::Failed(error));
        MAIL
    }

    pub(super) fn request(&self, id: f64) -> RequestId {
        self.mailbox.client.request(number(id))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        calls::forget(self.number);
        if let Ok((manager, id)) = &self.opened {
            manager.abandon_owner(*id, self.mailbox.client);
        }
    }
}
