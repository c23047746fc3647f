//! Certificates with their keys, and which of them a client is shown.

use std::{collections::BTreeMap, sync::Arc};

use postern_core::{
    Text,
    tls::{Fingerprint, SubjectName},
};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

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
    /// For clients that ask for no name, or for one that no certificate has.
    default: Arc<CertifiedKey>,
    exact: BTreeMap<String, Arc<CertifiedKey>>,
    /// `*.example.org` by `example.org`.
    wildcards: BTreeMap<String, Arc<CertifiedKey>>,
}

impl CertificateChoice {
    /// Of two certificates for one name the first is shown.
    pub(super) fn new(
        certified: Vec<(CertifiedKey, CertificateInfo)>,
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
        let choice = Self {
            default: default.ok_or(TlsError::NoCertificate)?,
            exact,
            wildcards,
        };
        Ok((choice, infos))
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        // A wildcard stands for one label (RFC 6125 section 6.4.3).
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        self.exact
            .get(&name)
            .or_else(|| self.wildcards.get(parent()?))
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(found.unwrap_or(&self.default)))
    }
}
