//! TLS: whom to trust, the handshake, and what its failures are called in Node. The only user of rustls.
//!
//! Invariant: a connection that is to be encrypted is never used in plain text, whatever the server answers.

mod certificate;
mod failure;
mod files;
mod identity;
mod roots;
mod stream;
#[cfg(test)]
mod tests;
mod verifier;

pub(in crate::pg) use stream::{Encrypted, Encryption};

use super::blocking::off_thread;
use super::config::{TlsPolicy, Trust, Versions};
use crate::error::Error;
use identity::RecordedIdentity;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use verifier::Verifier;

/// What asks a server for TLS: length and code (manual, section 54.7, "SSLRequest").
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The name of the protocol that a server of more than one is told (manual, section 54.2.11, "SSL Session Encryption").
const PROTOCOL: &[u8] = b"postgresql";

/// What TLS to any host of a config needs.
#[derive(Clone, Debug)]
pub(in crate::pg) struct Tls {
    config: Arc<ClientConfig>,
    trust: Trust,
    direct: bool,
    must_ask_identity: bool,
    name_of_address: Option<String>,
}

impl Tls {
    /// Reads the files of the policy, off the I/O thread. They are read each time, as they may have changed since; the
    /// platform's roots once.
    ///
    /// # Errors
    /// `ENOENT` and the like, `ERR_INVALID_CONNECTION_STRING`: a file that cannot be used. They name the parameter.
    pub async fn load(policy: &TlsPolicy) -> Result<Tls, Error> {
        let policy = policy.clone();
        off_thread(move || Tls::load_blocking(&policy)).await?
    }

    fn load_blocking(policy: &TlsPolicy) -> Result<Tls, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let Versions { tls12, tls13 } = policy.versions;
        let versions: Vec<_> = [(tls12, &TLS12), (tls13, &TLS13)]
            .into_iter()
            .filter_map(|(will_do, version)| will_do.then_some(version))
            .collect();
        let verifier = Verifier::new(policy.trust, roots::of(policy)?, &provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| failure::of(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &policy.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = (files::certificates(&identity.certificate)?, files::key(&identity.key)?);
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| files::unusable_identity(&identity.key, &error))?
            }
        };
        // PostgreSQL resumes no session.
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = policy.sends_name;
        if policy.direct {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        let TlsPolicy { trust, direct, must_ask_identity, ref name_of_address, .. } = *policy;
        Ok(Tls { config: Arc::new(config), trust, direct, must_ask_identity, name_of_address: name_of_address.clone() })
    }

    /// The same for a host.
    ///
    /// # Errors
    /// `ERR_TLS_CERT_ALTNAME_INVALID`: no certificate can be for this name, and one has to be.
    pub fn toward(&self, host: &str) -> Result<Secure, Error> {
        let host = match &self.name_of_address {
            Some(name) if host.parse::<IpAddr>().is_ok() => name,
            _ => host,
        };
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            // The server is not told an address, so any stands for "no name".
            Err(_) if self.trust != Trust::Name => ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            Err(_) => {
                let message = format!("no certificate can be for the host name {host}");
                return Err(Error::new("ERR_TLS_CERT_ALTNAME_INVALID", message));
            }
        };
        Ok(Secure { tls: self.clone(), name })
    }
}

/// What TLS to one host needs.
#[derive(Clone, Debug)]
pub(in crate::pg) struct Secure {
    tls: Tls,
    name: ServerName<'static>,
}

impl Secure {
    /// Encrypts a connection.
    ///
    /// # Errors
    /// `ERR_TLS_NOT_OFFERED`; Node's codes for what is wrong with the certificate; `ERR_SSL_…` for what the server has against
    /// ours, `ERR_TLS_IDENTITY_NOT_ASKED` where it has to ask for it; `EPROTO`, and the system's.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(&self, mut plain: TcpStream) -> Result<(TcpStream, Encrypted), Error> {
        if !self.tls.direct {
            ask(&mut plain).await?;
        }
        let mut config = Arc::clone(&self.tls.config);
        let recorded = self.tls.must_ask_identity.then(|| RecordedIdentity::take_place_in(&mut config));
        let connector = TlsConnector::from(config);
        let stream =
            connector.connect(self.name.clone(), plain).await.map_err(|error| failure::of_handshake(&error))?;
        if recorded.is_some_and(|recorded| !recorded.was_shown()) {
            return Err(failure::identity_not_asked());
        }
        let (plain, session) = stream.into_inner();
        if self.tls.direct && session.alpn_protocol() != Some(PROTOCOL) {
            // What was said in another protocol could be brought here otherwise (ALPACA); libpq refuses it as well.
            return Err(failure::other_protocol());
        }
        let encryption = Encryption {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
                _ => "TLS 1.3",
            },
            end_point: session.peer_certificates().and_then(|chain| certificate::end_point(chain.first()?)),
        };
        Ok((plain, Encrypted::new(session, encryption)))
    }
}

/// Asks for TLS. What comes before the encryption may be anybody's, so nothing but the one byte is believed.
async fn ask(plain: &mut TcpStream) -> Result<(), Error> {
    let answer = async {
        plain.write_all(&REQUEST).await?;
        plain.read_u8().await
    };
    match answer.await {
        Ok(b'S') => Ok(()),
        Ok(b'N') => Err(Error::new("ERR_TLS_NOT_OFFERED", "the server does not offer TLS")),
        Ok(_) => Err(Error::new("08P01", "the server answers something else than yes or no when it is asked for TLS")),
        Err(error) => Err(Error::system(&error, None)),
    }
}
