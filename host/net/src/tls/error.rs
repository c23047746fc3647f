//! Why settings of TLS cannot be used.

/// What is wrong with certificates, keys, authorities or lists of revocations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("{name} holds no {what} in PEM")]
    Lacks { name: String, what: &'static str },
    #[error("{name}: {reason}")]
    Malformed { name: String, reason: String },
    #[error("{key} is not the key of {certificate}: {reason}")]
    Pair {
        certificate: String,
        key: String,
        reason: String,
    },
    #[error("a listener with TLS needs a certificate and its key")]
    NoCertificate,
    #[error("client certificates are asked for, and there is no authority to verify them by")]
    NoAuthority,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}
