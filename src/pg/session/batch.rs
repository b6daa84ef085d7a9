//! A batch: steps to one statement, and its answer back to an answer for each step.

use crate::core::{Key, Step};
use crate::error::Error;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Answer, Parameter, Statement};
use crate::pg::sql::{self, Action};
use tokio_postgres::types::Type;

/// Names a batch of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchId(pub(in crate::pg) u64);

/// What has become of a batch.
#[derive(Debug)]
pub struct Answered {
    /// Which one.
    pub batch: BatchId,
    /// An answer for each step; or what went wrong with the statement, of which some steps may have been done.
    pub answers: Result<Vec<bool>, Fault>,
}

/// A batch that is under way.
#[derive(Debug)]
pub(super) struct Batch {
    pub id: BatchId,
    pub steps: Vec<Step>,
}

/// For any batch.
const MANY: Statement = Statement { name: "batch", text: sql::BATCH };
/// For a batch of one row, as [`sql::SINGLE`] has them.
const SINGLE: [[Statement; 4]; 2] = [
    named(["lock", "lock_shared", "unlock", "unlock_shared"], sql::SINGLE[0]),
    named(["lock_single", "lock_shared_single", "unlock_single", "unlock_shared_single"], sql::SINGLE[1]),
];

const fn named(names: [&'static str; 4], texts: [&'static str; 4]) -> [Statement<'static>; 4] {
    let mut statements = [MANY; 4];
    let mut place = 0;
    while place < statements.len() {
        statements[place] = Statement { name: names[place], text: texts[place] };
        place += 1;
    }
    statements
}

/// The rows that do the steps, in order.
pub(super) fn rows(steps: &[Step]) -> Vec<(Action, Key)> {
    let mut rows = Vec::with_capacity(steps.len());
    steps.iter().for_each(|step| step.push_rows(&mut rows));
    rows
}

/// The statement for all of it, if one row is all, and its key.
fn single(rows: &[(Action, Key)]) -> Option<(Statement<'static>, Key)> {
    let [(action, key)] = *rows else { return None };
    Some((SINGLE[usize::from(key.space() == 1)][action.single()?], key))
}

/// Gives the call that does the rows to `ask`: nothing is done by a backend without this fingerprint.
pub(super) fn request<T>(
    rows: &[(Action, Key)],
    fingerprint: &str,
    ask: impl FnOnce(Statement, &[Parameter]) -> T,
) -> T {
    if let Some((statement, key)) = single(rows) {
        let (high, low) = key.halves();
        return ask(statement, &[(&high, Type::INT4), (&low, Type::INT4), (&fingerprint, Type::TEXT)]);
    }
    let actions: Vec<i16> = rows.iter().map(|(action, key)| action.code(key.space())).collect();
    let (highs, lows): (Vec<i32>, Vec<i32>) = rows.iter().map(|(_, key)| key.halves()).unzip();
    let parameters: &[Parameter] = &[
        (&actions, Type::INT2_ARRAY),
        (&highs, Type::INT4_ARRAY),
        (&lows, Type::INT4_ARRAY),
        (&fingerprint, Type::TEXT),
    ];
    ask(MANY, parameters)
}

/// Answers for the steps from the answer to their statement.
///
/// # Errors
/// The statement's fault; or the session is lost, as another backend or no PostgreSQL has answered.
pub(super) fn read(steps: &[Step], answer: Answer) -> Result<Vec<bool>, Fault> {
    let answer = answer?;
    let [row] = &answer[..] else { return Err(Fault::of_protocol("another number of rows than one")) };
    let values = if single(&rows(steps)).is_some() {
        row.try_get(0).map(|value| value.map(|value: bool| vec![value]))
    } else {
        row.try_get::<Vec<bool>>(0)
    };
    // Nothing is done in another backend than the session began with.
    let Some(values) = values.map_err(Fault::Lost)? else { return Err(Fault::Lost(Error::transaction_pooling())) };
    let mut values = values.into_iter();
    let answers: Option<Vec<bool>> = steps.iter().map(|step| step.answer(&mut values)).collect();
    match answers {
        Some(answers) if values.next().is_none() => Ok(answers),
        _ => Err(Fault::of_protocol("another number of steps than it was asked")),
    }
}

impl Batch {
    /// What has become of it.
    pub fn answered(self, answer: Answer) -> Answered {
        Answered { batch: self.id, answers: read(&self.steps, answer) }
    }
}
