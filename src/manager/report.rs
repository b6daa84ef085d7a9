//! What has come of the work of sessions, until the lock table and those who have asked are told.

use super::mailbox::Answer;
use super::wait::Wait;
use crate::core::lock_table::Event;
use crate::core::{Key, RequestId};
use crate::error::Error;
use std::collections::VecDeque;

pub(super) enum Report {
    /// For the lock table; with the reason of bad news.
    Event(Event, Option<Error>),
    /// For whoever has the ticket.
    Answer(RequestId, Answer),
    /// A [`super::job::Query::Inquire`] could not be made.
    InquiryFailed,
    /// An own key of a hold of this key is given up, by its session or with it.
    FenceEnded(Key),
}

/// Reports in the order in which they are to be told.
#[derive(Default)]
pub(super) struct Reports(VecDeque<Report>);

impl Reports {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take_first(&mut self) -> Option<Report> {
        self.0.pop_front()
    }

    pub fn push(&mut self, report: Report) {
        self.0.push_back(report);
    }

    pub fn push_event(&mut self, event: Event, cause: Option<&Error>) {
        self.push(Report::Event(event, cause.cloned()));
    }

    /// A wait has failed, unless it was to end anyway.
    pub fn push_failed_wait(&mut self, wait: Wait, cause: &Error) {
        let Wait { key, is_cancelled, .. } = wait;
        if is_cancelled {
            self.push_event(Event::WaitEnded { key }, None);
        } else {
            self.push_event(Event::AcquireFailed { key }, Some(cause));
        }
    }
}
