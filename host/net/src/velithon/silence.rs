//! Peers that are silent. A published client has ten connections, sends on any of them, and asks for a sign of
//! life every ten seconds on any: one connection may be silent for minutes, and whoever closes it takes the
//! request with it that is just sent there. So silence is that of the peer over all its connections.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::Origin;

/// The peers of a listener that have connections.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeMap<String, Weak<PeerActivity>>>);

/// When a peer was heard last. Its connections share it.
#[derive(Debug)]
pub(super) struct PeerActivity(Mutex<Instant>);

impl Peers {
    /// That of the peer at `origin`, who is heard at `now`.
    pub(super) fn activity(&self, origin: &Origin, now: Instant) -> Arc<PeerActivity> {
        let mut peers = self.0.lock();
        if peers.len() >= FORGET_AT {
            peers.retain(|_, activity| activity.strong_count() > 0);
        }
        let key = origin.host().unwrap_or_default();
        if let Some(known) = peers.get(&key).and_then(Weak::upgrade) {
            known.on_heard(now);
            return known;
        }
        let activity = Arc::new(PeerActivity(Mutex::new(now)));
        peers.insert(key, Arc::downgrade(&activity));
        activity
    }
}

impl PeerActivity {
    pub(super) fn on_heard(&self, now: Instant) {
        *self.0.lock() = now;
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock()
    }
}

/// Peers from which those without connections are looked for with each that comes. As many are kept at most
/// beside those that are connected.
const FORGET_AT: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_system::clock;

    use super::*;

    fn origin(host: u8, port: u16) -> Origin {
        Origin::Ip(([127, 0, 0, host], port).into())
    }

    #[test]
    fn connections_of_one_peer_are_silent_together_and_those_of_others_are_not() {
        let (peers, begin) = (Peers::default(), clock::now());
        let first = peers.activity(&origin(1, 1000), begin);
        let other = peers.activity(&origin(2, 1000), begin);
        let later = begin + Duration::from_secs(7);
        peers.activity(&origin(1, 1001), begin).on_heard(later);
        assert_eq!((first.last(), other.last()), (later, begin));
    }

    #[test]
    fn peers_that_have_gone_are_forgotten() {
        let (peers, now) = (Peers::default(), clock::now());
        for port in 0..=u8::MAX {
            peers.activity(&origin(port, 1), now);
        }
        assert!(peers.0.lock().len() <= FORGET_AT);
    }
}
