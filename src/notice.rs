//! What the process is told besides the answers to its calls: warnings, and what happens, while somebody wants to know.
//!
//! It knows nobody; every layer may speak through it. Invariant: no notice holds a password, a key or a whole connection string.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Something to tell.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Something works, and not as one may think.
    Warning {
        /// What to match on.
        code: &'static str,
        /// What to read.
        message: String,
    },
    /// A step of the work.
    Trace(String),
}

type Listener = Box<dyn Fn(&Notice) + Send + Sync>;

/// Whom to tell no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(u64);

#[derive(Default)]
struct Listeners {
    /// In the order of their coming.
    all: Vec<(ListenerId, Listener)>,
    /// How many there have been.
    count: u64,
    /// What was warned of.
    warned: HashSet<String>,
}

static LISTENERS: LazyLock<Mutex<Listeners>> = LazyLock::new(Mutex::default);
static IS_TRACED: AtomicBool = AtomicBool::new(false);

fn listeners() -> MutexGuard<'static, Listeners> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the listener all notices from now on, as long as no earlier listener is there; traces, once somebody wants them.
pub fn listen(wants_traces: bool, listener: impl Fn(&Notice) + Send + Sync + 'static) -> ListenerId {
    if wants_traces {
        IS_TRACED.store(true, Ordering::Relaxed);
    }
    let mut listeners = listeners();
    listeners.count += 1;
    let id = ListenerId(listeners.count);
    listeners.all.push((id, Box::new(listener)));
    id
}

/// Ends what [`listen`] began.
pub fn stop_listening(id: ListenerId) {
    listeners().all.retain(|(known, _)| *known != id);
}

/// Warns, if that has not been done about this subject yet.
pub fn warn_once(subject: &str, code: &'static str, message: impl FnOnce() -> String) {
    let mut listeners = listeners();
    if listeners.warned.insert(format!("{code} {subject}")) {
        tell(&listeners, &Notice::Warning { code, message: message() });
    }
}

/// Tells a step of the work. Costs the look at a flag where nobody wants to know.
pub fn trace(message: impl FnOnce() -> String) {
    if IS_TRACED.load(Ordering::Relaxed) {
        let message = message();
        tell(&listeners(), &Notice::Trace(message));
    }
}

fn tell(listeners: &Listeners, notice: &Notice) {
    if let Some((_, listener)) = listeners.all.first() {
        listener(notice);
    }
}
