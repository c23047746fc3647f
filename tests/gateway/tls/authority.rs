//! Authorities of tests, what they sign and what they revoke.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};

/// The serial number that every list of revocations has.
pub(crate) const REVOKED: u64 = 7;
/// A year in which what is valid still is.
pub(crate) const VALID: i32 = 2124;

pub(crate) struct Authority(CertifiedIssuer<'static, rcgen::KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("legal");
        // Of two with one name the signature would be wrong, and not the issuer unknown.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost` whose subject is `CN=NAME`, valid until that year.
    pub(crate) fn pair(&self, name: &str, serial: u64, until: i32) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("legal");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        params.not_after = date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A list of revocations on which `REVOKED` is.
    pub(crate) fn list(&self) -> String {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(VALID, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: REVOKED.into(),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("signs");
        list.pem().expect("text")
    }
}
