//! What is shown to whoever is dialled, and whom they are verified by. Replaced while in use.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::ClientConfig;

use super::{
    authorities::{authorities, provider},
    certificate::KeyPair,
    error::TlsError,
    pem::Pem,
    server::TlsVersion,
};

/// How servers are verified, and what they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTlsSettings {
    /// In the place of the system's.
    pub authorities: Option<Vec<Pem>>,
    /// Shown to servers that ask for one.
    pub pair: Option<KeyPair>,
    /// Default 1.2.
    pub version_min: TlsVersion,
}

/// The TLS of outgoing sessions. What it needs is made when it is first asked for, so that nobody
/// who dials without TLS reads the system's authorities.
#[derive(Debug, Default)]
pub struct ClientTls {
    settings: Mutex<ClientTlsSettings>,
    current: ArcSwapOption<ClientConfig>,
}

impl ClientTls {
    /// # Errors
    /// What cannot be used of `settings`.
    pub fn new(settings: ClientTlsSettings) -> Result<Self, TlsError> {
        let made = Self::default();
        made.replace(settings)?;
        Ok(made)
    }

    /// Puts `settings` in force for sessions that begin after.
    ///
    /// # Errors
    /// What cannot be used; then nothing has changed.
    pub fn replace(&self, settings: ClientTlsSettings) -> Result<(), TlsError> {
        let mut held = self.settings.lock();
        if *held != settings {
            let config = make(&settings)?;
            self.current.store(Some(Arc::new(config)));
            *held = settings;
        }
        Ok(())
    }

    /// That in force, which offers `protocols` by their ALPN names.
    ///
    /// # Errors
    /// Where the system's authorities cannot be had.
    pub fn config(&self, protocols: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
        let config = self.made()?;
        if protocols.is_empty() {
            return Ok(config);
        }
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        // What it remembers of sessions is shared.
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = protocols.collect();
        Ok(Arc::new(config))
    }

    /// A configuration that verifies no server.
    pub(crate) fn of_nobody() -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TlsVersion::default().and_later())?
            .with_root_certificates(rustls::RootCertStore::empty());
        Ok(Arc::new(builder.with_no_client_auth()))
    }

    fn made(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.current.load_full() {
            return Ok(config);
        }
        let settings = self.settings.lock();
        let config = Arc::new(make(&settings)?);
        self.current.store(Some(Arc::clone(&config)));
        Ok(config)
    }
}

fn make(settings: &ClientTlsSettings) -> Result<ClientConfig, TlsError> {
    let roots = authorities(settings.authorities.as_deref())?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(settings.version_min.and_later())?
        .with_root_certificates(roots);
    match &settings.pair {
        None => Ok(builder.with_no_client_auth()),
        Some(pair) => {
            // Says better than rustls what does not fit together.
            pair.certified()?;
            let (chain, key) = (pair.certificate.certificates()?, pair.key.key()?);
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
    }
}
