//! Whether the server has asked who the client is, by its certificate (`sslcertmode=require`).

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Shows the client's certificate, and remembers that.
#[derive(Debug)]
pub(super) struct RecordedIdentity {
    identity: Arc<dyn ResolvesClientCert>,
    was_shown: AtomicBool,
}

impl RecordedIdentity {
    /// Stands between the handshake and the identity of the config, for one connection.
    pub fn take_place_in(config: &mut Arc<ClientConfig>) -> Arc<RecordedIdentity> {
        let identity = Arc::clone(&config.client_auth_cert_resolver);
        let recorded = Arc::new(RecordedIdentity { identity, was_shown: AtomicBool::new(false) });
        Arc::make_mut(config).client_auth_cert_resolver = Arc::clone(&recorded) as Arc<dyn ResolvesClientCert>;
        recorded
    }

    /// Whether the server has asked and was shown one.
    pub fn was_shown(&self) -> bool {
        self.was_shown.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for RecordedIdentity {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let shown = self.identity.resolve(hints, schemes)?;
        self.was_shown.store(true, Ordering::Relaxed);
        Some(shown)
    }

    fn has_certs(&self) -> bool {
        self.identity.has_certs()
    }
}
