//! A turn of waiting in the server's queue: as a block that ends quietly, or as a plain statement where the server has no blocks.

use crate::core::{Key, Mode};
use crate::pg::fault::Fault;
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::session::{decode, Session};
use crate::pg::sql;
use sha2::{Digest, Sha256};
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

/// The statements that wait, for a pair and for a single key.
const WAIT: [Statement; 2] =
    [Statement { name: "wait", text: sql::wait(2) }, Statement { name: "wait_single", text: sql::wait(1) }];
const FREE_PLACE: Statement = Statement { name: "free_place", text: sql::FREE_PLACE };
const OUTCOME: Statement = Statement { name: "turn_outcome", text: sql::TURN_OUTCOME };

/// What a turn has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The lock.
    Granted,
    /// Nothing within its time.
    Over,
    /// Nothing: so many others wait already that there was no place in the queue.
    NoPlace,
}

impl Turn {
    fn of(is_granted: bool) -> Turn {
        if is_granted {
            Turn::Granted
        } else {
            Turn::Over
        }
    }
}

/// What a wait in the server's queue claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// One of the places that are open to a wait that has lasted for so long.
    Place(Duration),
    /// To go before all others, as this session holds the key in the other mode.
    Upgrade,
}

/// A wait that has lasted for so long, in milliseconds, may have one more of the places in the queue. Otherwise those who come again
/// and again would keep out who asks for a place the more seldom the longer it waits.
const SENIORITY: [u64; (sql::LAST_PLACE - sql::LAST_COMMON_PLACE) as usize] =
    [250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 9000, 14_000];
/// Who has waited for so long stands by. A few of all that do are enough in a queue, where each of their turns costs the server a
/// millisecond: they have the last places, for which who comes and goes has not waited long enough.
const STANDING_BY: Duration = Duration::from_secs(6);
const FIRST_PLACE_OF_STANDBYS: i64 = 8;

/// A request to cancel that has not been delivered so long after the end of what it was to end is lost: where there is no room for
/// another connection nobody may ever read it. Should it arrive after all, whoever it hits is told by the server's `57014`.
const DELIVERED_AFTER_THE_END: Duration = Duration::from_secs(1);

/// The numbers of the places in a queue that are open to a wait of this age.
fn open_places(age: Duration) -> RangeInclusive<i64> {
    let is_senior = |&seniority: &u64| age >= Duration::from_millis(seniority);
    let last = SENIORITY.into_iter().filter(is_senior).fold(sql::LAST_COMMON_PLACE, |last, _| last + 1);
    let first = if age >= STANDING_BY { FIRST_PLACE_OF_STANDBYS } else { 0 };
    first..=last
}

/// Where the places in the queue of a key begin: an advisory lock each, among the single keys.
fn places(key: Key) -> i64 {
    let digest = Sha256::digest(format!("advisory-lock-native places {key}"));
    i64::from_le_bytes(std::array::from_fn(|at| digest[at])) & !sql::PLACE_BITS
}

/// The places in the queue of a key.
pub(super) fn places_of(key: Key) -> impl Iterator<Item = Key> {
    let first = places(key);
    (0..=sql::LAST_PLACE).map(move |place| Key::Single(first | place))
}

impl Session {
    /// Whether a place in the queue of this key is free at this moment for a wait of this age: a fifth of the price of a turn
    /// that finds none. Not in a moment when somebody cancels what the session does.
    ///
    /// # Errors
    /// [`Fault::Lost`].
    pub async fn finds_place(&self, key: Key, age: Duration) -> Result<bool, Fault> {
        let (places, open) = (places(key), open_places(age));
        let parameters: [Parameter; 4] = [
            (&places, Type::INT8),
            (open.start(), Type::INT8),
            (open.end(), Type::INT8),
            (&self.backend.fingerprint, Type::TEXT),
        ];
        match self.wire.ask(FREE_PLACE, &parameters, self.patience.answer).await {
            Ok(rows) => {
                self.verify_backend(rows.first())?;
                let is_free: Option<bool> = rows.first().map_or(Ok(None), |row| decode(row.try_get(1)))?;
                Ok(is_free == Some(true))
            }
            Err(Fault::Statement(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// One turn of waiting for a lock in the server's queue, for `turn` at most, or until `interrupted` resolves.
    ///
    /// # Errors
    /// [`Fault::Statement`]: this wait cannot go on (`40P01`, `53200`). [`Fault::Lost`].
    ///
    /// # Cancel safety
    /// None: it may have been granted.
    pub async fn wait_turn(
        &self,
        key: Key,
        mode: Mode,
        claim: Claim,
        turn: Duration,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Turn, Fault> {
        self.trace(|| format!("wait for {key} {mode}"));
        if self.lacks_blocks.load(Ordering::Relaxed) {
            return self.wait_plainly(key, mode, turn, interrupted).await.map(Turn::of);
        }
        let places = match claim {
            Claim::Place(age) => Some((places(key), open_places(age))),
            Claim::Upgrade => None,
        };
        let text = sql::turn(key, mode, turn.as_millis(), places, &self.backend.fingerprint);
        let waited = self.wire.ask(Statement::once(&text), &[], self.patience.answer + turn);
        // Behind it at once: whoever is granted the lock is not to wait for one more round trip.
        let outcome = self.wire.ask(OUTCOME, &[], self.patience.answer);
        match self.answer_or_cancel(waited, interrupted).await {
            Ok(_) => {
                let outcome = match outcome.await {
                    // What was to end the turn has hit this.
                    Err(fault) if fault.is_cancel() => self.look(sql::TURN_OUTCOME, &[]).await?,
                    outcome => outcome?,
                };
                self.verify_backend(outcome.first())?;
                let outcome: Option<String> = outcome.first().map_or(Ok(None), |row| decode(row.try_get(1)))?;
                match outcome.as_deref() {
                    Some("granted") => Ok(Turn::Granted),
                    Some("over") => Ok(Turn::Over),
                    Some("full") => Ok(Turn::NoPlace),
                    _ => Err(Fault::of_protocol("an unknown outcome of a turn")),
                }
            }
            Err(fault) => {
                // Of an earlier turn.
                let _ = outcome.await;
                match fault {
                    Fault::Statement(error) if lacks_blocks(error.code()) => {
                        // PostgreSQL without PL/pgSQL, or a role that may not use it: the next turn does without.
                        self.lacks_blocks.store(true, Ordering::Relaxed);
                        Ok(Turn::Over)
                    }
                    fault => self.find_out(key, mode, fault).await.map(Turn::of),
                }
            }
        }
    }

    async fn wait_plainly(
        &self,
        key: Key,
        mode: Mode,
        turn: Duration,
        interrupted: impl Future<Output = ()>,
    ) -> Result<bool, Fault> {
        let (high, low) = key.halves();
        let (exclusive, limit) = (mode == Mode::Exclusive, turn.as_millis().to_string());
        let parameters: [Parameter; 5] = [
            (&high, Type::INT4),
            (&low, Type::INT4),
            (&exclusive, Type::BOOL),
            (&limit, Type::TEXT),
            (&self.backend.fingerprint, Type::TEXT),
        ];
        let waited = self.wire.ask(WAIT[usize::from(key.space() == 1)], &parameters, self.patience.answer + turn);
        match self.answer_or_cancel(waited, interrupted).await {
            Ok(rows) => self.verify_backend(rows.first()).map(|()| true),
            Err(fault) => self.find_out(key, mode, fault).await,
        }
    }

    async fn answer_or_cancel(
        &self,
        waited: impl Future<Output = Answer>,
        interrupted: impl Future<Output = ()>,
    ) -> Answer {
        tokio::pin!(waited);
        tokio::select! {
            answer = &mut waited => answer,
            () = interrupted => self.cancel_statement(waited).await,
        }
    }

    /// Whether a turn that is out of time or cancelled has won the lock in that very moment: session locks outlive the statement.
    async fn find_out(&self, key: Key, mode: Mode, fault: Fault) -> Result<bool, Fault> {
        match fault {
            Fault::Statement(error)
                if [SqlState::LOCK_NOT_AVAILABLE.code(), SqlState::QUERY_CANCELED.code()].contains(&error.code()) =>
            {
                Ok(self.held().await?.contains(&(key, mode)))
            }
            fault => Err(fault),
        }
    }

    /// Has the server end a statement under way, and awaits its answer. Nothing is sent on the session before the request is
    /// delivered or given up, so that it does not hit what comes next; a request that cannot be delivered is given up, as
    /// turns end by themselves.
    async fn cancel_statement(&self, mut asked: impl Future<Output = Answer> + Unpin) -> Answer {
        self.trace(|| "cancel what it is doing".to_owned());
        let sent = async {
            let socket = self.cancel.connect().await.ok()?;
            self.cancel.send(socket).await.ok()
        };
        let sent = tokio::select! {
            sent = timeout(self.patience.answer, sent) => sent.ok().flatten(),
            // Over by itself before anything was sent.
            answer = &mut asked => return answer,
        };
        let delivered = async {
            if let Some(sent) = sent {
                let _ = timeout(self.patience.answer, sent.delivered()).await;
            }
        };
        tokio::pin!(delivered);
        tokio::select! {
            answer = &mut asked => {
                if !matches!(answer, Err(Fault::Lost(_))) {
                    let _ = timeout(DELIVERED_AFTER_THE_END, delivered).await;
                }
                answer
            }
            () = &mut delivered => asked.await,
        }
    }
}

/// No such language, no right to it, no such syntax.
pub(in crate::pg::session) fn lacks_blocks(code: &str) -> bool {
    [SqlState::UNDEFINED_OBJECT, SqlState::INSUFFICIENT_PRIVILEGE, SqlState::SYNTAX_ERROR]
        .iter()
        .any(|state| state.code() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_for_long_may_have_more_places() {
        let open_after = |milliseconds| open_places(Duration::from_millis(milliseconds));
        assert_eq!([0, 249, 250, 1999, 5999, 6000].map(open_after), [0..=5, 0..=5, 0..=6, 0..=9, 0..=12, 8..=13]);
        assert_eq!([14_000, u64::MAX].map(open_after), [8..=sql::LAST_PLACE, 8..=sql::LAST_PLACE]);
        assert!(SENIORITY.is_sorted());
        assert_eq!(places(Key::Pair(1, 2)) & sql::PLACE_BITS, 0);
        assert_eq!(sql::LAST_PLACE & !sql::PLACE_BITS, 0);
    }
}
