//! The search for one backend among those that a pooler lends.

use super::access::{Other, Pooler};
use crate::pg::session::call::Parameter;
use crate::pg::sql;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long before a backend is looked for again where something is to be done, at first and at the most: longer each time, and by
/// chance, so that two who search do not stand in each other's way for ever.
const NEXT_SEARCH: Duration = Duration::from_millis(20);
const LATEST_NEXT_SEARCH: Duration = Duration::from_millis(150);
/// How often: it may be gone.
const SEARCHES: u32 = 15;
/// So many server sessions are kept busy at a time to get at one among them: a pool has 20 by default, and lends the latest used
/// first.
const MOST_OCCUPIED: usize = 32;
/// And so long at the most another one is waited for meanwhile, at first and later.
const MOST_WAIT: Duration = Duration::from_millis(100);
const LATER_MOST_WAIT: Duration = Duration::from_secs(1);

impl Pooler {
    /// Has something done by the one backend that does it: sessions that are served by others keep these busy until it comes.
    /// Whether it came in time.
    pub(super) async fn find(&self, text: &'static str, parameters: &[Parameter<'_>]) -> bool {
        let mut others: Vec<Other> = Vec::new();
        let search = async {
            let (mut pause, mut wait) = (NEXT_SEARCH, MOST_WAIT);
            for _ in 0..SEARCHES {
                let is_done = self.occupy(&mut others, wait, text, parameters).await;
                match is_done {
                    Some(is_done) if self.release_all(&others).await.is_some() => {
                        if is_done {
                            return true;
                        }
                    }
                    // One of them has failed, and with it what it was to do.
                    _ => others.clear(),
                }
                // It was busy.
                sleep(by_chance(pause)).await;
                (pause, wait) = ((pause * 2).min(LATEST_NEXT_SEARCH), (wait * 2).min(LATER_MOST_WAIT));
            }
            false
        };
        let is_done = timeout(self.patience.answer, search).await.unwrap_or(false);
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
    async fn occupy(
        &self,
        others: &mut Vec<Other>,
        wait: Duration,
        text: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Option<bool> {
        for place in 0..MOST_OCCUPIED {
            if place == others.len() {
                others.push(self.connect().await?);
            }
            let wire = &others[place].wire;
            let ask = async {
                self.execute(wire, sql::BEFORE_SETUP[0]).await?;
                self.is_done(wire, text, parameters).await
            };
            match timeout(wait, ask).await {
                Ok(Some(false)) => {}
                Ok(is_done) => return is_done,
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
