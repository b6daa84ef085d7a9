//! How a session comes to be: the hosts of the config are tried in turn until one of them will do.

use crate::error::Error;
use crate::notice;
use crate::pg::backend::{new_fingerprint, Backend};
use crate::pg::clock;
use crate::pg::connect::cancel::{Cancel, CancelRequest};
use crate::pg::connect::config::{ConnectConfig, Host, Target};
use crate::pg::connect::dial::{self, Route};
use crate::pg::connect::passwords::{self, Given};
use crate::pg::connect::pooler::Pooler;
use crate::pg::connect::setup::{self, Expected};
use crate::pg::connect::socket::Socket;
use crate::pg::connect::start::start;
use crate::pg::connect::timing::Timing;
use crate::pg::connect::tls::Tls;
use crate::pg::session::driver::Driver;
use crate::pg::session::wire::Wire;
use crate::pg::session::Session;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{timeout_at, Instant};

impl Session {
    /// Leaves the backend as it was found: somebody else may get it next, whether or not a pooler is known.
    pub async fn give_back(&self) {
        self.pooler.give_back(&self.wire, &self.backend).await;
    }

    /// Leaves the backend so where others are known to be served by it as well.
    pub async fn give_back_shared(&self) {
        self.pooler.give_back_shared(&self.wire, &self.backend).await;
    }

    /// Connects to the first host that answers and will do, and sets the session up. Each host has its part of the time, so
    /// that a silent one leaves the next its chance.
    ///
    /// `is_suspicious`: whoever stands between is asked for, though nothing shows that anybody does.
    ///
    /// # Errors
    /// The system's code, a SQLSTATE, `ETIMEDOUT` after the config's limit, `ERR_TRANSACTION_POOLING` or
    /// `ERR_UNSUPPORTED_SERVER`. Of several hosts, none of which can be reached, the code is that of the last.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn open(config: &ConnectConfig, timing: Timing, is_suspicious: bool) -> Result<Session, Error> {
        open_first(config, timing, is_suspicious).await
    }
}

/// What may be opened at a host.
pub(super) trait Open: Sized {
    /// Makes it of a connection on which the protocol is started.
    fn set_up(attempt: &Attempt<'_>, started: Started) -> impl Future<Output = Result<Self, Error>> + Send;
}

/// A connection on which the protocol is started.
pub(super) struct Started {
    pub wire: Arc<Wire>,
    pub driver: Driver,
    pub route: Route,
    pub password: Given,
    /// By which a statement can be cancelled.
    pub request: CancelRequest,
    /// The version of TLS.
    pub encryption: &'static str,
}

/// Opens it at the first host that answers and will do.
pub(super) async fn open_first<T: Open>(
    config: &ConnectConfig,
    timing: Timing,
    is_suspicious: bool,
) -> Result<T, Error> {
    let deadline = Instant::now() + config.connect_timeout;
    let tls = load_tls(config, deadline).await?;
    let rounds = config.target.rounds();
    let mut left = rounds.len() * config.hosts.len();
    let mut reasons = Vec::new();
    for target in rounds {
        for host in &config.hosts {
            let time = part_of(deadline, left);
            left -= 1;
            let attempt = Attempt { config, tls: tls.as_ref(), host, target, timing, is_suspicious };
            match attempt.open_within(time).await {
                Ok(opened) => return Ok(opened),
                Err(error) if error.leaves_other_hosts() => reasons.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    Err(Error::of_all_hosts(&reasons))
}

/// What TLS needs, if it is used: as in libpq it is not by a unix socket, which leads to the machine itself.
async fn load_tls(config: &ConnectConfig, deadline: Instant) -> Result<Option<Tls>, Error> {
    let Some(policy) = &config.tls else { return Ok(None) };
    if config.hosts.iter().all(|host| host.socket().is_some()) {
        return Ok(None);
    }
    // A file may be a pipe to which nobody writes.
    match timeout_at(deadline, Tls::load(policy)).await {
        Ok(tls) => tls.map(Some),
        Err(_) => Err(Error::new("ETIMEDOUT", "ETIMEDOUT: the files for TLS could not be read in time")),
    }
}

/// The first of so many equal parts of the time that is left.
fn part_of(deadline: Instant, parts: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

/// To open a session at one host.
pub(super) struct Attempt<'a> {
    pub config: &'a ConnectConfig,
    tls: Option<&'a Tls>,
    pub host: &'a Host,
    pub target: Target,
    pub timing: Timing,
    /// Whether somebody may stand between who does not show.
    is_suspicious: bool,
}

impl Attempt<'_> {
    async fn open_within<T: Open>(&self, time: Duration) -> Result<T, Error> {
        let host = self.host;
        notice::trace(|| format!("connecting to {host} as {}", self.config.user));
        let deadline = Instant::now() + time;
        let opened = timeout_at(deadline, self.open(deadline)).await.unwrap_or_else(|_| {
            let message = format!("ETIMEDOUT: no session within {:.0} ms", time.as_secs_f64() * 1000.0);
            Err(Error::new("ETIMEDOUT", message).at(&host.peer()))
        });
        if let Err(error) = &opened {
            notice::trace(|| format!("no session at {host}: {} ({})", error.message(), error.code()));
        }
        opened
    }

    async fn open<T: Open>(&self, deadline: Instant) -> Result<T, Error> {
        let tls = self.tls.filter(|_| self.host.socket().is_none());
        let secure = tls.map(|tls| tls.toward(&self.host.name)).transpose()?;
        let (route, socket) = dial::connect(self.host, secure, self.config.required_peer.as_deref(), deadline).await?;
        let peer = route.peer();
        self.open_on(route, socket).await.map_err(|error| error.at(&peer))
    }

    async fn open_on<T: Open>(&self, route: Route, mut socket: Socket) -> Result<T, Error> {
        let password = passwords::of(self.config, self.host).await?;
        let encryption = socket.encryption().map_or("no TLS", |encryption| encryption.version);
        let since = clock::now();
        let request = start(self.config, &password, &mut socket).await?;
        let (wire, driver) = Driver::start(socket, route.peer(), self.timing.patience(), since)?;
        T::set_up(self, Started { wire, driver, route, password, request, encryption }).await
    }
}

impl Open for Session {
    async fn set_up(attempt: &Attempt<'_>, started: Started) -> Result<Session, Error> {
        let Attempt { config, host, target, timing, is_suspicious, .. } = *attempt;
        let Started { wire, driver, route, password, request, encryption } = started;
        let patience = timing.patience();
        let fingerprint = new_fingerprint()?;
        // The process id for cancel requests is that of whoever stands between, if anybody does. Where somebody is
        // known to, nothing is set before a backend is known to be left to the session: the one that is told of may be
        // another's by then.
        let told = Backend { pid: request.pid(), fingerprint: String::new() };
        let expected = Expected { backend: told, most_locks: None };
        let at_once = match is_suspicious {
            true => None,
            false => Some(setup::set_up(&wire, config, timing, &expected, &fingerprint).await?),
        };
        let pooler = Arc::new(Pooler { config: config.clone(), password, route: route.clone(), patience });
        let (found, is_lent) = match at_once.filter(|found| found.backend.is_some()) {
            Some(found) => (found, false),
            None => {
                let (expected, cleanup) = pooler.backend_of(&wire, is_suspicious).await?;
                let cleanup = cleanup.of_session(&fingerprint);
                match setup::set_up(&wire, config, timing, &expected, &fingerprint).await {
                    Ok(found) if found.backend.is_some() => {
                        // The session's own end sees to it from now on.
                        cleanup.dismiss();
                        (found, true)
                    }
                    failed => {
                        cleanup.run(&wire).await;
                        return Err(failed.err().unwrap_or_else(Error::transaction_pooling));
                    }
                }
            }
        };
        let server = found.server;
        let backend = found.backend.ok_or_else(Error::transaction_pooling)?;
        let pid = backend.pid;
        notice::trace(|| {
            let kind = if server.is_standby { ", a standby" } else { "" };
            let between = if is_lent { ", lent by a pooler" } else { "" };
            format!("backend {pid}: connected to {} as {}, {encryption}{kind}{between}", route.peer(), config.user)
        });
        let cancel = Cancel { request, route };
        let session = Session {
            wire,
            driver,
            cancel,
            backend,
            patience,
            pooler,
            lacks_blocks: AtomicBool::new(false),
            is_blind: AtomicBool::new(false),
            may_not_inquire: AtomicBool::new(false),
        };
        if let Err(error) = target.accept(server) {
            session.close().await;
            return Err(error);
        }
        if server.is_standby && !target.wants_standby() {
            warn_of_standby(host);
        }
        session.wire.open(session.backend.clone());
        Ok(session)
    }
}

pub(super) fn warn_of_standby(host: &Host) {
    notice::warn_once(&host.to_string(), "ADVISORY_LOCK_STANDBY", || {
        format!(
            "the server {host} is a hot standby: a lock that is held there excludes those who use the same \
             standby, and nobody on the primary or on another one"
        )
    });
}
