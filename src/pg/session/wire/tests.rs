//! The server's answers reach whom they belong to, however the bytes are cut; and a server that lies harms nobody.

use super::pipeline::{Asked, Pipeline, Received, Recipient};
use crate::core::{Key, Mode, Step};
use crate::error::Error;
use crate::pg::fault::Fault;
use crate::pg::session::batch::{self, Answered, Batch, BatchId};
use crate::pg::session::call::{Answer, Statement};
use bytes::BufMut;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const FINGERPRINT: &str = "0123456789abcdef";
const LIMIT: Duration = Duration::from_secs(1);

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.put_u32(u32::try_from(body.len() + 4).unwrap());
    message.extend_from_slice(body);
    message
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn error(severity: &str, code: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{code}\0Mit failed\0\0").as_bytes())
}

fn notice() -> Vec<u8> {
    [message(b'N', b"SNOTICE\0\0"), message(b'S', b"TimeZone\0UTC\0")].concat()
}

fn row(value: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![0, 1];
    match value {
        Some(value) => {
            body.put_i32(i32::try_from(value.len()).unwrap());
            body.extend_from_slice(value);
        }
        None => body.put_i32(-1),
    }
    message(b'D', &body)
}

/// `bool[]` in binary (`array_recv` in PostgreSQL's sources).
fn array(values: &[bool]) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [1, 0, 16, i32::try_from(values.len()).unwrap(), 1] {
        body.put_i32(number);
    }
    for value in values {
        body.put_i32(1);
        body.put_u8(u8::from(*value));
    }
    body
}

/// An answer of these rows to a call that has brought its text or not.
fn answer_of(rows: &[Vec<u8>], brings_text: bool) -> Vec<u8> {
    let parsed = if brings_text { message(b'1', b"") } else { Vec::new() };
    [parsed, message(b'2', b""), rows.concat(), message(b'C', b"SELECT 1\0"), ready()].concat()
}

/// The server's answer to a batch of tries.
fn answer(values: &[bool], brings_text: bool) -> Vec<u8> {
    let row = match values {
        [value] => row(Some(&[u8::from(*value)])),
        _ => row(Some(&array(values))),
    };
    answer_of(&[row], brings_text)
}

fn tries(count: usize) -> Vec<Step> {
    let key = |low: usize| Key::Pair(1, i32::try_from(low).unwrap());
    (0..count).map(|low| Step::Try { key: key(low), mode: Mode::Exclusive }).collect()
}

/// One side of a conversation.
#[derive(Default)]
struct Conversation {
    pipeline: Pipeline,
    batches: u64,
    moment: u64,
}

impl Conversation {
    /// Each request is made a millisecond after the one before.
    fn asked(&mut self) -> Asked {
        self.moment += 1;
        Asked { at: Instant::now(), on: Duration::from_millis(self.moment) }
    }

    fn send(&mut self, steps: Vec<Step>) -> BatchId {
        self.batches += 1;
        let (id, asked) = (BatchId(self.batches), self.asked());
        batch::request(&batch::rows(&steps), FINGERPRINT, |statement, parameters| {
            let to = Recipient::Batch(Batch { id, steps: steps.clone() });
            self.pipeline.ask(statement, parameters, asked, LIMIT, to);
        });
        id
    }

    fn ask(&mut self) -> oneshot::Receiver<Answer> {
        let (caller, answer) = oneshot::channel();
        let asked = self.asked();
        self.pipeline.ask(Statement::once("SELECT true"), &[], asked, LIMIT, Recipient::Caller(caller));
        answer
    }

    fn try_receive(&mut self, bytes: &[u8]) -> (Received, Result<Vec<Answered>, Error>) {
        let (received, goes_on) = self.pipeline.receive(bytes);
        let mut answered = Vec::new();
        self.pipeline.hand_out(&mut answered);
        (received, goes_on.map(|()| answered))
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Answered> {
        self.try_receive(bytes).1.expect("the conversation goes on")
    }

    /// Why the conversation does not go on.
    fn breaks(&mut self, bytes: &[u8]) -> Error {
        self.try_receive(bytes).1.expect_err("the conversation is over")
    }

    fn sent(&mut self) -> usize {
        self.pipeline.out.split().len()
    }
}

fn fault(answered: &[Answered]) -> &Fault {
    assert_eq!(answered.len(), 1);
    answered[0].answers.as_ref().unwrap_err()
}

fn refusal(answered: &[Answered]) -> &str {
    match fault(answered) {
        Fault::Statement(error) => error.code(),
        Fault::Lost(_) => panic!("the session goes on"),
    }
}

#[test]
fn a_statement_is_sent_once() {
    let mut conversation = Conversation::default();
    conversation.send(tries(1));
    let first = conversation.sent();
    conversation.send(tries(1));
    assert!(conversation.sent() < first / 2);
}

#[test]
fn a_statement_that_was_refused_is_sent_again_and_those_who_relied_on_it_hear_why() {
    let mut conversation = Conversation::default();
    conversation.send(tries(1));
    let first = conversation.sent();
    conversation.send(tries(1));
    conversation.sent();
    let refused = [error("ERROR", "57014"), ready()].concat();
    assert_eq!(refusal(&conversation.receive(&refused)), "57014");
    let unknown = [error("ERROR", "26000"), ready()].concat();
    assert_eq!(refusal(&conversation.receive(&unknown)), "57014");
    conversation.send(tries(1));
    assert_eq!(conversation.sent(), first);
    conversation.receive(&answer(&[true], true));
    // What was refused once is no excuse for ever.
    conversation.send(tries(1));
    assert!(matches!(fault(&conversation.receive(&unknown)), Fault::Lost(error) if error.is_transaction_pooling()));
}

#[test]
fn another_backend_is_a_pooler() {
    let foreign = [message(b'1', b""), error("ERROR", "26000"), ready()].concat();
    for reply in [answer_of(&[row(None)], true), foreign] {
        let mut conversation = Conversation::default();
        conversation.send(tries(1));
        let answered = conversation.receive(&reply);
        assert!(matches!(fault(&answered), Fault::Lost(error) if error.is_transaction_pooling()));
    }
}

#[test]
fn a_wrong_number_of_answers_ends_the_session() {
    let one = |values| vec![row(Some(&array(values)))];
    for rows in [one(&[true]), one(&[true; 3]), vec![], [one(&[true; 2]), one(&[true; 2])].concat()] {
        let mut conversation = Conversation::default();
        conversation.send(tries(2));
        let answered = conversation.receive(&answer_of(&rows, true));
        assert!(matches!(fault(&answered), Fault::Lost(error) if error.code() == "08P01"));
    }
}

#[test]
fn the_last_words_of_the_server_end_the_conversation_and_spoil_no_answer_before_them() {
    let mut conversation = Conversation::default();
    conversation.send(tries(1));
    conversation.send(tries(2));
    let bytes = [answer(&[true], true), error("FATAL", "57P01")].concat();
    let (_, goes_on) = conversation.pipeline.receive(&bytes);
    assert_eq!(goes_on.unwrap_err().code(), "57P01");
    conversation.pipeline.end(&Error::new("57P01", ""), true);
    let mut answered = Vec::new();
    conversation.pipeline.hand_out(&mut answered);
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].answers.as_ref().unwrap(), &[true]);
}

#[test]
fn last_words_are_understood_when_nothing_is_asked() {
    assert_eq!(Conversation::default().breaks(&error("FATAL", "57P01")).code(), "57P01");
}

#[test]
fn what_leaves_the_protocol_ends_the_conversation() {
    let broken: [&[u8]; 8] = [
        b"D\0\0\0\x03",
        b"D\x7f\xff\xff\xff",
        b"D\xff\xff\xff\xff",
        b"E\x00\x20\x00\x00",
        b"N\x7f\xff\xff\xff",
        b"T\0\0\0\x06\0\0",
        b"?\0\0\0\x04",
        b"HTTP/1.1 400 Bad Request\r\n",
    ];
    for bytes in broken {
        let mut conversation = Conversation::default();
        conversation.send(tries(1));
        assert_eq!(conversation.breaks(bytes).code(), "08P01", "{bytes:?}");
    }
}

#[test]
fn answers_out_of_order_end_the_conversation() {
    let (parsed, bound, done) = (message(b'1', b""), message(b'2', b""), message(b'C', b"SELECT 1\0"));
    let closed = message(b'3', b"");
    let orders = [
        ready(),
        [closed.clone(), closed.clone()].concat(),
        [closed.clone(), parsed.clone(), closed].concat(),
        bound.clone(),
        [parsed.clone(), parsed.clone()].concat(),
        [parsed.clone(), row(Some(&[1]))].concat(),
        [parsed.clone(), bound.clone(), ready()].concat(),
        [parsed.clone(), bound.clone(), done.clone(), row(Some(&[1]))].concat(),
        [parsed.clone(), bound.clone(), done.clone(), ready(), ready()].concat(),
        [parsed, error("ERROR", "53200"), bound].concat(),
    ];
    for bytes in orders {
        let mut conversation = Conversation::default();
        conversation.send(tries(1));
        assert_eq!(conversation.breaks(&bytes).code(), "08P01", "{bytes:?}");
    }
}

#[test]
fn what_is_said_unasked_is_no_answer_and_has_an_end() {
    let mut conversation = Conversation::default();
    let answer = conversation.ask();
    let (received, _) = conversation.try_receive(&notice().repeat(100));
    assert!(received.of_answers == 0 && received.latest.is_none());
    let reply = answer_of(&[row(Some(&[1]))], true);
    assert_eq!(conversation.try_receive(&reply).0.of_answers, reply.len());
    assert!(answer.blocking_recv().unwrap().unwrap()[0].get::<bool>(0).unwrap());
    let flood = message(b'N', &[b'a'; 1000]);
    let count = (0..).find(|_| conversation.try_receive(&flood).1.is_err()).unwrap();
    assert!((1000..2000).contains(&count), "after {count} kB");
}

#[test]
fn a_long_error_is_cut_and_rows_without_end_are_refused() {
    let mut conversation = Conversation::default();
    conversation.send(tries(1));
    let text = "x".repeat(500_000);
    let long = message(b'E', format!("SERROR\0VERROR\0C53200\0M{text}\0\0").as_bytes());
    let answered = conversation.receive(&[long, ready()].concat());
    assert!(matches!(fault(&answered), Fault::Statement(error) if error.message().len() == 8192));
    conversation.send(tries(1));
    let head = [message(b'1', b""), message(b'2', b"")].concat();
    conversation.receive(&head);
    let large = row(Some(&[1; 1_000_000]));
    let count = (0..).find(|_| conversation.try_receive(&large).1.is_err()).unwrap();
    assert!(count <= 16, "after {count} MB");
}

#[test]
fn an_answer_is_a_sign_of_life_of_the_moment_when_it_was_asked_for() {
    let mut conversation = Conversation::default();
    conversation.send(tries(1));
    conversation.send(tries(1));
    assert_eq!(conversation.try_receive(&answer(&[true], true)).0.latest, Some(Duration::from_millis(1)));
    let refused = [error("ERROR", "57014"), ready()].concat();
    assert_eq!(conversation.try_receive(&refused).0.latest, Some(Duration::from_millis(2)), "an error is one too");
}

#[test]
fn whoever_waits_is_told_of_the_end() {
    let mut conversation = Conversation::default();
    let (answered, unanswered) = (conversation.ask(), conversation.ask());
    let _ = conversation.pipeline.receive(&answer_of(&[], true));
    conversation.pipeline.end(&Error::new("ECONNRESET", ""), false);
    for answer in [answered, unanswered] {
        assert!(matches!(answer.blocking_recv().unwrap(), Err(Fault::Lost(error)) if error.code() == "ECONNRESET"));
    }
}

/// What happens in a conversation, and what the server says to it.
#[derive(Clone, Debug)]
enum Turn {
    Query(usize),
    Batch(Vec<bool>),
    Failed,
    Notice,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        (0..5usize).prop_map(Turn::Query),
        vec(any::<bool>(), 1..20).prop_map(Turn::Batch),
        Just(Turn::Failed),
        Just(Turn::Notice)
    ]
}

proptest! {
    #[test]
    fn everybody_gets_his_own(turns in vec(turn(), 1..20), cuts in vec(1..40usize, 1..20)) {
        let mut conversation = Conversation::default();
        let (mut server, mut queries, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        let mut known = [false; 2];
        for turn in &turns {
            match turn {
                Turn::Query(count) => {
                    queries.push((conversation.ask(), *count));
                    server.extend(answer_of(&vec![row(Some(&[1])); *count], true));
                }
                Turn::Batch(values) => {
                    let id = conversation.send(tries(values.len()));
                    let first = !std::mem::replace(&mut known[usize::from(values.len() > 1)], true);
                    server.extend(answer(values, first));
                    batches.push((id, Some(values.clone())));
                }
                Turn::Failed => {
                    let id = conversation.send(tries(3));
                    let parsed = if std::mem::replace(&mut known[1], true) { vec![] } else { message(b'1', b"") };
                    server.extend([parsed, message(b'2', b""), error("ERROR", "53200"), ready()].concat());
                    batches.push((id, None));
                }
                Turn::Notice => server.extend(notice()),
            }
        }
        let mut answered = Vec::new();
        let mut rest = &server[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            answered.extend(conversation.receive(now));
            rest = later;
        }
        let answered: Vec<_> = answered.into_iter().map(|done| (done.batch, done.answers.ok())).collect();
        prop_assert_eq!(answered, batches);
        for (mut answer, count) in queries {
            prop_assert_eq!(answer.try_recv().unwrap().unwrap().len(), count);
        }
        prop_assert!(conversation.pipeline.front().is_none());
    }

    #[test]
    fn a_server_that_lies_harms_nobody(bytes in vec(any::<u8>(), 0..200), count in 1..4usize, cut in 1..200usize) {
        let mut conversation = Conversation::default();
        for batch in 1..=count {
            conversation.send(tries(batch));
        }
        for part in bytes.chunks(cut) {
            match conversation.try_receive(part).1 {
                Ok(answered) => prop_assert!(answered.iter().all(|done| done.answers.is_err())),
                Err(error) => {
                    prop_assert!(!error.code().is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn tags_of_the_protocol_with_any_bodies_harm_nobody(
        messages in vec((prop::sample::select(&b"123ACDEGHIKNRSTVWZcdnst"[..]), vec(any::<u8>(), 0..30)), 0..20),
    ) {
        let mut conversation = Conversation::default();
        conversation.send(tries(2));
        drop(conversation.ask());
        for (tag, body) in messages {
            if conversation.try_receive(&message(tag, &body)).1.is_err() {
                break;
            }
        }
    }
}
