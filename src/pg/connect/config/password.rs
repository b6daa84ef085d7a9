//! Passwords: given once, or asked for each time.

use crate::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A password that cannot be printed by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(pub(in crate::pg) String);

impl From<String> for Password {
    fn from(text: String) -> Password {
        Password(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[hidden]")
    }
}

/// What comes of asking: a password, none, or why there is no answer.
pub type PasswordAnswer = Result<Option<Password>, Error>;

/// A question for a password. Who cannot answer it drops it.
pub struct PasswordQuestion(oneshot::Sender<PasswordAnswer>);

impl PasswordQuestion {
    /// Answers it; in vain where the attempt to connect has been given up.
    pub fn answer(self, answer: PasswordAnswer) {
        let _ = self.0.send(answer);
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

/// Who is asked for the password, each time one is needed. Two are the same if their numbers are.
#[derive(Clone)]
pub struct PasswordSource {
    number: u64,
    ask: Arc<dyn Fn(PasswordQuestion) + Send + Sync>,
}

impl PasswordSource {
    /// `ask` returns at once and has the question answered later.
    pub fn new(number: u64, ask: impl Fn(PasswordQuestion) + Send + Sync + 'static) -> PasswordSource {
        PasswordSource { number, ask: Arc::new(ask) }
    }

    /// Asks.
    ///
    /// # Errors
    /// What the one who was asked fails with; `ERR_CLIENT_CLOSED` where nobody is there any more.
    ///
    /// # Cancel safety
    /// Dropping the future gives the question up; the answer goes nowhere then.
    pub(in crate::pg) async fn ask(&self) -> PasswordAnswer {
        let (sender, receiver) = oneshot::channel();
        (self.ask)(PasswordQuestion(sender));
        receiver.await.unwrap_or_else(|_| Err(Error::client_closed()))
    }
}

impl PartialEq for PasswordSource {
    fn eq(&self, other: &PasswordSource) -> bool {
        self.number == other.number
    }
}

impl Eq for PasswordSource {}

impl Hash for PasswordSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for PasswordSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "function {}", self.number)
    }
}
