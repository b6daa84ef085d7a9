//! What goes wrong with TLS, by the codes that Node has for it (Node's documentation of `tls`, "X509 certificate error
//! codes").

use super::certificate::Certificate;
use crate::error::Error;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, CertificateError, OtherError};
use std::io;
use std::sync::Arc;

/// A failure as rustls tells it.
pub(super) fn of(error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(reason) => of_certificate(reason),
        rustls::Error::AlertReceived(alert) => {
            let (code, reason) = describe_alert(*alert);
            Error::new(code, format!("the server ends the TLS connection: {reason}"))
        }
        rustls::Error::InvalidMessage(_) => Error::new("EPROTO", "the server says something that is not TLS"),
        rustls::Error::PeerIncompatible(_) => {
            Error::new("EPROTO", "the server has no version or method of TLS in common with the client")
        }
        rustls::Error::PeerMisbehaved(_) | rustls::Error::InappropriateMessage { .. } => {
            Error::new("EPROTO", "the server breaks the rules of TLS")
        }
        rustls::Error::DecryptError => Error::new("EPROTO", "what the server sends cannot be decrypted"),
        _ => Error::new("EPROTO", "the TLS connection has failed"),
    }
}

/// A failure of the handshake, as the stream tells it: this crate's, of rustls, or of the system.
pub(super) fn of_handshake(error: &io::Error) -> Error {
    match told_by_rustls(error) {
        // What the server says in the middle of a handshake has one code for all in Node.
        Some(error @ rustls::Error::AlertReceived(_)) => Error::new("EPROTO", of(error).message()),
        Some(error) => of(error),
        None => Error::system(error, None),
    }
}

fn told_by_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The same in the place of an error of rustls, from which [`of`] takes it out again.
pub(super) fn within_tls(error: Error) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

fn of_certificate(reason: &CertificateError) -> Error {
    use CertificateError as Reason;
    let (code, what) = match reason {
        Reason::Other(OtherError(inner)) => match inner.downcast_ref::<Error>() {
            Some(error) => return error.clone(),
            None => ("ERR_TLS_CERT_UNSUPPORTED", describe_rare(inner.downcast_ref()).to_owned()),
        },
        Reason::Expired | Reason::ExpiredContext { .. } => return expired(),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => return not_valid_yet(),
        Reason::UnknownIssuer => return issuer_missing(0),
        Reason::BadSignature => ("CERT_SIGNATURE_FAILURE", "has a signature that is not its issuer's".to_owned()),
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => {
            ("INVALID_PURPOSE", "is not one for a server".to_owned())
        }
        Reason::NotValidForNameContext { presented, .. } if presented.is_empty() => return no_names(),
        Reason::NotValidForNameContext { expected, presented } => (
            "ERR_TLS_CERT_ALTNAME_INVALID",
            format!("is for {}, and not for {}", presented.join(", "), expected.to_str()),
        ),
        Reason::NotValidForName => ("ERR_TLS_CERT_ALTNAME_INVALID", "is for another name".to_owned()),
        Reason::Revoked => ("CERT_REVOKED", "is revoked".to_owned()),
        Reason::BadEncoding => return broken_certificate(),
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "ERR_TLS_CERT_UNSUPPORTED",
            "or one that it comes from has a key or a signature of a kind that is not supported, being weak or rare"
                .to_owned(),
        ),
        Reason::UnhandledCriticalExtension => {
            ("ERR_TLS_CERT_UNSUPPORTED", "has an extension that must be understood and is not".to_owned())
        }
        _ => ("ERR_TLS_CERT_UNSUPPORTED", "is not accepted".to_owned()),
    };
    about_certificate(code, &what)
}

/// What rustls has no name for, and its verifier of certificates has.
fn describe_rare(error: Option<&webpki::Error>) -> &'static str {
    use webpki::Error as Rare;
    match error {
        Some(Rare::NameConstraintViolation) => "has a name for which its issuer may not sign",
        Some(Rare::PathLenConstraintViolated) => {
            "comes from an issuer that may sign servers only, and has signed another issuer"
        }
        Some(Rare::UnsupportedCriticalExtension) => "has an extension that must be understood and is not",
        Some(Rare::UnsupportedCertVersion) => "or one that it comes from is not of X.509 version 3",
        _ => "or one that it comes from is of a kind that is not supported",
    }
}

fn about_certificate(code: &'static str, what: &str) -> Error {
    Error::new(code, format!("the server's certificate {what}"))
}

pub(super) fn broken_certificate() -> Error {
    about_certificate("ERR_TLS_CERT_UNSUPPORTED", "cannot be read")
}

pub(super) fn first_version() -> Error {
    about_certificate(
        "ERR_TLS_CERT_UNSUPPORTED",
        "is of X.509 version 1, whose issuer cannot be verified; it needs one of version 3, with its name as subjectAltName",
    )
}

pub(super) fn no_names() -> Error {
    about_certificate(
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "has no name as subjectAltName; a name as common name (CN) alone does not count",
    )
}

pub(super) fn may_not_sign() -> Error {
    about_certificate("INVALID_PURPOSE", "comes from an issuer that may not sign others")
}

/// rustls takes none for a server that may sign others.
pub(super) fn authority() -> Error {
    about_certificate("ERR_TLS_CERT_UNSUPPORTED", "is that of an authority; it needs one that may not sign others")
}

fn expired() -> Error {
    about_certificate("CERT_HAS_EXPIRED", "or one that it comes from has expired")
}

fn not_valid_yet() -> Error {
    about_certificate("CERT_NOT_YET_VALID", "or one that it comes from is not valid yet")
}

/// Whether it is the time of this certificate, the server's or its root's.
pub(super) fn check_validity(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    match i64::try_from(now.as_secs()).unwrap_or(i64::MAX) {
        now if now < certificate.not_before => Err(not_valid_yet()),
        now if now > certificate.not_after => Err(expired()),
        _ => Ok(()),
    }
}

/// A server that was asked for PostgreSQL's protocol by its name and has not agreed.
pub(super) fn other_protocol() -> Error {
    Error::new(
        "EPROTO",
        "the server does not say that it speaks the protocol of PostgreSQL, as it has to for sslnegotiation=direct",
    )
}

/// A server that did not ask for the client's certificate, and had to.
pub(super) fn identity_not_asked() -> Error {
    Error::new(
        "ERR_TLS_IDENTITY_NOT_ASKED",
        "the server has not asked for the client's certificate, as sslcertmode=require wants it to",
    )
}

/// A certificate that is its own issuer, so many steps up from the server's.
pub(super) fn self_signed(depth: usize) -> Error {
    if depth == 0 {
        return about_certificate("DEPTH_ZERO_SELF_SIGNED_CERT", "is signed by itself, and is not a trusted one");
    }
    about_certificate("SELF_SIGNED_CERT_IN_CHAIN", "comes from a root that is not a trusted one")
}

/// A certificate whose issuer is neither sent along nor trusted, so many steps up from the server's.
pub(super) fn issuer_missing(depth: usize) -> Error {
    let code = if depth == 0 { "UNABLE_TO_VERIFY_LEAF_SIGNATURE" } else { "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" };
    about_certificate(code, "comes from an issuer that is neither trusted nor sent along")
}

/// The name that Node, by way of OpenSSL, gives to what a server says of a client certificate once the handshake is over, as it
/// is for the client before the server has looked at that; and the same in words.
fn describe_alert(alert: Alert) -> (&'static str, &'static str) {
    match alert {
        Alert::BadCertificate => ("ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", "the client's certificate is bad"),
        Alert::UnsupportedCertificate => (
            "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
            "the client's certificate is of a kind that it does not support",
        ),
        Alert::CertificateRevoked => ("ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED", "the client's certificate is revoked"),
        Alert::CertificateExpired => {
            ("ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "the client's certificate has expired")
        }
        Alert::CertificateUnknown => {
            ("ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN", "it does not accept the client's certificate")
        }
        Alert::UnknownCA => {
            ("ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "the client's certificate comes from an authority that it does not know")
        }
        Alert::AccessDenied => ("ERR_SSL_TLSV1_ALERT_ACCESS_DENIED", "access is denied"),
        Alert::DecryptError => ("ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR", "a signature or a key is not right"),
        Alert::InternalError => ("ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR", "it has an internal error"),
        Alert::CertificateRequired => {
            ("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a certificate of the client, and there is none")
        }
        Alert::ProtocolVersion => ("EPROTO", "it speaks no version of TLS that the client does"),
        Alert::HandshakeFailure => ("EPROTO", "it agrees with none of the methods that the client offers"),
        Alert::InsufficientSecurity => ("EPROTO", "it asks for stronger methods than the client offers"),
        Alert::UnrecognisedName => ("EPROTO", "it does not know the name that it is called by"),
        Alert::NoApplicationProtocol => ("EPROTO", "it does not speak the protocol of PostgreSQL on this port"),
        _ => ("EPROTO", "the handshake has failed"),
    }
}
