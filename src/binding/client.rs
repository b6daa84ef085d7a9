//! One JavaScript thread: its mailbox, and how it is woken.

use super::data::{failures, Failure, HolderData};
use super::reader::Reader;
use super::unsent::Unsent;
use crate::error::Error;
use crate::manager::{self, Answer, ClientId, Mailbox, SessionReader};
use crate::notice::{self, Notice};
use crate::pg::Holder;
use napi::bindgen_prelude::{Float64Array, FnArgs, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::Env;
use napi_derive::napi;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a completion says of its request; `lib/client.js` has the same table.
#[derive(Clone, Copy)]
enum Kind {
    Granted = 1,
    Denied = 2,
    Failed = 3,
    Released = 4,
    NotHeld = 5,
    ReleaseFailed = 6,
    Lost = 7,
    Closed = 8,
    Holders = 9,
    MayRead = 10,
    StopReading = 11,
}

/// Numbers that a completion takes up: request, kind, hold.
const NUMBERS: usize = 3;

type OnNotice<'a> = Function<'a, FnArgs<(String, String)>, ()>;

/// The mailbox of this JavaScript thread.
#[napi]
pub struct Client {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) unsent: Arc<Unsent>,
    taken: VecDeque<(u64, Answer)>,
    failures: VecDeque<Error>,
    holders: VecDeque<Vec<Holder>>,
    readers: VecDeque<SessionReader>,
}

#[napi]
impl Client {
    /// `on_mail` is called, without arguments, when the mailbox has become non-empty behind JavaScript's back; `on_notice`
    /// with code and text of a warning or, if `traces` are wanted, with an empty code and what happens. Neither keeps the
    /// process alive. `can_read`: this thread lives as long as the process, and can read sockets by descriptor.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        on_mail: Function<(), ()>,
        can_read: bool,
        on_notice: OnNotice,
        traces: bool,
    ) -> napi::Result<Client> {
        let wake = on_mail.build_threadsafe_function::<()>().weak::<true>().build()?;
        let id = ClientId::next();
        listen(env, &on_notice, traces)?;
        // A thread that is ending is not called any more: the status says so, and its locks are being given up.
        let mailbox = Arc::new(Mailbox::new(id, can_read, move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }));
        env.add_env_cleanup_hook(id, manager::close_client)?;
        Ok(Client {
            mailbox,
            unsent: Arc::default(),
            taken: VecDeque::new(),
            failures: VecDeque::new(),
            holders: VecDeque::new(),
            readers: VecDeque::new(),
        })
    }

    /// Moves completions into `buffer`, three numbers each (request, kind, hold), and returns how many. Fewer than there
    /// is room for: the mailbox is empty.
    #[napi]
    pub fn drain(&mut self, mut buffer: Float64Array) -> u32 {
        if self.taken.is_empty() {
            let taken = self.mailbox.take();
            self.taken.extend(taken.into_iter().map(|(request, answer)| (ClientId::number_of(request), answer)));
        }
        // SAFETY: JavaScript made this buffer for this call alone and runs nothing until it returns.
        let room = unsafe { buffer.as_mut() };
        let mut count = 0;
        for place in room.chunks_exact_mut(NUMBERS) {
            let Some((request, answer)) = self.taken.pop_front() else { break };
            let (kind, hold, error) = match answer {
                Answer::Granted => (Kind::Granted, 0, None),
                Answer::Denied => (Kind::Denied, 0, None),
                Answer::Failed(error) => (Kind::Failed, 0, Some(error)),
                Answer::Released(hold) => (Kind::Released, ClientId::number_of(hold), None),
                Answer::NotHeld => (Kind::NotHeld, 0, None),
                Answer::ReleaseFailed(hold, error) => (Kind::ReleaseFailed, ClientId::number_of(hold), Some(error)),
                Answer::Lost(error) => (Kind::Lost, 0, Some(error)),
                Answer::Closed => (Kind::Closed, 0, None),
                Answer::Holders(holders) => {
                    self.holders.push_back(holders);
                    (Kind::Holders, 0, None)
                }
                Answer::MayRead(reader) => {
                    let session = reader.session().0;
                    self.readers.push_back(reader);
                    (Kind::MayRead, session, None)
                }
                Answer::StopReading(session) => (Kind::StopReading, session.0, None),
            };
            self.failures.extend(error);
            place[0] = exact(request);
            place[1] = f64::from(kind as u8);
            place[2] = exact(hold);
            count += 1;
        }
        count
    }

    /// Sends what the calls of this turn have left to be sent.
    #[napi]
    pub fn send(&self) {
        self.unsent.send();
    }

    /// The error of the next completion that has one, in their order: itself and its causes.
    #[napi]
    pub fn take_failure(&mut self) -> Vec<Failure> {
        self.failures.pop_front().map_or(Vec::new(), |error| failures(&error))
    }

    /// The holders of the next completion that has some.
    #[napi]
    pub fn take_holders(&mut self) -> Vec<HolderData> {
        self.holders.pop_front().unwrap_or_default().into_iter().map(HolderData::from).collect()
    }

    /// The reader of the next completion that has one.
    #[napi]
    pub fn take_reader(&mut self) -> Option<Reader> {
        let reader = self.readers.pop_front()?;
        Some(Reader { reader, unsent: Arc::clone(&self.unsent) })
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

/// A request's number as JavaScript counts.
// Numbers of requests stay below 2³⁶ (`ClientId`).
#[allow(clippy::cast_precision_loss)]
pub(super) fn exact(number: u64) -> f64 {
    number as f64
}
