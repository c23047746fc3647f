//! Verifies the certificates of clients, and keeps the reason of a refusal to itself: an alert of TLS
//! would tell a stranger whether a certificate is revoked, expired or of an unknown authority.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::names::Described;

/// Says of every certificate that is not taken the same to its client.
#[derive(Debug)]
pub(super) struct SilentVerifier(pub(super) Arc<dyn ClientCertVerifier>);

/// Why a certificate is not taken, for the log.
#[derive(Debug)]
struct Refusal {
    subject: String,
    reason: Error,
}

impl ClientCertVerifier for SilentVerifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(certificate, intermediates, now);
        verified.map_err(|reason| {
            let described = Described::of(certificate);
            let subject = described.map_or_else(String::new, |d| d.subject.to_string());
            let refusal = Refusal { subject, reason };
            let refusal = CertificateError::Other(OtherError(Arc::new(refusal)));
            Error::InvalidCertificate(refusal)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client certificate {:?}: {}", self.subject, self.reason)
    }
}

impl std::error::Error for Refusal {}
