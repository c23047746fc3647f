//! TLS 1.2 and 1.3: what listeners and dialers prove of themselves, what they ask of the other end,
//! and what a session has established.
//!
//! ```text
//! PEM octets ─▶ ServerTls / ClientTls ─▶ configuration of rustls, read anew by each connection
//!                    ▲ replace: whole or not at all; connections that are open keep theirs
//! accepted stream ─▶ TlsHandshake ─▶ TlsStream + TlsFacts
//! ```
//! Nothing here reads a file: octets come with the name by which messages call them.
//!
//! **Invariant:** a configuration that cannot be used changes nothing.
//!
//! **Invariant:** a client whose certificate is refused is not told why.

mod authorities;
mod certificate;
mod challenge;
mod client;
mod dial;
mod error;
mod handshake;
mod names;
mod pem;
mod refusal;
mod server;

pub use self::{
    authorities::install_provider,
    certificate::{CertificateInfo, KeyPair},
    challenge::ChallengeAnswers,
    client::{ClientTls, ClientTlsSettings},
    dial::TlsDialer,
    error::TlsError,
    pem::Pem,
    server::{ClientCertificates, ServerTls, ServerTlsSettings, TlsVersion, Trust},
};
pub(crate) use self::{
    challenge::{AnsweredChallenge, token_of},
    dial::connect,
    handshake::TlsHandshake,
    names::client_certificate,
};

/// Application protocols, as ALPN names them (RFC 7301).
pub mod alpn {
    /// MQTT (the registry of IANA).
    pub const MQTT: &str = "mqtt";
    /// VSTP, by our own choice: none is registered.
    pub const VSTP: &str = "vstp";
    pub const HTTP_2: &str = "h2";
    pub const HTTP_1_1: &str = "http/1.1";
    /// An authority that looks whether a name leads here (RFC 8737).
    pub const ACME_TLS_1: &str = "acme-tls/1";
    /// What an HTTP listener takes, the preferred first.
    pub const HTTP: [&str; 2] = [HTTP_2, HTTP_1_1];
}
