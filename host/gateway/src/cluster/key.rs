//! What a call is kept together with others by: the key for hashing, sticking and splitting.

use std::net::IpAddr;

use postern_core::{Body, Call, Origin, Text, balance::hash, json};

/// What of a call makes its key. A call that has none of it goes by chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HashOn {
    /// The value of a header.
    Header(Text),
    /// The name of the principal; the peer where nobody authenticated.
    Principal,
    /// The peer's address without its port, its user where it comes over a Unix socket, or its session.
    Peer,
    /// Service and method: every method has an instance of its own.
    ServiceMethod,
    /// A member of the JSON object in the payload, as it is written. Reads the payload up to there
    /// and to its end, so it costs what a parse without building costs.
    PayloadField(Text),
}

impl HashOn {
    #[must_use]
    pub(crate) fn key(&self, call: &Call) -> Option<u64> {
        match self {
            Self::Header(name) => call.headers.get(name.as_bytes()).map(|value| hash(&value)),
            Self::Principal => match &call.context.principal {
                Some(principal) => Some(hash(principal.name.as_bytes())),
                None => peer(call),
            },
            Self::Peer => peer(call),
            Self::ServiceMethod => {
                let name = [call.service.as_bytes(), call.method.as_bytes()].join(&b'/');
                Some(hash(&name))
            }
            Self::PayloadField(name) => match &call.body {
                Body::One(payload) => json::member(payload, name).map(hash),
                Body::Empty | Body::Messages(_) | Body::Octets(_) => None,
            },
        }
    }

    /// Reads `header:NAME`, `principal`, `peer`, `service-method`, `payload-field:NAME`.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let named = |prefix| text.strip_prefix(prefix).filter(|name| !name.is_empty());
        match text {
            "principal" => Some(Self::Principal),
            "peer" => Some(Self::Peer),
            "service-method" => Some(Self::ServiceMethod),
            _ => named("header:")
                .map(|name| Self::Header(name.into()))
                .or_else(|| named("payload-field:").map(|name| Self::PayloadField(name.into()))),
        }
    }
}

/// As `parse` reads it.
impl std::fmt::Display for HashOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Principal => f.write_str("principal"),
            Self::Peer => f.write_str("peer"),
            Self::ServiceMethod => f.write_str("service-method"),
            Self::PayloadField(name) => write!(f, "payload-field:{name}"),
        }
    }
}

fn peer(call: &Call) -> Option<u64> {
    let peer = &call.context.peer;
    match &peer.origin {
        Origin::Ip(address) => Some(match address.ip() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        }),
        // Five octets, so that no user is taken for an address.
        Origin::Unix(peer) => Some(hash(&[&b"u"[..], &peer.uid.to_be_bytes()].concat())),
        Origin::Local => (!peer.session.is_empty()).then(|| hash(peer.session.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_core::{Headers, Peer, Principal, Transport};

    use super::*;

    fn check(on: &str, expected: Option<&[u8]>) {
        let on = HashOn::parse(on).expect("known");
        assert_eq!(HashOn::parse(&on.to_string()), Some(on.clone()));
        assert_eq!(on.key(&call()), expected.map(hash), "{on}");
    }

    fn call() -> Call {
        let mut call = Call::unary("users", "Get", "{\"a\":1,\"id\":\"u7\"}");
        let mut headers = Headers::new();
        headers.push(b"x-user", b"u7").expect("short");
        call.headers = headers;
        call.context.principal = Some(Arc::new(Principal {
            name: "ann".into(),
            roles: Vec::new(),
            claims: Vec::new(),
        }));
        let origin = Origin::Ip(([10, 0, 0, 7], 5555).into());
        call.context.peer = Arc::new(Peer::new(Transport::Tcp, origin).with_session("s"));
        call
    }

    #[test]
    fn a_key_is_what_the_policy_names() {
        check("header:x-user", Some(b"u7"));
        check("header:x-other", None);
        check("principal", Some(b"ann"));
        check("peer", Some(&[10, 0, 0, 7]));
        check("service-method", Some(b"users/Get"));
        check("payload-field:id", Some(b"\"u7\""));
        check("payload-field:b", None);
    }

    #[test]
    fn refuses_what_names_nothing() {
        for text in ["", "header:", "payload-field:", "ip"] {
            assert_eq!(HashOn::parse(text), None, "{text}");
        }
    }
}
