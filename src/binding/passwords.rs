//! Functions of JavaScript's that give passwords: the core asks by the mailbox, JavaScript answers by a call.

use super::numbers::{exact, number};
use crate::error::Error;
use crate::manager::{Answer, Mailbox};
use crate::pg::{PasswordAnswer, PasswordQuestion, PasswordSource};
use napi_derive::napi;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Kind of a completion: a password is wanted for a new session. In the place of the request stands the question, in the
/// place of the hold the function to be called.
#[napi]
pub const PASSWORD_WANTED: u32 = 11;

/// The questions of the core to one JavaScript thread.
#[napi]
#[derive(Default)]
pub struct Passwords(pub(super) Arc<Questions>);

#[derive(Default)]
pub(super) struct Questions {
    /// Known when the thread makes its first call.
    mailbox: OnceLock<Arc<Mailbox>>,
    asked: Mutex<Asked>,
    /// Errors that nobody can be told any more.
    forgotten: Mutex<Vec<u64>>,
}

#[derive(Default)]
struct Asked {
    count: u64,
    waiting: HashMap<u64, PasswordQuestion>,
}

#[napi]
impl Passwords {
    /// Nobody is asked yet.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Passwords {
        Passwords::default()
    }

    /// A number for a function, which no other function of the process has.
    #[napi(catch_unwind)]
    pub fn new_number(&self) -> f64 {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        exact(COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Answers a question by a password, or by none.
    #[napi(catch_unwind)]
    pub fn supply(&self, question: f64, password: Option<String>) {
        self.0.answer(number(question), Ok(password.map(Into::into)));
    }

    /// Answers that the function has failed, by an error that JavaScript keeps by this number.
    #[napi(catch_unwind)]
    pub fn fail(&self, question: f64, error: f64) {
        let questions = Arc::clone(&self.0);
        let failed = Error::foreign(number(error), move |error| questions.forgotten().push(error));
        self.0.answer(number(question), Err(failed));
    }

    /// The numbers of errors that need not be kept any more.
    #[napi(catch_unwind)]
    pub fn take_forgotten(&self) -> Vec<f64> {
        std::mem::take(&mut *self.0.forgotten()).into_iter().map(exact).collect()
    }
}

impl Questions {
    /// Who asks this function.
    pub fn source(self: &Arc<Questions>, function: f64) -> PasswordSource {
        let questions = Arc::clone(self);
        let function = number(function);
        PasswordSource::new(function, move |question| questions.ask(function, question))
    }

    /// Questions go into this mailbox from now on.
    pub fn attach(&self, mailbox: &Arc<Mailbox>) {
        self.mailbox.get_or_init(|| Arc::clone(mailbox));
    }

    fn ask(&self, function: u64, question: PasswordQuestion) {
        // Without a mailbox nobody is there to answer.
        let Some(mailbox) = self.mailbox.get() else { return };
        let number = {
            let mut asked = self.asked();
            // Of a function that never answers, as many questions as there were attempts.
            asked.waiting.retain(|_, question| !question.is_given_up());
            asked.count += 1;
            let number = asked.count;
            asked.waiting.insert(number, question);
            number
        };
        let client = mailbox.client;
        mailbox.deliver(client.request(number), Answer::PasswordWanted(client.request(function)));
    }

    fn answer(&self, question: u64, answer: PasswordAnswer) {
        let question = self.asked().waiting.remove(&question);
        if let Some(question) = question {
            question.answer(answer);
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forgotten(&self) -> MutexGuard<'_, Vec<u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
