//! Certificates and keys, from the files that parameters name or from the fields of an object.

use crate::error::Error;
use crate::pg::connect::config::Pem;
use crate::pg::connect::private_file::{self, Unreadable};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;

/// Editors of Windows begin a file with it. OpenSSL passes over it; to the reader of PEM here the line behind it begins nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The text without the mark of a byte order that it may begin with.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// The certificates, of which there is at least one.
///
/// # Errors
/// The system's code, `ERR_INVALID_CONNECTION_STRING`; they name the parameter or the field.
pub(super) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = match pem {
        Pem::File { path, .. } => {
            fs::read(path).map_err(|error| Error::system(&error, None).about(&pem.to_string()))?
        }
        Pem::Text { text, .. } => text.clone().into_bytes(),
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(without_mark(&text)).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(pem, "it has no certificate in the form of PEM")),
    }
}

/// The key, as PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// The system's code, `ERR_INVALID_CONNECTION_STRING`; they name the parameter or the field.
pub(super) fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Error> {
    let text = match pem {
        Pem::File { path, .. } => private_file::read(path, true).map_err(|why| match why {
            Unreadable::System(error) => Error::system(&error, None).about(&pem.to_string()),
            Unreadable::NotPlain => unusable(pem, "it is not a plain file"),
            Unreadable::Exposed => {
                unusable(pem, "others than its owner have access to it; its permissions should be 0600")
            }
        })?,
        Pem::Text { text, .. } => text.clone().into_bytes(),
    };
    PrivateKeyDer::from_pem_slice(without_mark(&text)).map_err(|error| {
        let is_encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
        let why = match error {
            _ if is_encrypted => "it is encrypted by a passphrase, which cannot be asked for here",
            pem::Error::NoItemsFound => "it has no private key in the form of PEM",
            _ => "it is damaged",
        };
        unusable(pem, why)
    })
}

/// A certificate and a key that cannot be used together.
pub(super) fn unusable_identity(key: &Pem, error: &rustls::Error) -> Error {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "it is not the key of the certificate",
        _ => "it is of a kind that is not supported",
    };
    unusable(key, why)
}

fn unusable(pem: &Pem, why: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("{pem} cannot be used: {why}"))
}
