//! Whom certificates are verified by.

use std::sync::Arc;

use rustls::{RootCertStore, crypto::CryptoProvider};

use super::{error::TlsError, pem::Pem};

/// The one provider of cryptography. It is named wherever one is needed, because another library may
/// link a second.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes the provider of this crate the one of libraries that ask the process for theirs. Where one is
/// there already, it stays.
pub fn install_provider() {
    // The other answer is that one is there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Those of `given`, or the system's where nothing is given.
pub(crate) fn authorities(given: Option<&[Pem]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(given) = given else {
        // One certificate of a system that cannot be read takes no other away.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(roots);
    };
    for pem in given {
        for certificate in pem.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Malformed {
                    name: pem.name.clone(),
                    reason: error.to_string(),
                })?;
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    Ok(roots)
}
