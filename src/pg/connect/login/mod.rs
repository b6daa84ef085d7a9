//! Logging in: between `tokio_postgres`, which opens a session, and the server, which asks who it is.
//!
//! Each message of the server is looked at until the session is ready. What it may ask for is decided here, before anything is
//! answered (`require_auth`, `channel_binding`), and the password stays here: for `tokio_postgres` the server lets everybody
//! in, says nothing more and is ready. Nothing is read beyond the message that the session is ready; what comes after it is for
//! whoever speaks then.
//!
//! Invariant: no message makes this client take more memory or time than a login is worth.

mod receive;
mod scram;

use crate::error::Error;
use crate::pg::connect::blocking::off_thread;
use crate::pg::connect::cancel::CancelRequest;
use crate::pg::connect::config::{AuthMethod, ChannelBinding, ConnectConfig, Password};
use crate::pg::connect::passwords::Given;
use crate::pg::session::call::read_error;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::backend::{self, Message};
use postgres_protocol::message::frontend;
use receive::{receive, AUTHENTICATION, HEADER, LENGTH, MOST_BYTES};
use scram::{Binding, Proof, Scram};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What logging in takes.
pub(in crate::pg) struct Login<'a> {
    pub config: &'a ConnectConfig,
    pub password: &'a Given,
    /// What ties the proof of a password to the connection. `None`: it is not encrypted, or there is no such thing.
    pub end_point: Option<&'a [u8]>,
}

/// How far the server has come with its questions.
enum Stage {
    /// It has asked nothing.
    Begin,
    /// It has the password, or what is made of it.
    Told,
    /// It has SCRAM's first message, and the client waits for its own.
    ScramBegun(Box<Scram>, bool),
    /// It has the client's proof, and owes its own.
    ScramProved(Box<Proof>, bool),
    /// Both have proved who they are. Whether that was tied to the connection.
    ScramDone(bool),
    In,
}

impl Login<'_> {
    /// Carries what is said between `client` and `server` until the session is ready; what a request to cancel has to say.
    ///
    /// # Errors
    /// What the server says; `ERR_AUTH_METHOD`: it asks for something that is not allowed or cannot be done; `28P01`: for a
    /// password where there is none; `ERR_CHANNEL_BINDING`, `ERR_SCRAM`; `08P01`: it leaves the protocol; the system's.
    ///
    /// # Cancel safety
    /// None: the connection is of no use any more.
    pub async fn attend<C, S>(&self, client: &mut C, server: &mut S) -> Result<CancelRequest, Error>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failure = |error: io::Error| Error::system(&error, None);
        let start = read_start(client).await.map_err(failure)?;
        server.write_all(&start).await.map_err(failure)?;
        let mut stage = Stage::Begin;
        let mut request = CancelRequest::of_nobody();
        let mut left = MOST_BYTES;
        loop {
            let mut message = receive(server, matches!(stage, Stage::In), &mut left).await?;
            let kind = message[0];
            match kind {
                AUTHENTICATION => {
                    let mut answer = BytesMut::new();
                    stage = self.answer(stage, &message, &mut answer).await?;
                    server.write_all(&answer).await.map_err(failure)?;
                    if !matches!(stage, Stage::In) {
                        continue;
                    }
                }
                backend::ERROR_RESPONSE_TAG => {
                    return Err(match parse(&mut message)? {
                        Message::ErrorResponse(body) => read_error(&body)?,
                        _ => Error::protocol("a failure that is none"),
                    });
                }
                backend::NOTICE_RESPONSE_TAG => continue,
                _ if !matches!(stage, Stage::In) => {
                    return Err(Error::protocol("something else than a question who the client is"));
                }
                backend::BACKEND_KEY_DATA_TAG => {
                    let key = CancelRequest::by(&message[HEADER..]);
                    request = key.ok_or_else(|| Error::protocol("a key for requests to cancel that is none"))?;
                    continue;
                }
                backend::PARAMETER_STATUS_TAG => continue,
                backend::READY_FOR_QUERY_TAG => drop(parse(&mut message.clone())?),
                _ => return Err(Error::protocol("something else than how the session begins")),
            }
            // It can be read: `tokio_postgres` takes what it cannot read for a failure of the system.
            client.write_all(&message).await.map_err(failure)?;
            if kind == backend::READY_FOR_QUERY_TAG {
                return Ok(request);
            }
        }
    }

    /// Takes what the server asks, and puts the answer there.
    async fn answer(&self, stage: Stage, message: &BytesMut, answer: &mut BytesMut) -> Result<Stage, Error> {
        let request = parse(&mut message.clone())?;
        let out = |written: io::Result<()>| {
            written.map_err(|_| Error::new("28P01", "the password cannot be sent: a NUL is in it"))
        };
        match (stage, request) {
            (stage, Message::AuthenticationOk) => self.let_in(&stage).map(|()| Stage::In),
            (Stage::Begin, Message::AuthenticationCleartextPassword) => {
                let password = self.password_for(AuthMethod::Password, "the password in clear text")?;
                out(frontend::password_message(password.0.as_bytes(), answer))?;
                Ok(Stage::Told)
            }
            (Stage::Begin, Message::AuthenticationMd5Password(body)) => {
                let password = self.password_for(AuthMethod::Md5, "the password by MD5")?;
                let hash = md5_hash(self.config.user.as_bytes(), password.0.as_bytes(), body.salt());
                out(frontend::password_message(hash.as_bytes(), answer))?;
                Ok(Stage::Told)
            }
            (Stage::Begin, Message::AuthenticationSasl(body)) => {
                let offered: Vec<String> = body
                    .mechanisms()
                    .map(|name| Ok(name.to_owned()))
                    .collect()
                    .map_err(|_| Error::protocol("a list of mechanisms that is none"))?;
                let (scram, mechanism) = self.begin_scram(&offered)?;
                out(frontend::sasl_initial_response(mechanism, scram.first_message().as_bytes(), answer))?;
                Ok(Stage::ScramBegun(Box::new(scram), mechanism == SCRAM_PLUS))
            }
            (Stage::ScramBegun(scram, is_bound), Message::AuthenticationSaslContinue(body)) => {
                let (first, most) = (text_of(body.data())?, self.config.scram_max_iterations);
                // Takes its time, which the other sessions have not got.
                let proof = off_thread(move || scram.answer(&first, most)).await??;
                out(frontend::sasl_response(proof.message.as_bytes(), answer))?;
                Ok(Stage::ScramProved(Box::new(proof), is_bound))
            }
            (Stage::ScramProved(proof, is_bound), Message::AuthenticationSaslFinal(body)) => {
                proof.verify(&text_of(body.data())?)?;
                Ok(Stage::ScramDone(is_bound))
            }
            (Stage::Begin, Message::AuthenticationGss | Message::AuthenticationKerberosV5) => {
                Err(self.cannot(AuthMethod::Gss, "a proof by GSSAPI"))
            }
            (Stage::Begin, Message::AuthenticationSspi) => Err(self.cannot(AuthMethod::Sspi, "a proof by SSPI")),
            (Stage::Begin, Message::AuthenticationScmCredential) => Err(unsupported("credentials of the socket")),
            _ => Err(Error::protocol("a question who the client is, out of turn")),
        }
    }

    /// Whether the server may let the client in after that.
    fn let_in(&self, stage: &Stage) -> Result<(), Error> {
        let is_bound = match stage {
            Stage::Begin => {
                self.check(AuthMethod::None, "nothing")?;
                false
            }
            Stage::Told => false,
            Stage::ScramDone(is_bound) => *is_bound,
            // It would have the proof, and nobody would know whether it is the right server.
            Stage::ScramBegun(..) | Stage::ScramProved(..) => {
                return Err(Error::new(
                    "ERR_SCRAM",
                    "the server does not prove that it knows the password: it may be another one",
                ));
            }
            Stage::In => return Err(Error::protocol("a question who the client is, out of turn")),
        };
        if self.config.channel_binding == ChannelBinding::Require && !is_bound {
            return Err(no_binding("the server asks for another proof than SCRAM with channel binding"));
        }
        Ok(())
    }

    fn begin_scram(&self, offered: &[String]) -> Result<(Scram, &'static str), Error> {
        let offers = |name: &str| offered.iter().any(|offered| offered == name);
        if !offers(SCRAM) && !offers(SCRAM_PLUS) {
            return Err(match offered {
                [mechanism] if mechanism == "OAUTHBEARER" => self.cannot(AuthMethod::Oauth, "a proof by OAuth"),
                _ => unsupported("a proof by mechanisms that this client does not know"),
            });
        }
        self.check(AuthMethod::ScramSha256, "a proof by SCRAM")?;
        let (binding, mechanism) = match (self.end_point, self.config.channel_binding) {
            (Some(end_point), ChannelBinding::Prefer | ChannelBinding::Require) if offers(SCRAM_PLUS) => {
                (Binding::EndPoint(end_point.to_vec()), SCRAM_PLUS)
            }
            (_, ChannelBinding::Require) => return Err(no_binding("server or connection cannot do it")),
            (Some(_), ChannelBinding::Prefer) => (Binding::NotOffered, SCRAM),
            _ if offers(SCRAM) => (Binding::Unsupported, SCRAM),
            _ => {
                return Err(Error::new(
                    "ERR_CHANNEL_BINDING",
                    "the server insists on channel binding, which this connection cannot do",
                ))
            }
        };
        let password = self.password_for(AuthMethod::ScramSha256, "a proof by SCRAM")?;
        Ok((Scram::new(&password.0, binding)?, mechanism))
    }

    /// The password, if it may be told or proved in this way.
    fn password_for(&self, method: AuthMethod, what: &str) -> Result<&Password, Error> {
        self.check(method, what)?;
        if method != AuthMethod::ScramSha256 && self.config.channel_binding == ChannelBinding::Require {
            return Err(no_binding(&format!("the server asks for {what}")));
        }
        match self.password {
            Given::Password(password) => Ok(password),
            Given::Nothing(why) => {
                let why = why.as_ref().map_or(String::new(), |why| format!("; {why}"));
                Err(Error::new("28P01", format!("the server asks for a password, and none is given{why}")))
            }
        }
    }

    fn check(&self, method: AuthMethod, what: &str) -> Result<(), Error> {
        if self.config.require_auth.allows(method) {
            return Ok(());
        }
        Err(Error::new(
            "ERR_AUTH_METHOD",
            format!("the server asks for {what}, and require_auth does not allow {}", method.name()),
        ))
    }

    fn cannot(&self, method: AuthMethod, what: &str) -> Error {
        self.check(method, what).err().unwrap_or_else(|| unsupported(what))
    }
}

fn unsupported(what: &str) -> Error {
    Error::new("ERR_AUTH_METHOD", format!("the server asks for {what}, which is not supported"))
}

fn no_binding(why: &str) -> Error {
    Error::new("ERR_CHANNEL_BINDING", format!("channel_binding=require cannot be met: {why}"))
}

fn text_of(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::protocol("a message of SCRAM that is no text"))
}

fn parse(message: &mut BytesMut) -> Result<Message, Error> {
    let parsed = Message::parse(message).map_err(|error| Error::protocol(&error.to_string()))?;
    parsed.filter(|_| message.is_empty()).ok_or_else(|| Error::protocol("a message of another length than it says"))
}

/// The client's first message, which has no type.
async fn read_start(client: &mut (impl AsyncRead + Unpin)) -> io::Result<BytesMut> {
    let length = client.read_u32().await?;
    let mut start = BytesMut::from(&length.to_be_bytes()[..]);
    start.resize(length as usize, 0);
    client.read_exact(&mut start[LENGTH..]).await?;
    Ok(start)
}
