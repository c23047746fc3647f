//! Certificates with their keys, and which of them a client is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use postern_core::{
    Text,
    tls::{Fingerprint, SubjectName},
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{debug, warn};

use super::{authorities::provider, error::TlsError, names::Described, pem::Pem};

/// A certificate, with those that signed it, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub certificate: Pem,
    pub key: Pem,
}

/// What is told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The file that it comes from.
    pub name: String,
    /// As RFC 4514 writes it.
    pub subject: Text,
    pub names: Vec<SubjectName>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub fingerprint: Fingerprint,
}

impl KeyPair {
    /// What it says, where both parts of it are good and fit together.
    ///
    /// # Errors
    /// What cannot be used of it.
    pub fn info(&self) -> Result<CertificateInfo, TlsError> {
        self.certified().map(|(_, info)| info)
    }

    pub(super) fn certified(&self) -> Result<(CertifiedKey, CertificateInfo), TlsError> {
        let (chain, key) = (self.certificate.certificates()?, self.key.key()?);
        let described = chain.first().and_then(|first| Described::of(first));
        let described = described.ok_or_else(|| TlsError::Malformed {
            name: self.certificate.name.clone(),
            reason: "its first certificate cannot be read".to_owned(),
        })?;
        let certified = CertifiedKey::from_der(chain, key, &provider());
        let certified = certified.map_err(|error| TlsError::Pair {
            certificate: self.certificate.name.clone(),
            key: self.key.name.clone(),
            reason: error.to_string(),
        })?;
        let info = CertificateInfo {
            name: self.certificate.name.clone(),
            subject: described.subject,
            names: described.names,
            not_before: described.not_before,
            not_after: described.not_after,
            fingerprint: described.fingerprint,
        };
        Ok((certified, info))
    }
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    /// For clients that ask for no name, or for one that no certificate has. None while every
    /// certificate is awaited.
    default: Option<Arc<CertifiedKey>>,
    exact: BTreeMap<String, Arc<CertifiedKey>>,
    /// `*.example.org` by `example.org`.
    wildcards: BTreeMap<String, Arc<CertifiedKey>>,
    /// Names that are shown no other certificate.
    awaited: BTreeSet<String>,
    /// Somebody was refused for want of one; said once.
    has_refused: AtomicBool,
}

impl CertificateChoice {
    /// Of two certificates for one name the first is shown.
    pub(super) fn new(
        certified: Vec<(CertifiedKey, CertificateInfo)>,
        awaited: &[String],
    ) -> Result<(Self, Vec<CertificateInfo>), TlsError> {
        let (mut exact, mut wildcards) = (BTreeMap::new(), BTreeMap::new());
        let (mut default, mut infos) = (None, Vec::new());
        for (key, info) in certified {
            let key = Arc::new(key);
            for name in &info.names {
                let SubjectName::Dns(name) = name else {
                    continue;
                };
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcards, parent),
                    None => (&mut exact, name.as_str()),
                };
                names
                    .entry(name.to_owned())
                    .or_insert_with(|| Arc::clone(&key));
            }
            default.get_or_insert(key);
            infos.push(info);
        }
        if default.is_none() && awaited.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let choice = Self {
            default,
            exact,
            wildcards,
            awaited: awaited.iter().cloned().collect(),
            has_refused: AtomicBool::new(false),
        };
        Ok((choice, infos))
    }

    /// For a name in lower case.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        // A wildcard stands for one label (RFC 6125 section 6.4.3).
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        self.exact
            .get(name)
            .or_else(|| self.wildcards.get(parent()?))
    }

    fn refuse(&self, name: &str) {
        match self.has_refused.swap(true, Ordering::Relaxed) {
            false => warn!(
                name,
                "clients are refused: no certificate is there for it yet"
            ),
            true => debug!(name, "no certificate is there for it yet"),
        }
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let name = name.as_deref();
        if let Some(found) = name.and_then(|name| self.find(name)) {
            return Some(Arc::clone(found));
        }
        match name.filter(|name| self.default.is_none() || self.awaited.contains(*name)) {
            Some(name) => {
                self.refuse(name);
                None
            }
            None => self.default.clone(),
        }
    }
}
