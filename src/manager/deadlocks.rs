//! The watch for deadlocks: from time to time, while somebody waits, cycles of waits are looked for in the process and, by way
//! of the server, across processes. Of each cycle the youngest wait is refused with `40P01`.

use super::job::Query;
use super::sessions::Sessions;
use crate::core::lock_table::{Link, LockTable, Ticks};
use crate::core::{Key, RequestId, SessionId};
use crate::pg::{Findings, Inquiry, Published};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A deadlock that is found across processes must still be there after this, lest a link that was being withdrawn make one up.
const CONFIRMED_AFTER: Duration = Duration::from_millis(380);
/// Waits that are not in the server's queue must be published to be seen, if their owners hold locks. More than so many of one
/// process are not: then a deadlock is found if one of its waits is in a queue.
const MOST_UNSEEN_WAITS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Deadlocks {
    /// Whether somebody looks from time to time, and whether to begin with it.
    pub is_watched: bool,
    pub is_to_be_watched: bool,
    /// What is to be asked next, while a session has [`Query::Inquire`] to do.
    inquiry: Option<Inquiry>,
    is_under_way: bool,
    /// The session on which the published links are.
    session: Option<SessionId>,
    published: Published,
    /// Links that were found the youngest of a deadlock, and when first.
    suspects: BTreeMap<Link, Instant>,
}

impl Deadlocks {
    /// How often is looked.
    pub const PERIOD: Duration = Duration::from_millis(200);
    /// Younger waits do not count: most end by themselves before. PostgreSQL's own `deadlock_timeout` is as long.
    pub const AGE: Ticks = 1_000_000;
    /// For how many steps in this process is looked at a time, as nobody else gets at the lock table meanwhile.
    pub const STEPS: usize = 1000;

    /// Somebody waits now.
    pub fn watch(&mut self) {
        if !self.is_watched {
            self.is_watched = true;
            self.is_to_be_watched = true;
        }
    }

    /// Whether links are published on this session.
    pub fn are_published_on(&self, session: SessionId) -> bool {
        self.session == Some(session)
    }

    pub fn take_inquiry(&mut self) -> Inquiry {
        self.inquiry.take().unwrap_or_default()
    }

    pub fn inquiry_failed(&mut self) {
        self.inquiry = None;
        self.is_under_way = false;
    }

    /// Asks the other processes, if this one may be in a deadlock with them and its waits are seen by others; whether to look
    /// again some time.
    pub fn inquire(&mut self, table: &LockTable, sessions: &mut Sessions, now: Ticks, is_seen: bool) -> bool {
        if self.session.is_some_and(|session| !sessions.slots.contains(session)) {
            self.session = None;
            self.published.clear();
        }
        if !self.is_under_way && is_seen {
            self.inquire_now(table, sessions, now);
        }
        self.is_watched = table.has_waiters() || self.is_under_way || !self.published.is_empty();
        self.is_watched
    }

    fn inquire_now(&mut self, table: &LockTable, sessions: &mut Sessions, now: Ticks) {
        let here = Instant::now();
        let since = |&(_, since): &(RequestId, Ticks)| {
            let age = Duration::from_micros(now.saturating_sub(since));
            here.checked_sub(age).unwrap_or(here)
        };
        let mut links: BTreeMap<Link, Instant> =
            table.links(Self::AGE, now).iter().map(|(&link, wait)| (link, since(wait))).collect();
        if links.is_empty() && self.published.is_empty() {
            return;
        }
        let unseen: BTreeMap<Link, Instant> = links
            .iter()
            .filter(|(link, _)| sessions.waits.polls.contains(link.in_the_way.0))
            .map(|(link, &since)| (Link { held: None, ..*link }, since))
            .collect();
        let keys: BTreeSet<Key> = unseen.keys().map(|link| link.in_the_way.0).collect();
        let unseen = if keys.len() <= MOST_UNSEEN_WAITS { unseen } else { BTreeMap::new() };
        let unconditional: BTreeSet<Link> = unseen.keys().copied().collect();
        links.extend(unseen);
        self.suspects.retain(|link, _| links.contains_key(link));
        let is_old = |since: Instant| since.elapsed() >= CONFIRMED_AFTER;
        let suspects = self.suspects.iter().filter(|(_, since)| is_old(**since)).map(|(&link, _)| link).collect();
        let published = self.published.clone();
        if let Ok(session) = self.session.map_or_else(|| sessions.main_session(table), Ok) {
            self.inquiry = Some(Inquiry { links, unconditional, published, suspects, held: None });
            self.is_under_way = true;
            sessions.push_query(session, Query::Inquire);
        }
    }

    /// Takes note of the answer to an inquiry on this session; the wait to be refused, if there is one.
    pub fn inquired(
        &mut self,
        session: SessionId,
        findings: Findings,
        table: &LockTable,
        now: Ticks,
    ) -> Option<RequestId> {
        self.is_under_way = false;
        self.session = Some(session).filter(|_| !findings.published.is_empty());
        self.published = findings.published;
        self.suspects.retain(|link, _| findings.youngest.contains(link));
        for link in findings.youngest {
            self.suspects.entry(link).or_insert_with(Instant::now);
        }
        let links = table.links(Self::AGE, now);
        // Where two of ours are of one age they may be in the same deadlock: one at a time.
        let confirmed = findings.confirmed.iter().filter_map(|link| links.get(link));
        confirmed.max_by_key(|&&(wait, since)| (since, wait)).map(|&(victim, _)| victim)
    }
}
