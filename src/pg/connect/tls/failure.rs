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
            Error::new(alert_code(*alert), format!("the server ends the TLS connection: {alert:?}"))
        }
        rustls::Error::InvalidMessage(_) => Error::new("EPROTO", "the server says something that is not TLS"),
        error => Error::new("EPROTO", format!("TLS: {error}")),
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
            None => ("ERR_TLS_CERT_UNSUPPORTED", format!("cannot be used: {inner}")),
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
        // Keys and signatures of kinds that are weak or rare.
        reason => ("ERR_TLS_CERT_UNSUPPORTED", format!("cannot be used: {reason}")),
    };
    about_certificate(code, &what)
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

/// rustls takes none for a server that may sign others, but a trusted one itself.
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
    match now.as_secs() {
        now if now < certificate.not_before => Err(not_valid_yet()),
        now if now > certificate.not_after => Err(expired()),
        _ => Ok(()),
    }
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

/// The names that Node, by way of OpenSSL, gives to what a server says of a client certificate once the handshake is over,
/// as it is for the client before the server has looked at that.
fn alert_code(alert: Alert) -> &'static str {
    match alert {
        Alert::BadCertificate => "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE",
        Alert::UnsupportedCertificate => "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        Alert::CertificateRevoked => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED",
        Alert::CertificateExpired => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
        Alert::CertificateUnknown => "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        Alert::UnknownCA => "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
        Alert::AccessDenied => "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED",
        Alert::DecryptError => "ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR",
        Alert::InternalError => "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR",
        Alert::CertificateRequired => "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
        _ => "EPROTO",
    }
}
