//! The server's answers reach whom they belong to, however the bytes are cut.

use super::*;
use crate::core::{Key, Mode, Step};
use crate::pg::Fault;
use bytes::BufMut;
use postgres_protocol::message::frontend;
use proptest::collection::vec;
use proptest::prelude::*;

const PID: i32 = 77;

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

/// The server's answer to a batch of tries, of which `first` brought the statement's text.
fn answer(values: &[bool], first: bool) -> Vec<u8> {
    let mut bytes = if first { message(b'1', b"") } else { Vec::new() };
    bytes.extend(message(b'2', b""));
    bytes.extend(match values {
        [value] => row(Some(&[u8::from(*value)])),
        _ => row(Some(&array(values))),
    });
    bytes.extend(message(b'C', b"SELECT 1\0"));
    bytes.extend(ready());
    bytes
}

fn tries(count: usize) -> Vec<Step> {
    let key = |low: usize| Key::Pair(1, i32::try_from(low).unwrap());
    (0..count).map(|low| Step::Try { key: key(low), mode: Mode::Exclusive }).collect()
}

/// A conversation that has been opened.
fn opened() -> Exchange {
    let mut exchange = Exchange::new();
    let mut start = BytesMut::new();
    frontend::startup_message([("user", "anybody")], &mut start).unwrap();
    exchange.say(&start);
    assert_eq!(exchange.out.split(), start);
    let mut answered = Vec::new();
    exchange.hear(&[message(b'R', &[0, 0, 0, 0]), ready()].concat(), &mut answered);
    assert!(answered.is_empty());
    exchange.for_client.clear();
    exchange
}

fn query() -> BytesMut {
    let mut bytes = BytesMut::new();
    frontend::parse("", "SELECT 1", [], &mut bytes).unwrap();
    frontend::sync(&mut bytes);
    bytes
}

fn hear_all(exchange: &mut Exchange, bytes: &[u8]) -> Vec<Answered> {
    let mut answered = Vec::new();
    exchange.hear(bytes, &mut answered);
    answered
}

fn fault(answered: &[Answered]) -> &Fault {
    assert_eq!(answered.len(), 1);
    answered[0].answers.as_ref().unwrap_err()
}

#[test]
fn a_batch_does_not_come_between_the_parts_of_a_request() {
    let mut exchange = opened();
    let request = query();
    exchange.say(&request[..9]);
    assert!(exchange.out.is_empty());
    exchange.send(tries(1), PID);
    let batch = exchange.out.split();
    exchange.say(&request[9..]);
    assert_eq!(exchange.out.split(), request);
    assert!(!batch.is_empty());
}

#[test]
fn a_statement_is_sent_once() {
    let mut exchange = opened();
    exchange.send(tries(1), PID);
    let first = exchange.out.split().len();
    exchange.send(tries(1), PID);
    assert!(exchange.out.split().len() < first / 2);
}

#[test]
fn a_statement_that_was_refused_is_sent_again_and_those_who_relied_on_it_hear_why() {
    let mut exchange = opened();
    exchange.send(tries(1), PID);
    let first = exchange.out.split().len();
    exchange.send(tries(1), PID);
    exchange.out.clear();
    let code = |fault: &Fault| match fault {
        Fault::Statement(error) => error.code().to_owned(),
        Fault::Lost(_) => panic!("the session goes on"),
    };
    let refused = [error("ERROR", "57014"), ready()].concat();
    assert_eq!(code(fault(&hear_all(&mut exchange, &refused))), "57014");
    let unknown = [error("ERROR", "26000"), ready()].concat();
    assert_eq!(code(fault(&hear_all(&mut exchange, &unknown))), "57014");
    exchange.send(tries(1), PID);
    assert_eq!(exchange.out.split().len(), first);
}

#[test]
fn another_backend_is_a_pooler() {
    for reply in [row(None), error("ERROR", "26000")] {
        let mut exchange = opened();
        exchange.send(tries(1), PID);
        let reply = [message(b'1', b""), message(b'2', b""), reply, ready()].concat();
        let answered = hear_all(&mut exchange, &reply);
        assert!(matches!(fault(&answered), Fault::Lost(error) if error.is_transaction_pooling()));
    }
}

#[test]
fn a_wrong_number_of_answers_ends_the_session() {
    for values in [&[true][..], &[true; 3]] {
        let mut exchange = opened();
        exchange.send(tries(2), PID);
        let reply = [message(b'1', b""), message(b'2', b""), row(Some(&array(values))), ready()].concat();
        assert!(matches!(fault(&hear_all(&mut exchange, &reply)), Fault::Lost(error) if error.code() == "08P01"));
    }
}

#[test]
fn the_last_words_of_the_server_are_for_the_client() {
    let mut exchange = opened();
    exchange.send(tries(1), PID);
    let last = error("FATAL", "57P01");
    assert!(hear_all(&mut exchange, &last).is_empty());
    assert_eq!(exchange.for_client, last);
}

#[test]
fn what_leaves_the_protocol_is_for_the_client_with_all_that_follows() {
    for bytes in [&b"D\0\0\0\x03"[..], b"D\x7f\xff\xff\xff", b"T\0\0\0\x06\0\0", b"HTTP/1.1 400 Bad Request\r\n"] {
        let mut exchange = opened();
        exchange.send(tries(1), PID);
        assert!(hear_all(&mut exchange, bytes).is_empty());
        assert!(hear_all(&mut exchange, &answer(&[true], true)).is_empty());
        assert!(exchange.for_client.ends_with(&ready()), "{bytes:?}");
    }
}

/// What happens in a conversation, and what the server says to it.
#[derive(Clone, Debug)]
enum Turn {
    Query,
    Batch(Vec<bool>),
    Failed,
    Notice,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        Just(Turn::Query),
        vec(any::<bool>(), 1..20).prop_map(Turn::Batch),
        Just(Turn::Failed),
        Just(Turn::Notice)
    ]
}

proptest! {
    #[test]
    fn everybody_gets_his_own(turns in vec(turn(), 1..20), cuts in vec(1..40usize, 1..20)) {
        let mut exchange = opened();
        let (mut server, mut client, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        let mut known = [false; 2];
        for turn in &turns {
            let mut told = Vec::new();
            match turn {
                Turn::Query => {
                    exchange.say(&query());
                    told.extend([message(b'1', b""), message(b'D', b"\0\0"), ready()].concat());
                    client.extend_from_slice(&told);
                }
                Turn::Batch(values) => {
                    let id = exchange.send(tries(values.len()), PID);
                    let first = !std::mem::replace(&mut known[usize::from(values.len() > 1)], true);
                    told.extend(answer(values, first));
                    batches.push((id, Some(values.clone())));
                }
                Turn::Failed => {
                    let id = exchange.send(tries(3), PID);
                    let parsed = if std::mem::replace(&mut known[1], true) { vec![] } else { message(b'1', b"") };
                    told.extend([parsed, message(b'2', b""), error("ERROR", "53200"), ready()].concat());
                    batches.push((id, None));
                }
                Turn::Notice => {
                    told.extend([message(b'N', b"SNOTICE\0\0"), message(b'S', b"TimeZone\0UTC\0")].concat());
                    client.extend_from_slice(&told);
                }
            }
            server.extend(told);
        }
        let mut answered = Vec::new();
        let mut rest = &server[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            exchange.hear(now, &mut answered);
            rest = later;
        }
        prop_assert_eq!(&exchange.for_client[..], &client[..]);
        let answered: Vec<_> = answered.into_iter().map(|done| (done.batch, done.answers.ok())).collect();
        prop_assert_eq!(answered, batches);
        prop_assert!(exchange.expected.is_empty());
    }

    #[test]
    fn a_server_that_lies_harms_nobody(bytes in vec(any::<u8>(), 0..200), count in 1..4usize, cut in 1..200usize) {
        let mut exchange = opened();
        for batch in 1..=count {
            exchange.send(tries(batch), PID);
        }
        let mut answered = Vec::new();
        for part in bytes.chunks(cut) {
            exchange.hear(part, &mut answered);
        }
        prop_assert!(answered.iter().all(|done| done.answers.is_err()));
    }
}
