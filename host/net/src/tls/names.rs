//! Who a certificate is for, as it says itself.

use std::{fmt::Write as _, net::IpAddr};

use bytes::Bytes;
use postern_core::{
    Text,
    tls::{ClientCertificate, Fingerprint, SubjectName},
};
use sha2::{Digest, Sha256};
use x509_parser::{
    prelude::{FromDer, GeneralName, X509Certificate, X509Name},
    x509::AttributeTypeAndValue,
};

/// What a certificate says of itself.
pub(super) struct Described {
    pub(super) subject: Text,
    pub(super) names: Vec<SubjectName>,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) fingerprint: Fingerprint,
}

impl Described {
    /// None where `der` is no certificate.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| extension.value.general_names.as_slice());
        let names = names.unwrap_or_default().iter().filter_map(subject_name);
        Some(Self {
            subject: distinguished(certificate.subject()).into(),
            names: names.collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            fingerprint: Fingerprint(Sha256::digest(der).into()),
        })
    }
}

/// The certificate that a client has shown and that was verified.
pub(crate) fn client_certificate(der: &[u8]) -> Option<ClientCertificate> {
    let described = Described::of(der)?;
    Some(ClientCertificate {
        der: Bytes::copy_from_slice(der),
        subject: described.subject,
        names: described.names,
        fingerprint: described.fingerprint,
    })
}

fn subject_name(name: &GeneralName<'_>) -> Option<SubjectName> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "names of other kinds are named by no rule"
    )]
    match name {
        GeneralName::DNSName(name) => Some(SubjectName::Dns(name.to_ascii_lowercase().into())),
        GeneralName::URI(uri) => Some(SubjectName::Uri((*uri).into())),
        GeneralName::RFC822Name(address) => Some(SubjectName::Email((*address).into())),
        GeneralName::IPAddress(octets) => ip(octets).map(SubjectName::Ip),
        _ => None,
    }
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok())
}

/// As RFC 4514 section 2 writes it: the last first.
fn distinguished(name: &X509Name<'_>) -> String {
    let mut written = String::new();
    let relative: Vec<_> = name.iter_rdn().collect();
    for (idx, relative) in relative.iter().rev().enumerate() {
        if idx > 0 {
            written.push(',');
        }
        for (idx, attribute) in relative.iter().enumerate() {
            if idx > 0 {
                written.push('+');
            }
            write_attribute(&mut written, attribute);
        }
    }
    written
}

/// Writing to a `String` cannot fail.
fn write_attribute(written: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let kind = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(id, _)| *id == kind);
    match (short, attribute.as_str()) {
        (Some((_, short)), Ok(value)) => {
            let _ = write!(written, "{short}=");
            write_escaped(written, value);
        }
        // Section 2.4: what has no text, or no name, is written as its octets.
        _ => {
            let _ = write!(written, "{kind}=#");
            for octet in attribute.attr_value().data {
                let _ = write!(written, "{octet:02x}");
            }
        }
    }
}

fn write_escaped(written: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (idx, letter) in value.chars().enumerate() {
        let is_edge = idx == 0 && matches!(letter, ' ' | '#') || idx == last && letter == ' ';
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => written.extend(['\\', letter]),
            _ if is_edge => written.extend(['\\', letter]),
            // A name in a log stays on its line.
            _ if letter.is_control() => {
                let mut octets = [0; 4];
                for octet in letter.encode_utf8(&mut octets).bytes() {
                    let _ = write!(written, "\\{octet:02X}");
                }
            }
            _ => written.push(letter),
        }
    }
}

/// RFC 4514 section 3.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_mean_something_are_escaped() {
        let check = |value: &str, expected: &str| {
            let mut written = String::new();
            write_escaped(&mut written, value);
            assert_eq!(written, expected);
        };
        check("users", "users");
        check("a,b+c", "a\\,b\\+c");
        check(" #a ", "\\ #a\\ ");
        check("#", "\\#");
        check("a\nb", "a\\0Ab");
        check("", "");
    }
}
