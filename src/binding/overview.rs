//! A look at all locks of a database, for `pglocks`.

use super::config::Config;
use super::data::{failures, Failure};
use crate::core::Mode;
use crate::error::Error;
use crate::manager;
use crate::pg::LockUse;
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::Status;
use napi_derive::napi;
use std::sync::Arc;

/// A session that holds a key or waits for it, or a prepared transaction that holds it.
#[napi(object)]
pub struct LockUseData {
    /// The process id of its backend. `None`: it is a prepared transaction, which has none.
    pub pid: Option<i32>,
    /// One half of the key.
    pub high: i32,
    /// The other.
    pub low: i32,
    /// Whether they are of one number.
    pub single: bool,
    /// Shared rather than exclusive.
    pub shared: bool,
    /// Whether it holds the key.
    pub granted: bool,
    /// Milliseconds since 1970.
    pub waiting_since: Option<f64>,
    /// The session's `application_name`.
    pub application_name: Option<String>,
    /// Where the session comes from.
    pub client_address: Option<String>,
    /// The same as `waiting_since` of the session's begin.
    pub connected_since: Option<f64>,
    /// In which it says what it holds.
    pub comment: Option<String>,
    /// The name of the prepared transaction.
    pub prepared_transaction: Option<String>,
    /// Whether this role may see what it does.
    pub visible: bool,
    /// The server's time, in the same way.
    pub time: f64,
}

impl From<LockUse> for LockUseData {
    fn from(one: LockUse) -> LockUseData {
        let (high, low) = one.key.halves();
        LockUseData {
            pid: one.pid,
            high,
            low,
            single: one.key.space() == 1,
            shared: one.mode == Mode::Shared,
            granted: one.granted,
            waiting_since: one.waiting_since,
            application_name: one.application_name,
            client_address: one.client_address,
            connected_since: one.connected_since,
            comment: one.comment,
            prepared_transaction: one.prepared_transaction,
            visible: one.is_visible,
            time: one.time,
        }
    }
}

/// Why a look has failed, nothing if it has not; and what it has found.
type Found = FnArgs<(Vec<Failure>, Vec<LockUseData>)>;
type Looked = Result<Vec<LockUse>, Error>;
type OnFound = ThreadsafeFunction<Looked, (), Found, Status, false>;

/// A session that looks at the locks of its database and holds none.
#[napi]
pub struct Overview {
    opened: Result<manager::Overview, Error>,
    on_found: Arc<OnFound>,
}

#[napi]
impl Overview {
    /// `on_found` is told of each look, and keeps the process alive. Connects nowhere yet.
    #[napi(constructor, catch_unwind)]
    pub fn new(config: &Config, on_found: Function<'_, Found, ()>) -> napi::Result<Overview> {
        let on_found = on_found.build_threadsafe_function::<Looked>().build_callback(|context| {
            let (failed, found) = match context.value {
                Ok(found) => (Vec::new(), found.into_iter().map(LockUseData::from).collect()),
                Err(error) => (failures(&error), Vec::new()),
            };
            Ok(Found::from((failed, found)))
        })?;
        let opened = config.read.clone().and_then(|(config, settings)| manager::Overview::new(config, settings.timing));
        Ok(Overview { opened, on_found: Arc::new(on_found) })
    }

    /// Looks, and tells of it later.
    #[napi(catch_unwind)]
    pub fn look(&self) {
        let on_found = Arc::clone(&self.on_found);
        let tell = move |looked: Looked| {
            on_found.call(looked, ThreadsafeFunctionCallMode::NonBlocking);
        };
        match &self.opened {
            Ok(overview) => overview.look(tell),
            Err(error) => tell(Err(error.clone())),
        }
    }
}
