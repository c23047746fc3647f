//! Servers and clients over QUIC, with certificates of their own.

use std::{net::SocketAddr, sync::Arc};

use postern_core::Handler;
use postern_net::{
    Counters, QuicConfig, QuicDialer, QuicListener, QuicServer, QuicTls, ServerConfig, Target,
};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// A certificate for the address that tests use.
pub(crate) struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        Self(rcgen::generate_simple_self_signed(names).expect("a certificate"))
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.0.cert.der().clone()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        let key = self.0.signing_key.serialize_der();
        PrivateKeyDer::try_from(key).expect("a key")
    }

    pub(crate) fn server(&self) -> rustls::ServerConfig {
        self.server_of(rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn server_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .expect("a pair")
    }

    /// Trusts this certificate only.
    pub(crate) fn client(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain() {
            roots.add(certificate).expect("a certificate");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// The certificate of every server that has no other.
pub(crate) fn certificate() -> &'static Certificate {
    static CERTIFICATE: std::sync::LazyLock<Certificate> =
        std::sync::LazyLock::new(Certificate::new);
    &CERTIFICATE
}

pub(crate) fn server(
    at: SocketAddr,
    config: Arc<ServerConfig>,
    handler: Arc<dyn Handler>,
    counters: Arc<Counters>,
) -> QuicServer {
    let (tls, quic) = (fixed(certificate().server()), QuicConfig::listener());
    let listener = QuicListener::bind(at, tls, &quic, Arc::clone(&counters));
    let listener = listener.expect("a free port");
    QuicServer::new(listener, config, handler, counters).expect("it has an address")
}

/// Settings that are never replaced.
pub(crate) fn fixed(tls: rustls::ServerConfig) -> QuicTls {
    let tls = Arc::new(tls);
    Arc::new(move || Arc::clone(&tls))
}

pub(crate) fn dialer() -> QuicDialer {
    QuicDialer::new(Arc::new(certificate().client()), QuicConfig::default()).expect("defaults")
}

pub(crate) fn target(address: SocketAddr) -> Target {
    Target::quic(dialer(), address)
}
