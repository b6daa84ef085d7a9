//! However little a client trusts, the server has to prove that it has the key of the certificate that it shows. No real
//! server shows one without having it: these handshakes are between two ends of rustls.

use super::roots::Roots;
use super::verifier::Verifier;
use crate::pg::connect::config::Trust;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::sync::Arc;

/// Shows one certificate, whosever key it has.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn handshake(trust: Trust, version: &'static SupportedProtocolVersion, has_key: bool) -> Result<(), rustls::Error> {
    let generate = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (shown, other) = (generate(), generate());
    let mut roots = Roots::none();
    roots.add(vec![shown.cert.der().clone()]);
    let provider = Arc::new(default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(trust, Arc::new(roots), &provider)))
        .with_no_client_auth();
    let key = if has_key { &shown.signing_key } else { &other.signing_key };
    let key = any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap())?;
    let certified = CertifiedKey::new(vec![shown.cert.der().clone()], key);
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shown(Arc::new(certified))));
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap())?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_server_without_the_key_is_refused_in_every_degree_of_trust() {
    for version in [&TLS12, &TLS13] {
        for trust in [Trust::Name, Trust::Issuer, Trust::Nothing] {
            assert_eq!(handshake(trust, version, true), Ok(()), "{trust:?} {version:?}");
            let refused = handshake(trust, version, false).unwrap_err();
            let expected = rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature);
            assert_eq!(refused, expected, "{trust:?} {version:?}");
        }
    }
}
