//! An authority of the tests, and what it signs.

use postern_net::tls::{KeyPair, Pem};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyUsagePurpose};

/// Signs certificates with keys of its own.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("legal");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signs");
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::new("authority.pem", self.issuer.pem())
    }

    /// A certificate for `names` and its key.
    pub(crate) fn pair(&self, names: &[&str]) -> KeyPair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(&CertificateParams::new(names).expect("legal"))
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> KeyPair {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        KeyPair {
            certificate: Pem::new("shown.pem", certificate.pem()),
            key: Pem::new("shown.key", key.serialize_pem()),
        }
    }
}
