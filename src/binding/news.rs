//! What becomes of sessions, handed to JavaScript.

use super::data::{failures, Failure};
use crate::manager::{self, ClientId, SessionEvent, SessionNews};
use napi::bindgen_prelude::{FnArgs, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::Env;

/// What has become of a session, the process id of its backend, the address and the port of its server, and an error.
pub(super) type SessionArgs = FnArgs<(String, Option<i32>, Option<String>, Option<u16>, Vec<Failure>)>;

/// Hands news of sessions to JavaScript until this thread ends.
pub(super) fn listen(env: Env, client: ClientId, on_session: &Function<'_, SessionArgs, ()>) -> napi::Result<()> {
    let tell = on_session.build_threadsafe_function::<SessionNews>().weak::<true>().build_callback(|context| {
        let SessionNews { event, pid, peer, error } = context.value;
        let (address, port) = peer.map_or((None, None), |peer| (Some(peer.address), peer.port));
        // While the error is there, JavaScript keeps the one that it may stand for.
        let failures = error.as_ref().map_or(Vec::new(), failures);
        Ok(SessionArgs::from((name_of(event).to_owned(), pid, address, port, failures)))
    })?;
    manager::listen(client, move |news| {
        tell.call(news.clone(), ThreadsafeFunctionCallMode::NonBlocking);
    });
    env.add_env_cleanup_hook(client, manager::stop_listening)?;
    Ok(())
}

fn name_of(event: SessionEvent) -> &'static str {
    match event {
        SessionEvent::Opened => "opened",
        SessionEvent::Closed => "closed",
        SessionEvent::Lost => "lost",
        SessionEvent::Failed => "failed",
    }
}
