//! What TLS has established about a session. The listener that ends TLS fills it in; nothing here is
//! taken from what a caller says inside of the session.

use std::{fmt, net::IpAddr};

use bytes::Bytes;

use crate::text::Text;

/// What TLS has established about one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The name that the client asked for (SNI, RFC 6066 section 3), in lower case.
    pub server_name: Option<Text>,
    /// The protocol that both agreed on (ALPN, RFC 7301), such as `h2`.
    pub protocol: Option<Text>,
    /// The client's certificate, verified against the listener's authorities.
    pub client: Option<ClientCertificate>,
}

/// A client's own certificate, without those that signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// As it came, in DER.
    pub der: Bytes,
    /// The subject's distinguished name as RFC 4514 writes it: `CN=users,O=Example`. May be empty.
    pub subject: Text,
    /// Subject alternative names in their order.
    pub names: Vec<SubjectName>,
    /// SHA-256 of `der`.
    pub fingerprint: Fingerprint,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6) of a kind that rules can name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectName {
    Dns(Text),
    /// Among them SPIFFE ids: `spiffe://example.org/users`.
    Uri(Text),
    Email(Text),
    Ip(IpAddr),
}

/// SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Without the DER, which nobody reads in a log.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("subject", &self.subject)
            .field("names", &self.names)
            .field("fingerprint", &format_args!("{}", self.fingerprint))
            .finish_non_exhaustive()
    }
}

/// As OpenSSL's configuration and Envoy's matchers write it: `DNS:users.example`.
impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Email(address) => write!(f, "email:{address}"),
            Self::Ip(ip) => write!(f, "IP:{ip}"),
        }
    }
}

/// 64 hex digits in lower case, as `sha256sum` prints them.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_as_sha256sum_does() {
        let octets = std::array::from_fn(|idx| u8::try_from(idx).expect("32 octets"));
        let expected = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        assert_eq!(Fingerprint(octets).to_string(), expected);
    }

    #[test]
    fn names_say_of_which_kind_they_are() {
        let check = |name: SubjectName, expected| assert_eq!(name.to_string(), expected);
        check(
            SubjectName::Dns("users.example".into()),
            "DNS:users.example",
        );
        check(SubjectName::Uri("spiffe://e/u".into()), "URI:spiffe://e/u");
        check(
            SubjectName::Email("a@b.example".into()),
            "email:a@b.example",
        );
        check(SubjectName::Ip([10, 0, 0, 7].into()), "IP:10.0.0.7");
    }

    #[test]
    fn a_certificate_in_a_log_is_who_it_names_and_not_its_octets() {
        let certificate = ClientCertificate {
            der: Bytes::from_static(&[0x30, 0x82, 77, 78]),
            subject: "CN=users".into(),
            names: vec![SubjectName::Dns("users.example".into())],
            fingerprint: Fingerprint([0xab; 32]),
        };
        let facts = TlsFacts {
            server_name: Some("gateway.example".into()),
            client: Some(certificate),
            ..TlsFacts::default()
        };
        let shown = format!("{facts:?}");
        for part in [
            "gateway.example",
            "CN=users",
            "users.example",
            &"ab".repeat(32),
        ] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
        assert!(!shown.contains("der") && !shown.contains("77"), "{shown}");
    }
}
