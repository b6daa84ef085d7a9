//! Poolers between a session and the server. One that lends each client a server session of its own is as good as none; one
//! that shares server sessions between clients makes locks exclude nobody, and has to be found out before they are relied on.
//!
//! Three ways to find out: a new session asks for a second one, where somebody stands between, and is served by the same backend;
//! it finds the mark of another ([`super::setup`]); or a later answer comes from another backend, which has done nothing then.

use crate::pg::clock;
use crate::pg::connect::config::ConnectConfig;
use crate::pg::connect::dial::Route;
use crate::pg::connect::passwords::Given;
use crate::pg::connect::setup::{setting_names, ANSWER_LIMIT};
use crate::pg::connect::start::start;
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::session::wire::{Patience, Wire};
use crate::pg::sql;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::Type;

/// A pooler that shares sessions has one at hand. One that does not may have none left, and lets us wait.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Milliseconds before each time that both connections are asked.
const PAUSES: [u64; 5] = [0, 2, 5, 10, 20];
/// How often the backend is looked for from which something is to be given back.
const SEARCHES: u32 = 20;

/// The way to another connection beside ours.
pub(in crate::pg) struct Probe<'a> {
    pub config: &'a ConnectConfig,
    pub password: &'a Given,
    pub route: &'a Route,
    pub patience: Patience,
}

impl Probe<'_> {
    /// Whether another connection is served by the same backend, or either by several.
    ///
    /// Such a pooler lends the backend that has been free for the shortest time: asked in turn, both connections get the
    /// same one, unless somebody else comes between, which will not happen each time.
    pub async fn shares_sessions(&self, ours: &Wire, pid: i32) -> bool {
        let probe = async {
            let since = clock::now();
            let mut socket = self.route.connect().await.ok()?;
            start(self.config, self.password, &mut socket).await.ok()?;
            let (other, _driver) = Wire::new(socket, self.route.peer(), self.patience, since);
            let mut seen = None;
            for pause in PAUSES {
                sleep(Duration::from_millis(pause)).await;
                let (ours, _) = served_by(ours).await?;
                let (others, is_marked) = served_by(&other).await?;
                if ours != pid || others == pid || is_marked || *seen.get_or_insert(others) != others {
                    return Some(true);
                }
            }
            None
        };
        timeout(PROBE_LIMIT, probe).await.ok().flatten().unwrap_or(false)
    }
}

/// The backend, and whether a session of this package has been there.
async fn served_by(wire: &Wire) -> Option<(i32, bool)> {
    let rows = wire.ask(Statement::once(sql::SERVED_BY), &[], ANSWER_LIMIT).await.ok()?;
    let row = rows.first()?;
    let mark: Option<String> = row.try_get(1).ok()?;
    Some((row.get(0).ok()?, mark.is_some_and(|mark| !mark.is_empty())))
}

/// Undoes what was done to a backend that others share, if it can still be reached.
pub(in crate::pg) async fn give_back(wire: &Wire, pid: i32) {
    let names = setting_names();
    let search = async {
        for _ in 0..SEARCHES {
            let parameters: [Parameter; 2] = [(&pid, Type::INT4), (&names, Type::TEXT_ARRAY)];
            let rows = wire.ask(Statement::once(sql::GIVE_BACK), &parameters, ANSWER_LIMIT).await.ok()?;
            if rows.first()?.get(0).ok()? {
                return Some(());
            }
            // The pooler lends the backend that has been free for the shortest time: ours may be in use.
            sleep(Duration::from_millis(10)).await;
        }
        None
    };
    let _ = timeout(ANSWER_LIMIT, search).await;
}
