//! Whether a server is the one that it should be. Three degrees of trust; in each of them the server proves that it has the
//! key of the certificate that it shows.

use super::certificate::Certificate;
use super::failure;
use super::roots::Roots;
use crate::error::Error;
use crate::pg::connect::config::Trust;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key, CryptoProvider,
    WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use webpki::RawPublicKeyEntity;

const MOST_INTERMEDIATES: usize = 10;

#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    roots: Arc<Roots>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub fn new(trust: Trust, roots: Arc<Roots>, provider: &CryptoProvider) -> Verifier {
        Verifier { trust, roots, algorithms: provider.signature_verification_algorithms }
    }

    /// Whether somebody trusted has signed the certificate.
    fn verify_issuer(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = Certificate::read(shown).ok_or_else(failure::broken_certificate)?;
        if self.roots.has(shown) {
            // Who is trusted by name needs nobody to vouch; rustls would refuse a root in a server's place.
            return failure::check_validity(&certificate, now);
        }
        let missing = || self.missing_issuer(&certificate, intermediates);
        if certificate.is_old {
            return Err(missing().unwrap_or_else(failure::first_version));
        }
        let parsed = ParsedCertificate::try_from(shown).map_err(|error| failure::of(&error))?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots.store, intermediates, now, algorithms).map_err(
            |error| match &error {
                // The issuer is looked for behind other faults as well.
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)) => {
                    missing().unwrap_or_else(|| {
                        if certificate.may_sign {
                            return failure::authority();
                        }
                        failure::of(&error)
                    })
                }
                error => failure::of(error),
            },
        )
    }

    /// Where the way from the certificate to somebody trusted ends, in OpenSSL's words; `None` where it does not.
    fn missing_issuer(&self, shown: &Certificate, intermediates: &[CertificateDer<'_>]) -> Option<Error> {
        let others: Vec<Certificate> =
            intermediates.iter().take(MOST_INTERMEDIATES).filter_map(|der| Certificate::read(der)).collect();
        let mut last = shown;
        for depth in 0..=others.len() {
            if last.is_self_issued() {
                return Some(failure::self_signed(depth));
            }
            if self.roots.has_name(last.issuer) {
                return None;
            }
            if let Some(why) = self.roots.why_unfit(last.issuer) {
                return Some(why);
            }
            match others.iter().find(|other| other.subject == last.issuer) {
                Some(issuer) if !issuer.may_sign => return Some(failure::may_not_sign()),
                Some(issuer) => last = issuer,
                None => return Some(failure::issuer_missing(depth)),
            }
        }
        Some(failure::issuer_missing(others.len()))
    }

    /// What [`verify_tls12_signature`] does with the key of a certificate that it can read.
    fn verify_tls12_signature_with_raw_key(
        &self,
        message: &[u8],
        key: &SubjectPublicKeyInfoDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let refused = || rustls::Error::from(CertificateError::BadSignature);
        let key = RawPublicKeyEntity::try_from(key).map_err(|_| refused())?;
        let (_, algorithms) =
            self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme).ok_or_else(refused)?;
        // One scheme of TLS 1.2 is several algorithms, one for each curve.
        if algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok()) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(refused())
    }

    fn verify_name(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        if Certificate::read(shown).is_some_and(|certificate| certificate.is_old) {
            return Err(failure::no_names());
        }
        let parsed = ParsedCertificate::try_from(shown).map_err(|error| failure::of(&error))?;
        verify_server_name(&parsed, name).map_err(|error| failure::of(&error))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust != Trust::Nothing {
            self.verify_issuer(shown, intermediates, now).map_err(failure::within_tls)?;
        }
        // The server of a certificate that the user has named has to prove by its key that it is the one: a name adds nothing.
        if self.trust == Trust::Name && !self.roots.has_named(shown) {
            self.verify_name(shown, name).map_err(failure::within_tls)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match key_of_old_certificate(shown) {
            Some(key) => self.verify_tls12_signature_with_raw_key(message, &key, signed),
            None => verify_tls12_signature(message, shown, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match key_of_old_certificate(shown) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms),
            None => verify_tls13_signature(message, shown, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The public key of a certificate of version 1, which rustls does not read.
fn key_of_old_certificate<'a>(shown: &'a CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'a>> {
    let certificate = Certificate::read(shown)?;
    certificate.is_old.then(|| SubjectPublicKeyInfoDer::from(certificate.public_key))
}
