//! The watch for deadlocks: from time to time, while somebody waits, rings of waits are looked for in the process and, by way
//! of the server, across processes. Of each ring the youngest wait is refused with `40P01`.

use super::slot::Job;
use super::state::State;
use crate::core::lock_table::{Link, Search, Ticks};
use crate::core::{Key, RequestId, SessionId};
use crate::pg::{Findings, Inquiry, Published};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often is looked.
pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// Younger waits do not count: most end by themselves before. PostgreSQL's own `deadlock_timeout` is as long.
const AGE: Ticks = 1_000_000;
/// A ring that is found across processes must still be there after this, lest a link that was being withdrawn make one.
const DOUBT: Duration = Duration::from_millis(380);
/// Waits that are not in the server's queue must be published to be seen, if their owners hold locks. More than so many of one
/// process are not: then a ring is found if one of its waits is in a queue.
const MOST_UNSEEN_WAITS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Rings {
    pub watching: bool,
    /// What is to be asked next, while a session has [`Job::Inquire`] to do.
    inquiry: Option<Inquiry>,
    under_way: bool,
    /// The session on which the published links are.
    session: Option<SessionId>,
    published: Published,
    /// Links that were found the youngest of a ring, and when first.
    suspects: BTreeMap<Link, Instant>,
}

impl Rings {
    /// Whether links are published on this session.
    pub fn is_on(&self, session: SessionId) -> bool {
        self.session == Some(session)
    }

    pub fn take_inquiry(&mut self) -> Inquiry {
        self.inquiry.take().unwrap_or_default()
    }

    pub fn inquiry_failed(&mut self) {
        self.inquiry = None;
        self.under_way = false;
    }
}

impl State {
    /// Somebody waits now.
    pub fn watch_for_deadlocks(&mut self) {
        if !self.rings.watching {
            self.rings.watching = true;
            self.start_watching = true;
        }
    }

    /// Looks for deadlocks; whether to do so again.
    pub fn watch_round(&mut self) -> bool {
        loop {
            match self.update_table(None, |table, now| table.search_deadlock(AGE, now, usize::MAX)) {
                Search::Ring(youngest) => self.update_table(None, |table, now| table.refuse(youngest, now)),
                Search::Unfinished => {}
                Search::Done => break,
            }
        }
        if self.rings.session.is_some_and(|session| !self.slots.contains_key(&session)) {
            self.rings.session = None;
            self.rings.published.clear();
        }
        // A wait through a pooler is nowhere to be seen by others.
        if !self.rings.under_way && self.pooled.is_none() {
            self.inquire();
        }
        self.rings.watching = self.table.has_waiters() || self.rings.under_way || !self.rings.published.is_empty();
        self.rings.watching
    }

    /// Asks the other processes, if this one may be tied into a ring with them.
    fn inquire(&mut self) {
        let now = self.now();
        let since = |&(_, since): &(RequestId, Ticks)| Duration::from_micros(now.saturating_sub(since));
        let mut links: BTreeMap<Link, Duration> =
            self.table.links(AGE, now).iter().map(|(&link, wait)| (link, since(wait))).collect();
        if links.is_empty() && self.rings.published.is_empty() {
            return;
        }
        let unseen: BTreeMap<Link, Duration> = links
            .iter()
            .filter(|(link, _)| self.retries.get_mut(link.in_the_way.0).is_some())
            .map(|(link, &age)| (Link { held: None, ..*link }, age))
            .collect();
        let keys: BTreeSet<Key> = unseen.keys().map(|link| link.in_the_way.0).collect();
        let unseen = if keys.len() <= MOST_UNSEEN_WAITS { unseen } else { BTreeMap::new() };
        let unconditional: BTreeSet<Link> = unseen.keys().copied().collect();
        links.extend(unseen);
        self.rings.suspects.retain(|link, _| links.contains_key(link));
        let old = |since: Instant| since.elapsed() >= DOUBT;
        let suspects = self.rings.suspects.iter().filter(|(_, since)| old(**since)).map(|(&link, _)| link).collect();
        let published = self.rings.published.clone();
        self.rings.inquiry = Some(Inquiry { links, unconditional, published, suspects, held: None });
        self.rings.under_way = true;
        let session = self.rings.session.unwrap_or_else(|| self.main_session());
        self.push_or_fail(session, Job::Inquire);
    }

    /// Takes note of the answer to an inquiry on this session.
    pub fn inquired(&mut self, session: SessionId, findings: Findings) {
        let rings = &mut self.rings;
        rings.under_way = false;
        rings.session = Some(session).filter(|_| !findings.published.is_empty());
        rings.published = findings.published;
        rings.suspects.retain(|link, _| findings.youngest.contains(link));
        for link in findings.youngest {
            rings.suspects.entry(link).or_insert_with(Instant::now);
        }
        let links = self.table.links(AGE, self.now());
        // Where two of ours are of one age they may be in the same ring: one at a time.
        let victim =
            findings.confirmed.iter().filter_map(|link| links.get(link)).max_by_key(|&&(wait, since)| (since, wait));
        if let Some(&(victim, _)) = victim {
            self.update_table(None, |table, now| table.refuse(victim, now));
        }
    }
}
