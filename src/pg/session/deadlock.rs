//! Deadlocks across sessions, which PostgreSQL cannot see: processes publish what they hold and wait for, and look for deadlocks.
//!
//! Only what may be part of a deadlock is published: a link whose held lock somebody waits for.

use crate::core::lock_table::Link;
use crate::core::{Key, Mode};
use crate::pg::fault::Fault;
use crate::pg::session::call::{Parameter, Statement};
use crate::pg::session::held_names::HeldNames;
use crate::pg::session::row::Row;
use crate::pg::session::{again_if_cancelled, decode, Session};
use crate::pg::sql;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio_postgres::types::Type;

/// Links that are known to the other processes, with the time in milliseconds since when they are true: 32 bits of the
/// server's clock.
pub type Published = BTreeMap<Link, i64>;

/// What this process would tell the others, and what it suspects.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// The links, and since when they are true.
    pub links: BTreeMap<Link, Instant>,
    /// Those that are to be published whether or not somebody is seen to wait.
    pub unconditional: BTreeSet<Link>,
    /// What is published so far.
    pub published: Published,
    /// Links that have been found the youngest of a deadlock before: to be looked up once more by other hashes.
    pub suspects: BTreeSet<Link>,
    /// What the session says of its locks meanwhile.
    pub held: Option<HeldNames>,
}

/// The answer to an [`Inquiry`].
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What is published now.
    pub published: Published,
    /// Links that are the youngest of a deadlock.
    pub youngest: BTreeSet<Link>,
    /// Suspects that are it by both looks.
    pub confirmed: BTreeSet<Link>,
}

/// One moment by two clocks. That of the server is known as well as the answer was quick.
#[derive(Clone, Copy, Debug)]
struct ServerTime {
    here: Instant,
    /// In milliseconds, of which 32 bits count.
    there: i64,
}

impl ServerTime {
    /// An earlier moment by the clock of the server.
    fn of(self, moment: Instant) -> i64 {
        let ago = self.here.saturating_duration_since(moment).as_millis();
        (self.there - i64::try_from(ago).unwrap_or(0)) & 0xffff_ffff
    }
}

impl Session {
    /// Publishes, withdraws and looks.
    ///
    /// # Errors
    /// [`Fault::Statement`]: nothing has changed, or what was to be withdrawn is. [`Fault::Lost`].
    ///
    /// # Cancel safety
    /// None: links may stay published until the session ends.
    pub async fn inquire(&self, inquiry: &Inquiry) -> Result<Findings, Fault> {
        if self.may_not_inquire.load(Ordering::Relaxed) {
            return Ok(Findings { published: inquiry.published.clone(), ..Findings::default() });
        }
        let findings = self.publish_and_look(inquiry).await;
        if findings.as_ref().is_err_and(Fault::is_denied) {
            // Each time would be an error in the server's log.
            self.may_not_inquire.store(true, Ordering::Relaxed);
        }
        findings
    }

    async fn publish_and_look(&self, inquiry: &Inquiry) -> Result<Findings, Fault> {
        self.trace(|| format!("look for deadlocks among {} waits", inquiry.links.len()));
        let comment = inquiry.held.as_ref().map(HeldNames::comment).unwrap_or_default();
        let (now, wanted) = self.wanted(&inquiry.links, &comment).await?;
        let is_worth_it =
            |link: &Link| inquiry.unconditional.contains(link) || link.held.is_some_and(|held| wanted.contains(&held));
        let mut published = inquiry.published.clone();
        let withdrawn: Published = published
            .iter()
            .filter(|(link, _)| !inquiry.links.contains_key(link) || !is_worth_it(link))
            .map(|(&link, &since)| (link, since))
            .collect();
        published.retain(|link, _| !withdrawn.contains_key(link));
        self.withdraw_links(&withdrawn).await?;
        let fresh = inquiry.links.iter().filter(|(link, _)| is_worth_it(link) && !published.contains_key(link));
        let fresh: Published = fresh.map(|(&link, &since)| (link, now.of(since))).collect();
        if let Err(fault) = self.publish_links(&fresh, true).await {
            // No room for all of them: none, then. Where even that fails the session must go, or others would see what is not.
            // Who lacks the right has published nothing.
            if matches!(fault, Fault::Statement(_)) && !fault.is_denied() {
                self.withdraw_links(&fresh).await.map_err(Fault::into_loss)?;
            }
            return Err(fault);
        }
        published.extend(fresh);
        let youngest = self.youngest_of_cycles(published.keys(), "0", &comment).await?;
        let confirmed = self.youngest_of_cycles(youngest.intersection(&inquiry.suspects), "1", &comment).await?;
        Ok(Findings { published, youngest, confirmed })
    }

    /// The server's time, and which of the locks that the links hold somebody waits for.
    async fn wanted(
        &self,
        links: &BTreeMap<Link, Instant>,
        comment: &str,
    ) -> Result<(ServerTime, BTreeSet<(Key, Mode)>), Fault> {
        let held: BTreeSet<(Key, Mode)> = links.keys().filter_map(|link| link.held).collect();
        let held: Vec<(Key, Mode)> = held.into_iter().collect();
        let spelled: Vec<String> = held.iter().copied().map(spell).collect();
        let asked = Instant::now();
        let row = self.ask(comment, sql::deadlock::WANTED, &[(&spelled, Type::TEXT_ARRAY)]).await?;
        let here = asked + asked.elapsed() / 2;
        let places: Option<Vec<i64>> = decode(row.try_get(2))?;
        Ok((ServerTime { here, there: decode(row.get(1))? }, at_places(&held, &places.unwrap_or_default()).collect()))
    }

    /// What is withdrawn already stays so where it is done again.
    async fn withdraw_links(&self, links: &Published) -> Result<(), Fault> {
        again_if_cancelled(|| self.publish_links(links, false)).await
    }

    async fn publish_links(&self, links: &Published, publish: bool) -> Result<(), Fault> {
        if links.is_empty() {
            return Ok(());
        }
        let (held, awaited) = spell_both(links.keys());
        let since: Vec<i64> = links.values().copied().collect();
        let text = Type::TEXT_ARRAY;
        self.ask(
            "",
            sql::deadlock::PUBLISH_LINKS,
            &[
                (&held, text.clone()),
                (&awaited, text),
                (&since, Type::INT8_ARRAY),
                (&publish, Type::BOOL),
                (&self.backend.fingerprint, Type::TEXT),
            ],
        )
        .await?;
        Ok(())
    }

    async fn youngest_of_cycles(
        &self,
        links: impl Iterator<Item = &Link>,
        look: &str,
        comment: &str,
    ) -> Result<BTreeSet<Link>, Fault> {
        let links: Vec<Link> = links.filter(|link| link.held.is_some()).copied().collect();
        if links.is_empty() {
            return Ok(BTreeSet::new());
        }
        let (held, awaited) = spell_both(links.iter());
        let text = Type::TEXT_ARRAY;
        let row = self
            .ask(comment, sql::deadlock::DEADLOCKS, &[(&held, text.clone()), (&awaited, text), (&look, Type::TEXT)])
            .await?;
        let places: Option<Vec<i64>> = decode(row.try_get(1))?;
        Ok(at_places(&links, &places.unwrap_or_default()).collect())
    }

    async fn ask(&self, comment: &str, statement: &str, parameters: &[Parameter<'_>]) -> Result<Row, Fault> {
        let text = format!("{comment}{statement}");
        let rows = self.wire.ask(Statement::once(&text), parameters, self.patience.answer).await?;
        self.verify_backend(rows.first())?;
        rows.into_iter().next().ok_or_else(|| Fault::of_protocol("no row"))
    }
}

/// The items at these places, which SQL counts from 1.
fn at_places<'a, T: Copy>(items: &'a [T], places: &'a [i64]) -> impl Iterator<Item = T> + 'a {
    places.iter().filter_map(|place| items.get(usize::try_from(place - 1).ok()?).copied())
}

fn spell_both<'a>(links: impl Iterator<Item = &'a Link>) -> (Vec<String>, Vec<String>) {
    links.map(|link| (link.held.map_or_else(String::new, spell), spell(link.in_the_way))).unzip()
}

/// The way [`sql::deadlock::DEADLOCKS`] spells what it finds in `pg_locks`.
fn spell((key, mode): (Key, Mode)) -> String {
    let (high, low) = key.halves();
    let mode = if mode == Mode::Exclusive { 'x' } else { 's' };
    format!("{}.{}.{}.{mode}", high.cast_unsigned(), low.cast_unsigned(), key.space())
}
