//! The way through whoever stands between a session and the server: other sessions, and what they are asked.

use crate::pg::clock;
use crate::pg::connect::config::ConnectConfig;
use crate::pg::connect::dial::Route;
use crate::pg::connect::passwords::Given;
use crate::pg::connect::start::start;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::session::driver::Driver;
use crate::pg::session::row::Row;
use crate::pg::session::wire::{Patience, Wire};
use crate::pg::sql;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A pooler ends a connection at once that is closed.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Whoever stands between a session and the server, if anybody does: the way to another session there.
pub(in crate::pg) struct Pooler {
    pub config: ConnectConfig,
    pub password: Given,
    pub route: Route,
    pub patience: Patience,
}

/// Another session.
pub(super) struct Other {
    pub wire: Arc<Wire>,
    _driver: Driver,
}

impl Pooler {
    pub(super) async fn connect(&self) -> Option<Other> {
        let since = clock::now();
        let mut socket = self.route.connect().await.ok()?;
        start(&self.config, &self.password, &mut socket).await.ok()?;
        let (wire, driver) = Driver::start(socket, self.route.peer(), self.patience, since).ok()?;
        Some(Other { wire, _driver: driver })
    }

    pub(super) async fn served_by(&self, wire: &Wire) -> Option<i32> {
        self.ask(wire, sql::SERVED_BY, &[]).await.ok()?.get(0).ok()
    }

    pub(super) async fn ask(
        &self,
        wire: &Wire,
        text: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Row, Fault> {
        let rows = wire.ask(Statement::once(text), parameters, self.patience.answer).await?;
        rows.into_iter().next().ok_or_else(|| Fault::of_protocol("no row"))
    }

    pub(super) async fn is_done(&self, wire: &Wire, text: &'static str, parameters: &[Parameter<'_>]) -> Option<bool> {
        self.ask(wire, text, parameters).await.ok()?.get(0).ok()
    }

    pub(super) async fn execute(&self, wire: &Wire, text: &'static str) -> Option<()> {
        wire.ask(Statement::once(text), &[], self.patience.answer).await.ok().map(drop)
    }
}

impl Other {
    /// In order: a server session that is abandoned in the middle of something is of no use to others.
    pub async fn close(self) {
        self.wire.terminate();
        let _ = timeout(CLOSE_LIMIT, self.wire.over()).await;
    }
}
