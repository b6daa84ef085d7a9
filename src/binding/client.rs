//! One JavaScript thread: its mailbox, and how it is woken.

#[cfg(unix)]
use super::attend;
use super::data::{failures, Failure, FencedData, HolderData};
use super::news::{self, SessionArgs};
use super::numbers::exact;
use super::passwords::PASSWORD_WANTED;
use super::unsent::Unsent;
use crate::error::Error;
use crate::manager::{self, Answer, ClientId, Mailbox};
use crate::notice::{self, Notice};
use crate::pg::{Fenced, Holder};
use napi::bindgen_prelude::{Float64Array, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;
use std::collections::VecDeque;
use std::sync::Arc;

/// Kind of a completion: the lock is held.
#[napi]
pub const GRANTED: u32 = 1;
/// Kind of a completion: the lock is taken.
#[napi]
pub const DENIED: u32 = 2;
/// Kind of a completion: the request failed; with an error.
#[napi]
pub const FAILED: u32 = 3;
/// Kind of a completion: the hold is given up.
#[napi]
pub const RELEASED: u32 = 4;
/// Kind of a completion: there was nothing to give up.
#[napi]
pub const NOT_HELD: u32 = 5;
/// Kind of a completion: the hold was lost before it could be given up; with an error.
#[napi]
pub const RELEASE_FAILED: u32 = 6;
/// Kind of a completion: the hold is lost; with an error.
#[napi]
pub const LOST: u32 = 7;
/// Kind of a completion: the owner is closed.
#[napi]
pub const CLOSED: u32 = 8;
/// Kind of a completion: who holds the key; with holders.
#[napi]
pub const HOLDERS: u32 = 9;
/// Kind of a completion: the hold stood at this time of the server's clock, in milliseconds since 1970.
#[napi]
pub const VERIFIED: u32 = 10;
/// Kind of a completion: the hold has a key of its own and a token.
#[napi]
pub const FENCED: u32 = 12;

/// Numbers that a completion takes up in the buffer of [`Client::drain`]: request, kind, hold or time.
#[napi]
pub const FIELDS: u32 = 3;

type OnNotice<'a> = Function<'a, FnArgs<(String, String)>, ()>;

/// The mailbox of this JavaScript thread.
#[napi]
pub struct Client {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) unsent: Arc<Unsent>,
    /// Never called: it holds the event loop while calls are pending.
    event_loop: ThreadsafeFunction<(), (), (), Status, false, true>,
    taken: VecDeque<(u64, Answer)>,
    failures: VecDeque<Error>,
    holders: VecDeque<Vec<Holder>>,
    fenced: VecDeque<(Fenced, bool)>,
}

#[napi]
impl Client {
    /// `on_mail` is called, without arguments, when the mailbox has become non-empty behind JavaScript's back; `on_notice`
    /// with code and text of a warning or, if `traces` are wanted, with an empty code and what happens; `on_session` with what
    /// becomes of a session. None of them keeps the process alive. With `attends` the thread reads answers by itself, where it can:
    /// its event loop must be that of Node.js.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        on_mail: Function<(), ()>,
        on_notice: OnNotice,
        on_session: Function<'_, SessionArgs, ()>,
        traces: bool,
        attends: bool,
    ) -> napi::Result<Client> {
        let wake = on_mail.build_threadsafe_function::<()>().weak::<true>().build()?;
        let event_loop = on_mail.build_threadsafe_function::<()>().weak::<true>().build()?;
        let id = ClientId::next();
        listen(env, &on_notice, traces)?;
        news::listen(env, id, &on_session)?;
        // A thread that is ending is not called any more: the status says so, and its locks are being given up.
        let mailbox = Arc::new(Mailbox::new(id, move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }));
        env.add_env_cleanup_hook(id, manager::close_client)?;
        #[cfg(unix)]
        if attends {
            attend::prepare(&env, id, &on_mail)?;
        }
        #[cfg(not(unix))]
        let _ = attends;
        Ok(Client {
            mailbox,
            unsent: Arc::new(Unsent::of(id)),
            event_loop,
            taken: VecDeque::new(),
            failures: VecDeque::new(),
            holders: VecDeque::new(),
            fenced: VecDeque::new(),
        })
    }

    /// Moves completions into `buffer`, three numbers each (request, kind, hold or time), and returns how many. Fewer than there
    /// is room for: the mailbox is empty.
    #[napi(catch_unwind)]
    pub fn drain(&mut self, mut buffer: Float64Array) -> u32 {
        if self.taken.is_empty() {
            let taken = self.mailbox.take();
            self.taken.extend(taken.into_iter().map(|(request, answer)| (ClientId::number_of(request), answer)));
        }
        // SAFETY: JavaScript made this buffer for this call alone and runs nothing until it returns.
        let room = unsafe { buffer.as_mut() };
        let mut count = 0;
        for place in room.chunks_exact_mut(FIELDS as usize) {
            let Some((request, answer)) = self.taken.pop_front() else { break };
            let (kind, detail, error) = match answer {
                Answer::Granted => (GRANTED, 0.0, None),
                Answer::Denied => (DENIED, 0.0, None),
                Answer::Failed(error) => (FAILED, 0.0, Some(error)),
                Answer::Released(hold) => (RELEASED, exact(ClientId::number_of(hold)), None),
                Answer::NotHeld => (NOT_HELD, 0.0, None),
                Answer::ReleaseFailed(hold, error) => (RELEASE_FAILED, exact(ClientId::number_of(hold)), Some(error)),
                Answer::Lost(error) => (LOST, 0.0, Some(error)),
                Answer::Closed => (CLOSED, 0.0, None),
                Answer::Verified(time) => (VERIFIED, time, None),
                Answer::PasswordWanted(function) => (PASSWORD_WANTED, exact(ClientId::number_of(function)), None),
                Answer::Fenced(fenced, is_covered) => {
                    self.fenced.push_back((fenced, is_covered));
                    (FENCED, 0.0, None)
                }
                Answer::Holders(holders) => {
                    self.holders.push_back(holders);
                    (HOLDERS, 0.0, None)
                }
            };
            self.failures.extend(error);
            place[0] = exact(request);
            place[1] = f64::from(kind);
            place[2] = detail;
            count += 1;
        }
        count
    }

    /// Keeps the event loop running, or does so no longer.
    // Deprecated in favour of clones, which keep the function and not the event loop.
    #[allow(deprecated)]
    #[napi(catch_unwind)]
    pub fn keep_alive(&mut self, env: Env, wanted: bool) -> napi::Result<()> {
        if wanted {
            self.event_loop.refer(&env)
        } else {
            self.event_loop.unref(&env)
        }
    }

    /// Sends what the calls of this turn have left to be sent.
    #[napi(catch_unwind)]
    pub fn send(&self) {
        self.unsent.send();
    }

    /// The error of the next completion that has one, in their order: itself and its causes.
    #[napi(catch_unwind)]
    pub fn take_failure(&mut self) -> Vec<Failure> {
        self.failures.pop_front().map_or(Vec::new(), |error| failures(&error))
    }

    /// The holders of the next completion that has some.
    #[napi(catch_unwind)]
    pub fn take_holders(&mut self) -> Vec<HolderData> {
        self.holders.pop_front().unwrap_or_default().into_iter().map(HolderData::from).collect()
    }

    /// What the hold of the next completion that has something of the kind has got for its fence.
    #[napi(catch_unwind)]
    pub fn take_fenced(&mut self) -> Option<FencedData> {
        self.fenced.pop_front().map(|(fenced, is_covered)| FencedData::of(fenced, is_covered))
    }
}

#[cfg(unix)]
impl Drop for Client {
    fn drop(&mut self) {
        attend::stop(self.mailbox.client);
    }
}

/// Hands notices to JavaScript until this thread ends.
fn listen(env: Env, on_notice: &OnNotice, traces: bool) -> napi::Result<()> {
    let tell = on_notice.build_threadsafe_function::<FnArgs<(String, String)>>().weak::<true>().build()?;
    let id = notice::listen(traces, move |notice| {
        let said = match notice {
            Notice::Warning { code, message } => ((*code).to_owned(), message.clone()),
            Notice::Trace(message) => (String::new(), message.clone()),
        };
        tell.call(said.into(), ThreadsafeFunctionCallMode::NonBlocking);
    });
    env.add_env_cleanup_hook(id, notice::stop_listening)?;
    Ok(())
}
