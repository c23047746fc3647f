//! Whose events are given out one after the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::{
    event::{Event, Publisher},
    transport::Transport,
};

/// Publisher and key of an event, as a number. Two that share one are ordered although they need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(pub u64);

impl OrderKey {
    /// The publisher is its principal's name, else the plugin, else the host that it connected from: what
    /// stays when it connects again. The key is the header `event-key`, else the topic.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let mut hasher = DefaultHasher::new();
        hash_publisher(&event.publisher, &mut hasher);
        match event.headers.get(b"event-key") {
            Some(key) => (1_u8, &*key).hash(&mut hasher),
            None => (0_u8, event.topic.as_str()).hash(&mut hasher),
        }
        Self(hasher.finish())
    }
}

fn hash_publisher(publisher: &Publisher, hasher: &mut DefaultHasher) {
    let peer = &publisher.peer;
    match (&publisher.principal, peer.transport) {
        (Some(principal), _) => (1_u8, principal.name.as_str()).hash(hasher),
        (None, Transport::Plugin) => (2_u8, peer.session.as_str()).hash(hasher),
        (None, _) => (3_u8, peer.origin.host()).hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Headers, Origin, Peer, event::tests::event, peer::Principal};

    fn from(peer: Peer, principal: Option<&str>, key: Option<&str>) -> OrderKey {
        let mut event = event("a.b", "");
        if let Some(key) = key {
            let mut headers = Headers::new();
            headers.push("event-key", key).expect("short");
            event.headers = headers;
        }
        event.publisher.peer = Arc::new(peer);
        event.publisher.principal = principal.map(|name| {
            Arc::new(Principal {
                name: name.into(),
                ..Principal::default()
            })
        });
        OrderKey::of(&event)
    }

    fn at(address: &str) -> Peer {
        let address: std::net::SocketAddr = address.parse().expect("an address");
        Peer::new(Transport::Tcp, Origin::Ip(address))
    }

    #[test]
    fn a_publisher_that_connects_again_is_the_same_one() {
        let first = from(at("10.0.0.1:1"), None, Some("k"));
        let again = from(at("10.0.0.1:2"), None, Some("k"));
        assert_eq!(first, again);
        assert_ne!(first, from(at("10.0.0.2:1"), None, Some("k")));
        let named = from(at("10.0.0.1:1"), Some("anna"), Some("k"));
        assert_eq!(named, from(at("10.0.0.2:1"), Some("anna"), Some("k")));
        assert_ne!(named, first);
    }

    #[test]
    fn without_a_key_the_topic_is_the_key() {
        let of = |key| from(at("10.0.0.1:1"), None, key);
        assert_ne!(of(None), of(Some("a.b")));
        assert_eq!(of(None), of(None));
    }
}
