//! SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677; manual, section 54.3, "SASL Authentication"): both sides prove that they
//! know the password, and neither tells it.
//!
//! `postgres_protocol` has it as well, but refuses what takes more than 100,000 iterations, and works them off on the thread of
//! all sessions.

use crate::error::Error;
use base64::prelude::{Engine, BASE64_STANDARD};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of chance in a nonce: as many as libpq takes.
const NONCE_LENGTH: usize = 18;

type Hash = [u8; 32];

/// What ties the proof to the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// The client cannot do it.
    Unsupported,
    /// The client can, and the server does not offer it: somebody between who hides the offer is found out.
    NotOffered,
    /// The server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Binding::Unsupported => "n,,",
            Binding::NotOffered => "y,,",
            Binding::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn encoded(&self) -> String {
        let mut input = self.header().as_bytes().to_vec();
        if let Binding::EndPoint(end_point) = self {
            input.extend_from_slice(end_point);
        }
        BASE64_STANDARD.encode(input)
    }
}

/// A conversation that has not begun.
pub(super) struct Scram {
    password: String,
    binding: Binding,
    nonce: String,
}

/// What the server still has to prove.
pub(super) struct Proof {
    /// What proves that the client knows the password: the client's final message.
    pub message: String,
    server_key: Hash,
    conversation: String,
}

impl Scram {
    /// # Errors
    /// The system's, where it has no chance to give.
    pub fn new(password: &str, binding: Binding) -> Result<Scram, Error> {
        let mut chance = [0; NONCE_LENGTH];
        getrandom::fill(&mut chance).map_err(|error| Error::system(&error.into(), None))?;
        Ok(Scram::with_nonce(password, binding, BASE64_STANDARD.encode(chance)))
    }

    fn with_nonce(password: &str, binding: Binding, nonce: String) -> Scram {
        // As it is where there is no such form of it, as PostgreSQL takes it then.
        let prepared =
            stringprep::saslprep(password).map_or_else(|_| password.to_owned(), |prepared| prepared.into_owned());
        Scram { password: prepared, binding, nonce }
    }

    /// The client's first message.
    pub fn first_message(&self) -> String {
        format!("{}n=,r={}", self.binding.header(), self.nonce)
    }

    /// Answers the server's first message. `most_iterations`: what it may ask for; 0 is no limit.
    ///
    /// # Errors
    /// `08P01`: it is none. `ERR_SCRAM`: it asks for too much.
    pub fn answer(self, message: &str, most_iterations: u32) -> Result<Proof, Error> {
        let first = ServerFirst::read(message).filter(|first| {
            // The server's part of the nonce keeps somebody from using an answer again.
            first.nonce.strip_prefix(&self.nonce).is_some_and(|rest| !rest.is_empty())
        });
        let Some(ServerFirst { nonce, salt, iterations }) = first else {
            return Err(Error::protocol("a message that is not SCRAM's"));
        };
        if most_iterations != 0 && iterations > most_iterations {
            return Err(Error::new(
                "ERR_SCRAM",
                format!(
                    "the server asks for {iterations} iterations of SCRAM, which may be an attempt to keep this client busy: \
                     to log in there, put scramMaxIterations={iterations} into the connection string ({most_iterations} otherwise; \
                     0: no limit)"
                ),
            ));
        }
        let salted = salted_password(self.password.as_bytes(), &salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        let mut answer = format!("c={},r={nonce}", self.binding.encoded());
        let conversation = format!("n=,r={},{message},{answer}", self.nonce);
        let signature = sign(&Sha256::digest(client_key), conversation.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let _ = write!(answer, ",p={}", BASE64_STANDARD.encode(proof));
        Ok(Proof { message: answer, server_key: sign(&salted, b"Server Key"), conversation })
    }
}

impl Proof {
    /// Whether the server's final message proves that it knows the password as well.
    ///
    /// # Errors
    /// `ERR_SCRAM`: it does not. `08P01`: it is no such message.
    pub fn verify(&self, message: &str) -> Result<(), Error> {
        let mut fields = message.split(',');
        match fields.next().and_then(|field| field.split_once('=')) {
            Some(("v", signature)) => {
                let signature = BASE64_STANDARD.decode(signature).unwrap_or_default();
                let mac = keyed(&self.server_key).chain_update(self.conversation.as_bytes());
                mac.verify_slice(&signature).map_err(|_| {
                    Error::new(
                        "ERR_SCRAM",
                        "the server does not prove that it knows the password: it may be another one",
                    )
                })
            }
            Some(("e", _)) => Err(Error::new("ERR_SCRAM", "the server breaks off the proof of the password")),
            _ => Err(Error::protocol("a message that is not SCRAM's")),
        }
    }
}

struct ServerFirst {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst {
    fn read(message: &str) -> Option<ServerFirst> {
        let mut fields = message.split(',');
        let mut field = |name| fields.next()?.strip_prefix(name)?.strip_prefix('=');
        let (nonce, salt, iterations) = (field("r")?, field("s")?, field("i")?);
        let salt = BASE64_STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let iterations = iterations.parse().ok().filter(|&iterations| iterations > 0)?;
        Some(ServerFirst { nonce: nonce.to_owned(), salt, iterations })
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("BUG: a key of any length is one")
}

fn sign(key: &[u8], text: &[u8]) -> Hash {
    keyed(key).chain_update(text).finalize().into_bytes().into()
}

/// PBKDF2 with one block of output (RFC 8018, section 5.2).
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Hash {
    let keyed = keyed(password);
    let mut block: Hash = keyed.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes().into();
    let mut sum = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        for (sum, byte) in sum.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3; PostgreSQL, and so this client, leaves the name out.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn example() -> Scram {
        Scram::with_nonce("pencil", Binding::Unsupported, NONCE.to_owned())
    }

    #[test]
    fn keys_are_those_of_the_example() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4096);
        let with_name = "n=user,r=rOprNGfwEbeRWgbNEkqO,".to_owned()
            + SERVER_FIRST
            + ",c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = sign(&sign(&salted, b"Server Key"), with_name.as_bytes());
        assert_eq!(BASE64_STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn the_server_has_to_prove_itself() {
        let proof = example().answer(SERVER_FIRST, 4096).unwrap();
        let right = sign(&proof.server_key, proof.conversation.as_bytes());
        assert!(proof.verify(&format!("v={}", BASE64_STANDARD.encode(right))).is_ok());
        for wrong in ["v=", "v=AAAA", &format!("v={}", BASE64_STANDARD.encode([0; 32])), "e=other-error"] {
            assert_eq!(proof.verify(wrong).unwrap_err().code(), "ERR_SCRAM", "{wrong}");
        }
        for none in ["", "x", "p=AAAA"] {
            assert_eq!(proof.verify(none).unwrap_err().code(), "08P01", "{none}");
        }
    }

    #[test]
    fn what_the_server_asks_for_has_a_limit() {
        let code = |most| example().answer(SERVER_FIRST, most).err().map(|error| error.code().to_owned());
        assert_eq!(code(4095).as_deref(), Some("ERR_SCRAM"));
        assert_eq!(code(4096), None);
        assert_eq!(code(0), None);
    }

    #[test]
    fn garbage_is_no_first_message() {
        let nonce = format!("{NONCE}more");
        for message in [
            "".to_owned(),
            "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_owned(),
            format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            format!("r={nonce},s=,i=4096"),
            format!("r={nonce},s=???,i=4096"),
            format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0"),
            format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1"),
            format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967296"),
            format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ=="),
            format!("m=x,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        ] {
            assert_eq!(
                example().answer(&message, 0).err().map(|error| error.code().to_owned()).as_deref(),
                Some("08P01"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_binding_says_what_was_offered() {
        let end_point = Binding::EndPoint(vec![1, 2, 3]);
        assert_eq!(Binding::Unsupported.encoded(), "biws");
        assert_eq!(Binding::NotOffered.encoded(), "eSws");
        assert_eq!(BASE64_STANDARD.decode(end_point.encoded()).unwrap(), b"p=tls-server-end-point,,\x01\x02\x03");
    }
}
