//! The search for one backend among those that a pooler lends.

use super::access::{Other, Pooler};
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::sql;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::join;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout, Instant};

/// How long a backend is looked for: it may be gone, or be left to whoever has it for as long as that lasts.
const SEARCH_LIMIT: Duration = Duration::from_secs(60);
/// How long before it is looked for again, at first and at the most: longer each time.
const NEXT_SEARCH: Duration = Duration::from_millis(20);
const LATEST_NEXT_SEARCH: Duration = Duration::from_secs(1);
/// So much longer than the server sessions were kept from others, for whom most of the time is.
const PAUSE_PARTS: u32 = 3;
/// So many server sessions are kept busy at a time to get at one among them: a pool has 20 by default, and lends the
/// latest used first.
const MOST_OCCUPIED: usize = 32;
/// And so long another one is waited for meanwhile, or twice that, as whoever searches as well waits for another time;
/// besides what an answer takes, of which a new connection needs more than one.
const MOST_WAIT: Duration = Duration::from_millis(50);
const ANSWERS_TO_CONNECT: u32 = 10;

/// Of this process one search at a time keeps sessions busy: two would keep what they look for from each other.
static TURN: Mutex<()> = Mutex::const_new(());

impl Pooler {
    /// Has something done by the one backend that does it: sessions that are served by others keep these busy until it comes.
    /// Whether it came in time.
    ///
    /// # Cancel safety
    /// It may be done.
    pub(super) async fn find(&self, text: &'static str, parameters: &[Parameter<'_>]) -> bool {
        let mut others: Vec<Other> = Vec::new();
        let search = async {
            let mut pause = NEXT_SEARCH;
            loop {
                let turn = TURN.lock().await;
                let since = Instant::now();
                let is_done = self.occupy(&mut others, text, parameters).await;
                match is_done {
                    Some(is_done) if self.release_all(&others).await.is_some() => {
                        if is_done {
                            return;
                        }
                    }
                    // One of them has failed, and with it what it was to do.
                    _ => others.clear(),
                }
                drop(turn);
                // It was busy.
                let kept = (since.elapsed() * PAUSE_PARTS).min(LATEST_NEXT_SEARCH);
                sleep(by_chance(pause.max(kept))).await;
                pause = (pause * 2).min(LATEST_NEXT_SEARCH);
            }
        };
        let is_done = timeout(SEARCH_LIMIT, search).await.is_ok();
        for other in others {
            other.close().await;
        }
        is_done
    }

    async fn release_all(&self, others: &[Other]) -> Option<()> {
        for other in others {
            self.execute(&other.wire, sql::COMMIT).await?;
        }
        Some(())
    }

    /// Whether it is done by one of the backends that are free.
    async fn occupy(&self, others: &mut Vec<Other>, text: &'static str, parameters: &[Parameter<'_>]) -> Option<bool> {
        // What the quickest answer has taken. Whoever waits for the first one has nothing in hand that others need.
        let mut quickest = self.patience.answer;
        let wait = by_chance(MOST_WAIT);
        for place in 0..MOST_OCCUPIED {
            let is_first = place == 0;
            let limit = |answers: u32| if is_first { quickest } else { wait + quickest * answers };
            if place == others.len() {
                match timeout(limit(ANSWERS_TO_CONNECT), self.connect()).await {
                    Ok(other) => others.push(other?),
                    Err(_) => return Some(false),
                }
            }
            let since = Instant::now();
            let wire = &others[place].wire;
            // Both at once.
            let began = wire.ask(Statement::once(sql::BEFORE_SETUP[0]), &[], self.patience.answer);
            let asked = self.is_done(wire, text, parameters);
            match timeout(limit(1), async { join!(began, asked) }).await {
                Ok((Ok(_), Some(false))) => quickest = quickest.min(since.elapsed()),
                Ok((began, is_done)) => return began.ok().and(is_done),
                // None is free, and whoever waits for another with some in hand holds up everybody.
                Err(_) => {
                    others.truncate(place);
                    return Some(false);
                }
            }
        }
        Some(false)
    }
}

/// Up to twice as long.
fn by_chance(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    pause + pause * u32::try_from(random).unwrap_or(0) / 1024
}
