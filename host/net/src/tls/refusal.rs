//! Verifies the certificates of clients, and keeps the reason of a refusal to itself: an alert of TLS
//! would tell a stranger whether a certificate is revoked, expired or of an unknown authority. QUIC even
//! sends its peer the text of an error, so that no text has the reason: it is logged here, under a
//! number by which the connection's own line, which knows the peer, refers to it.

use std::{fmt, sync::Arc};

use postern_system::random;
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

/// That a certificate is not taken, in any form: why stands in the log, under the number.
struct Refusal {
    number: u128,
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
            let refusal = Refusal {
                number: random::secret(),
            };
            tracing::debug!(%subject, %reason, refusal = %refusal.name(), "client certificate refused");
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

impl Refusal {
    fn name(&self) -> String {
        format!("{:032x}", self.number)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refusal {}", self.name())
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}
