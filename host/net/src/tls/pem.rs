//! Octets of PEM files (RFC 7468), and what stands in them.

use std::fmt;

use bytes::Bytes;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::error::TlsError;

/// The octets of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// As messages call it: its path.
    pub name: String,
    pub octets: Bytes,
}

impl Pem {
    #[must_use]
    pub fn new(name: impl Into<String>, octets: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            octets: octets.into(),
        }
    }

    /// At least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.all(CertificateDer::pem_slice_iter(&self.octets), "certificate")
    }

    /// At least one.
    pub(super) fn revocations(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let lists = CertificateRevocationListDer::pem_slice_iter(&self.octets);
        self.all(lists, "revocation list")
    }

    /// The first.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.octets).map_err(|error| match error {
            pem::Error::NoItemsFound => self.lacks("private key"),
            error => self.malformed(&error),
        })
    }

    fn all<T>(
        &self,
        items: impl Iterator<Item = Result<T, pem::Error>>,
        what: &'static str,
    ) -> Result<Vec<T>, TlsError> {
        let items: Result<Vec<_>, _> = items.collect();
        let items = items.map_err(|error| self.malformed(&error))?;
        if items.is_empty() {
            return Err(self.lacks(what));
        }
        Ok(items)
    }

    fn lacks(&self, what: &'static str) -> TlsError {
        TlsError::Lacks {
            name: self.name.clone(),
            what,
        }
    }

    fn malformed(&self, error: &pem::Error) -> TlsError {
        TlsError::Malformed {
            name: self.name.clone(),
            // Nothing of a key belongs in a message, and some of these errors quote the text.
            reason: match error {
                pem::Error::MissingSectionEnd { .. } => "a section does not end",
                pem::Error::IllegalSectionStart { .. } => "a section begins in no known way",
                _ => "it is no PEM text",
            }
            .to_owned(),
        }
    }
}

/// Without the octets, which may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pem").field(&self.name).finish()
    }
}
