//! A JavaScript thread attends to the sessions that it alone asks: its own event loop tells it when an answer has arrived, so
//! that an answer costs one wake-up and not one more on the I/O thread.
//!
//! libuv is looked up by name in the program that has loaded this. Where it has none, and on Windows, the I/O thread reads
//! everything. Nothing depends on this thread: what it leaves unread the I/O thread reads.
//!
//! The only user of libuv. Each `unsafe` relies on this: an [`Attendant`] and its [`Poll`]s are reached from their own thread
//! alone, from its first call until the cleanup hook of its environment has closed them; `env` and `event_loop` are valid until
//! then. A poll is freed by the callback of its closing, and keeps the socket open that it watches.

use super::panics::caught;
use crate::core::SessionId;
use crate::manager::{ClientId, Manager};
use crate::pg::Wire;
use napi::bindgen_prelude::{Function, FunctionRef};
use napi::sys;
use napi::{Env, JsValue};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void, CStr};
use std::mem::{size_of, transmute_copy, MaybeUninit};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::rc::Rc;
use std::sync::Arc;

type OnReady = unsafe extern "C" fn(*mut Poll, c_int, c_int);
type OnClosed = unsafe extern "C" fn(*mut Poll);

/// `UV_POLL` and `UV_READABLE` of libuv's interface, which is stable.
const POLL: c_int = 8;
const READABLE: c_int = 1;

/// The functions of libuv that are used here.
#[derive(Clone, Copy)]
struct Libuv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    poll_init: unsafe extern "C" fn(*mut sys::uv_loop_s, *mut Poll, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(*mut Poll, c_int, OnReady) -> c_int,
    unref: unsafe extern "C" fn(*mut Poll),
    close: unsafe extern "C" fn(*mut Poll, OnClosed),
}

impl Libuv {
    fn find() -> Option<Libuv> {
        // SAFETY: the types are those that libuv declares for these names; a poll begins with its handle.
        unsafe {
            Some(Libuv {
                handle_size: function(c"uv_handle_size")?,
                poll_init: function(c"uv_poll_init")?,
                poll_start: function(c"uv_poll_start")?,
                unref: function(c"uv_unref")?,
                close: function(c"uv_close")?,
            })
        }
    }
}

/// The function of the program with this name.
///
/// # Safety
/// `F` is the type of a pointer to it.
unsafe fn function<F>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let found = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
    (!found.is_null()).then(|| transmute_copy(&found))
}

/// Room for libuv's own part of a poll, which has a third of it on the platforms that there are.
type Handle = MaybeUninit<[usize; 64]>;

/// A socket that is watched for a client.
#[repr(C)]
struct Poll {
    /// First, so that a pointer to it is one to the poll.
    handle: Handle,
    attendant: Rc<Attendant>,
    manager: Arc<Manager>,
    session: SessionId,
    wire: Arc<Wire>,
}

/// What attends for one client.
struct Attendant {
    client: ClientId,
    env: sys::napi_env,
    event_loop: *mut sys::uv_loop_s,
    libuv: Libuv,
    on_mail: FunctionRef<(), ()>,
    polls: RefCell<HashMap<SessionId, *mut Poll>>,
    /// Polls that are not closed yet.
    open: Cell<usize>,
    /// The cleanup hook of the environment.
    hook: Cell<sys::napi_async_cleanup_hook_handle>,
    /// Whether the hook is called, and waits until all polls are closed.
    is_ending: Cell<bool>,
}

thread_local! {
    static ATTENDANTS: RefCell<Vec<Rc<Attendant>>> = RefCell::default();
}

/// From now on the client's thread can attend to sessions, where it has libuv. `on_mail` is called when there is mail.
pub(super) fn prepare(env: &Env, client: ClientId, on_mail: &Function<(), ()>) -> napi::Result<()> {
    let (Some(libuv), Ok(event_loop)) = (Libuv::find(), env.get_uv_event_loop()) else { return Ok(()) };
    // SAFETY: it has no conditions.
    if unsafe { (libuv.handle_size)(POLL) } > size_of::<Handle>() {
        return Ok(());
    }
    let attendant = Rc::new(Attendant {
        client,
        env: env.raw(),
        event_loop,
        libuv,
        on_mail: on_mail.create_ref()?,
        polls: RefCell::default(),
        open: Cell::new(0),
        hook: Cell::new(null_mut()),
        is_ending: Cell::new(false),
    });
    let data = Rc::into_raw(Rc::clone(&attendant)).cast_mut().cast();
    let mut hook = null_mut();
    // SAFETY: the environment is the current one; the hook gets back what `into_raw` has given.
    if unsafe { sys::napi_add_async_cleanup_hook(env.raw(), Some(end), data, &mut hook) } == sys::Status::napi_ok {
        attendant.hook.set(hook);
        ATTENDANTS.with_borrow_mut(|attendants| attendants.push(attendant));
    }
    Ok(())
}

/// The client attends to nothing any more. On its own thread.
pub(super) fn stop(client: ClientId) {
    // At the end of a thread the list may be gone first.
    let found = ATTENDANTS.try_with(|all| {
        let mut all = all.borrow_mut();
        let place = all.iter().position(|attendant| attendant.client == client);
        place.map(|place| all.swap_remove(place))
    });
    let Ok(Some(attendant)) = found else { return };
    attendant.stop_all();
    // SAFETY: the hook was added and is not called; so what it would have been given is still to be dropped.
    unsafe {
        sys::napi_remove_async_cleanup_hook(attendant.hook.get());
        Rc::decrement_strong_count(Rc::as_ptr(&attendant));
    }
}

/// Has the client attend to a session, if it can.
pub(super) fn begin(client: ClientId, manager: &Arc<Manager>, session: SessionId, wire: &Arc<Wire>) {
    let found = ATTENDANTS.with_borrow(|all| all.iter().find(|attendant| attendant.client == client).map(Rc::clone));
    if let Some(attendant) = found {
        attendant.begin(manager, session, wire);
    }
}

impl Attendant {
    fn begin(self: &Rc<Attendant>, manager: &Arc<Manager>, session: SessionId, wire: &Arc<Wire>) {
        if !self.polls.borrow().contains_key(&session) {
            let descriptor = wire.descriptor().as_raw_fd();
            let (manager, wire) = (Arc::clone(manager), Arc::clone(wire));
            let handle = MaybeUninit::zeroed();
            let poll = Box::into_raw(Box::new(Poll { handle, attendant: Rc::clone(self), manager, session, wire }));
            // SAFETY: the descriptor is open for as long as the poll keeps the wire. What could not be made a handle is
            // nobody else's; a handle is freed once it is closed.
            unsafe {
                if (self.libuv.poll_init)(self.event_loop, poll, descriptor) != 0 {
                    return drop(Box::from_raw(poll));
                }
                self.open.set(self.open.get() + 1);
                (self.libuv.unref)(poll);
                if (self.libuv.poll_start)(poll, READABLE, on_ready) != 0 {
                    return (self.libuv.close)(poll, on_closed);
                }
            }
            self.polls.borrow_mut().insert(session, poll);
        }
        wire.begin_attendance(self.client);
    }

    fn stop(&self, session: SessionId) {
        let poll = self.polls.borrow_mut().remove(&session);
        if let Some(poll) = poll {
            // SAFETY: what is in the map is a handle that nobody closes but this.
            unsafe {
                (*poll).wire.end_attendance(self.client);
                (self.libuv.close)(poll, on_closed);
            }
        }
    }

    fn stop_all(&self) {
        let sessions: Vec<SessionId> = self.polls.borrow().keys().copied().collect();
        sessions.into_iter().for_each(|session| self.stop(session));
    }

    /// Calls JavaScript as the event loop does.
    fn deliver(&self) {
        let env = self.env;
        let mut scope = null_mut();
        // SAFETY: the thread is the environment's, and values live within the scope.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            let (mut global, mut result) = (null_mut(), null_mut());
            sys::napi_get_global(env, &mut global);
            if let Ok(on_mail) = self.on_mail.borrow_back(&Env::from_raw(env)) {
                let called = sys::napi_make_callback(env, null_mut(), global, on_mail.raw(), 0, null(), &mut result);
                // It throws nothing itself. But its end is the end of a turn of the event loop, in which all that callers
                // have left for it runs; what is thrown there is theirs to hear of, as from any other turn. Where the thread
                // has been ended in it, nobody is there to hear.
                if called == sys::Status::napi_pending_exception
                    && sys::napi_get_and_clear_last_exception(env, &mut result) == sys::Status::napi_ok
                {
                    sys::napi_fatal_exception(env, result);
                }
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }
}

/// There is something to be read, or the socket has failed.
///
/// # Safety
/// Called by libuv, for a poll that is not closed.
unsafe extern "C" fn on_ready(poll: *mut Poll, status: c_int, _events: c_int) {
    let Poll { attendant, manager, session, .. } = &*poll;
    // JavaScript may end all that this poll has.
    let (attendant, session) = (Rc::clone(attendant), *session);
    // Of a bug the sessions' holders are told by the I/O thread.
    let reply = caught(manager, || manager.attend(session, attendant.client)).ok();
    if status < 0 || !reply.as_ref().is_some_and(|reply| reply.answer) {
        attendant.stop(session);
    }
    if reply.is_some_and(|reply| reply.mail) {
        attendant.deliver();
    }
}

/// # Safety
/// Called by libuv, once for each poll: nothing of it is used any more.
unsafe extern "C" fn on_closed(poll: *mut Poll) {
    let attendant = Rc::clone(&(*poll).attendant);
    drop(Box::from_raw(poll));
    attendant.open.set(attendant.open.get() - 1);
    attendant.finish();
}

impl Attendant {
    /// Lets the environment go on ending where it waits for this.
    fn finish(&self) {
        if self.open.get() == 0 && self.is_ending.take() {
            // SAFETY: the hook was called and is not done yet.
            unsafe { sys::napi_remove_async_cleanup_hook(self.hook.get()) };
        }
    }
}

/// The environment ends.
///
/// # Safety
/// Called by Node.js, once, with what [`prepare`] has given to it.
unsafe extern "C" fn end(hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    let attendant = Rc::from_raw(data.cast_const().cast::<Attendant>());
    let _ = ATTENDANTS.try_with(|all| all.borrow_mut().retain(|other| !Rc::ptr_eq(other, &attendant)));
    attendant.hook.set(hook);
    attendant.is_ending.set(true);
    attendant.stop_all();
    attendant.finish();
}
