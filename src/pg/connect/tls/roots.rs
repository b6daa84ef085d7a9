//! Who is trusted to sign the certificates of servers.

use super::certificate::Certificate;
use super::{failure, files};
use crate::error::Error;
use crate::pg::connect::config::{self, TlsPolicy, Trust};
use ring::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::RootCertStore;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The trusted ones.
#[derive(Debug)]
pub(super) struct Roots {
    pub store: RootCertStore,
    /// Hashes of their certificates: a server may show one of these itself.
    exact: HashSet<Vec<u8>>,
    /// Whether the user has named each of them, so that a server with one of these is the right one, whatever its name.
    are_named: bool,
    /// By name, those that cannot sign for others, and why.
    unfit: Vec<(Vec<u8>, Error)>,
}

impl Roots {
    pub fn none() -> Roots {
        Roots { store: RootCertStore::empty(), exact: HashSet::new(), are_named: false, unfit: Vec::new() }
    }

    /// Those that the user has named.
    pub fn named(certificates: Vec<CertificateDer<'static>>) -> Roots {
        let mut roots = Roots { are_named: true, ..Roots::none() };
        roots.add(certificates);
        roots
    }

    /// Whether the user has named this very certificate.
    pub fn has_named(&self, certificate: &CertificateDer) -> bool {
        self.are_named && self.has(certificate)
    }

    /// Whether this very certificate is among them.
    pub fn has(&self, certificate: &CertificateDer) -> bool {
        self.exact.contains(&hash(certificate))
    }

    /// Whether one of them has this name.
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.store.roots.iter().any(|root| *root.subject == *name)
    }

    /// Why none of this name can sign, though one is there.
    pub fn why_unfit(&self, name: &[u8]) -> Option<Error> {
        self.unfit.iter().find(|(known, _)| known == name).map(|(_, why)| why.clone())
    }

    /// Takes them up; whether there were any. rustls would have each of them sign for whatever name, for ever.
    pub fn add(&mut self, certificates: Vec<CertificateDer<'static>>) -> bool {
        let now = UnixTime::now();
        let has_some = !certificates.is_empty();
        for der in certificates {
            self.exact.insert(hash(&der));
            let Some(certificate) = Certificate::read(&der) else { continue };
            let fitness = if certificate.may_sign {
                failure::check_validity(&certificate, now)
            } else {
                Err(failure::may_not_sign())
            };
            match fitness {
                Ok(()) => {
                    let _ = self.store.add(der);
                }
                Err(why) => self.unfit.push((certificate.subject.to_vec(), why)),
            }
        }
        has_some
    }
}

fn hash(certificate: &CertificateDer) -> Vec<u8> {
    digest::digest(&digest::SHA256, certificate).as_ref().to_vec()
}

/// Those of the policy: of its file alone, or of the platform.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn of(policy: &TlsPolicy) -> Result<Arc<Roots>, Error> {
    match &policy.roots {
        config::Roots::Named(pem) => {
            let certificates = files::certificates(pem)?;
            Ok(Arc::new(Roots::named(certificates)))
        }
        config::Roots::Platform { .. } if policy.trust == Trust::Nothing => Ok(Arc::new(Roots::none())),
        config::Roots::Platform { extra } => Ok(platform(extra.as_deref())),
    }
}

/// The platform's, and those of a file besides, read once in the life of the process, as Node does.
fn platform(extra: Option<&Path>) -> Arc<Roots> {
    /// By the file; mostly one.
    static READ: Mutex<Vec<(Option<PathBuf>, Arc<Roots>)>> = Mutex::new(Vec::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, roots)) = read.iter().find(|(path, _)| path.as_deref() == extra) {
        return Arc::clone(roots);
    }
    let mut roots = Roots::none();
    if !roots.add(rustls_native_certs::load_native_certs().certs) {
        // A slim container has none. Node brings the same list along.
        roots.store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = extra {
        // As to Node, a file that cannot be read has nobody in it; Node itself has warned of its own.
        let extra = std::fs::read(path).unwrap_or_default();
        roots.add(CertificateDer::pem_slice_iter(files::without_mark(&extra)).flatten().collect());
    }
    let roots = Arc::new(roots);
    read.push((extra.map(Path::to_owned), Arc::clone(&roots)));
    roots
}
