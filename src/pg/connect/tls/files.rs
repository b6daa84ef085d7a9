//! Certificates and keys from the files that the connection string names.

use crate::error::Error;
use crate::pg::connect::private_file::{self, Unreadable};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::path::Path;

/// The certificates of a file, of which there is at least one.
///
/// # Errors
/// The system's code, `ERR_INVALID_CONNECTION_STRING`; they name the parameter.
pub(super) fn certificates(parameter: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(parameter, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(parameter, path, "it has no certificate in the form of PEM")),
    }
}

/// The key of a file, as PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// The system's code, `ERR_INVALID_CONNECTION_STRING`; they name the parameter.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = private_file::read(path, true).map_err(|why| match why {
        Unreadable::System(error) => Error::system(&error, None).about(&format!("sslkey {}", path.display())),
        Unreadable::NotPlain => unusable("sslkey", path, "it is not a plain file"),
        Unreadable::Exposed => {
            unusable("sslkey", path, "others than its owner have access to it; its permissions should be 0600")
        }
    })?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let is_encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
        let why = match error {
            _ if is_encrypted => "it is encrypted by a passphrase, which cannot be asked for here",
            pem::Error::NoItemsFound => "it has no private key in the form of PEM",
            _ => "it is damaged",
        };
        unusable("sslkey", path, why)
    })
}

/// A certificate and a key that cannot be used together.
pub(super) fn unusable_identity(error: &rustls::Error) -> Error {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "it is not the key of the certificate in sslcert".to_owned(),
        _ => "it is of a kind that is not supported".to_owned(),
    };
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("sslkey cannot be used: {why}"))
}

fn read(parameter: &str, path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| {
        let error = Error::system(&error, None);
        error.about(&format!("{parameter} {}", path.display()))
    })
}

fn unusable(parameter: &str, path: &Path, why: &str) -> Error {
    let message = format!("{parameter} {} cannot be used: {why}", path.display());
    Error::new("ERR_INVALID_CONNECTION_STRING", message)
}
