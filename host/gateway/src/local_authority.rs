//! An authority for one machine, and a certificate of it: for developing, where nobody else is to
//! believe them. The authority may vouch for the names of that certificate only, so that believing it
//! costs little should its key be lost. Pure.

use std::{net::IpAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};

use crate::config::is_host_name;

/// Names that every certificate has.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Browsers of Apple take no longer one of an authority that a user has added
/// (<https://support.apple.com/102028>).
pub(crate) const LEAF_LIFE: Duration = days(825);
const AUTHORITY_LIFE: Duration = days(3650);
/// Other machines' clocks may be behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Certificates and keys in PEM.
pub(crate) struct LocalCertificates {
    pub authority: PemPair,
    pub server: PemPair,
    /// Those of the server's certificate.
    pub names: Vec<String>,
}

/// Which names a server's certificate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeafNames {
    All,
    /// No addresses: BoringSSL knows no constraints of addresses, and takes no certificate with one of an authority
    /// that has them (`nc_match_single` of its `v3_ncons.cc`).
    HostsOnly,
}

pub(crate) struct PemPair {
    pub certificate: String,
    pub key: String,
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalCertificatesError {
    #[error("{0:?} is neither the name of a host nor an IP address")]
    Name(String),
    #[error("{0} is an address, and a certificate of hosts only has none")]
    Address(String),
    #[error("certificates cannot be made: {0}")]
    Made(#[from] rcgen::Error),
}

/// Makes both for `localhost`, its addresses and `more` names, as far as `leaf_names` has them, to be good from `now`,
/// which is the time since 1970.
///
/// # Errors
/// A name that is none, and an address that would be left out.
pub(crate) fn create(
    more: &[String],
    leaf_names: LeafNames,
    now: Duration,
) -> Result<LocalCertificates, LocalCertificatesError> {
    let mut names: Vec<_> = OWN_NAMES.map(str::to_owned).to_vec();
    for name in more {
        let name = name.to_ascii_lowercase();
        if !is_name(&name) {
            return Err(LocalCertificatesError::Name(name));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // Addresses that are left out stay among the constraints: without any, it could vouch for all of them.
    let authority = authority(&names, now)?;
    if leaf_names == LeafNames::HostsOnly {
        let is_address = |name: &String| name.parse::<IpAddr>().is_ok();
        if let Some(address) = more.iter().find(|name| is_address(name)) {
            return Err(LocalCertificatesError::Address(address.clone()));
        }
        names.retain(|name| !is_address(name));
    }
    let mut params = CertificateParams::new(names.clone())?;
    put_life(&mut params, now, LEAF_LIFE);
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok(LocalCertificates {
        authority: PemPair {
            certificate: authority.pem(),
            key: authority.key().serialize_pem(),
        },
        server: PemPair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        },
        names,
    })
}

fn authority(
    names: &[String],
    now: Duration,
) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    put_life(&mut params, now, AUTHORITY_LIFE);
    params
        .distinguished_name
        .push(DnType::CommonName, "Postern local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.iter().map(|name| subtree(name)).collect(),
        excluded_subtrees: Vec::new(),
    });
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn put_life(params: &mut CertificateParams, now: Duration, life: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + life;
}

/// What covers `name` in the constraints of an authority (RFC 5280 section 4.2.1.10).
fn subtree(name: &str) -> GeneralSubtree {
    let prefix = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    match name.parse::<IpAddr>() {
        Ok(ip) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, prefix(&ip))),
        Err(_) => GeneralSubtree::DnsName(name.strip_prefix("*.").unwrap_or(name).to_owned()),
    }
}

/// An address, or the name of a host, whose first part may be "*".
fn is_name(name: &str) -> bool {
    let of_host = name.strip_prefix("*.").unwrap_or(name);
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && is_host_name(of_host))
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_every_name_once() {
        let more = ["API.test", "localhost", "*.api.test", "10.0.0.7"].map(str::to_owned);
        let made = create(&more, LeafNames::All, days(20_000)).expect("legal names");
        let expected = [
            "localhost",
            "127.0.0.1",
            "::1",
            "api.test",
            "*.api.test",
            "10.0.0.7",
        ];
        assert_eq!(made.names, expected);
    }

    #[test]
    fn a_certificate_of_hosts_only_has_no_address_and_leaves_none_out_that_was_asked_for() {
        let made = create(&["api.test".to_owned()], LeafNames::HostsOnly, days(20_000));
        assert_eq!(made.expect("legal names").names, ["localhost", "api.test"]);
        let refused = create(&["::2".to_owned()], LeafNames::HostsOnly, days(20_000)).err();
        let shown = refused.map(|error| error.to_string());
        let expected = "::2 is an address, and a certificate of hosts only has none";
        assert_eq!(shown.as_deref(), Some(expected));
    }

    #[test]
    fn what_is_no_name_is_refused_by_it() {
        let long = "a".repeat(64);
        for name in [
            "", "a b", "-a", "a-", "a..b", "*", "a.*", "http://a", "a:1", "é", &long,
        ] {
            let refused = create(&[name.to_owned()], LeafNames::All, days(20_000)).err();
            let shown = refused.map(|error| error.to_string());
            let expected = format!("{name:?} is neither the name of a host nor an IP address");
            assert_eq!(shown, Some(expected));
        }
    }
}
