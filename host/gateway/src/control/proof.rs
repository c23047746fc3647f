//! How this gateway shows another that it is one: the token of `[peers.NAME]`, with each call to what the
//! peer answers for itself.
//!
//! A peer also tells of providers that have registered with it, at addresses of their own. They are not
//! the peer: with its token they could pass for this gateway. So the token goes only to the address at
//! which `[peers.NAME]` has the peer.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::{Blame, Call, Error, Kind, Text, registry::Address};
use postern_net::{Destination, dial};

use crate::{
    config::{PeerSettings, Secret},
    guard::GATEWAY_HEADER,
};

/// Peers that this gateway has tokens for, as the configuration has them at present.
#[derive(Default)]
pub(super) struct PeerTokens(ArcSwap<BTreeMap<Text, Arc<PeerToken>>>);

struct PeerToken {
    address: Address,
    token: Secret,
}

/// What is shown at the instances of one peer.
#[derive(Clone)]
pub(super) struct Proof {
    tokens: Arc<PeerTokens>,
    peer: Text,
}

impl PeerTokens {
    pub(super) fn apply(&self, peers: &BTreeMap<String, PeerSettings>) {
        let tokens = peers.iter().filter_map(|(name, peer)| {
            let (address, token) = (peer.address.clone()?, peer.token.clone()?);
            let token = Arc::new(PeerToken { address, token });
            peer.enabled.then(|| (Text::from(name.as_str()), token))
        });
        self.0.store(Arc::new(tokens.collect()));
    }
}

impl Proof {
    pub(super) fn new(tokens: &Arc<PeerTokens>, peer: &Text) -> Self {
        Self {
            tokens: Arc::clone(tokens),
            peer: peer.clone(),
        }
    }

    /// The address of the peer, where it has all of `destinations`.
    pub(super) async fn address_of(&self, destinations: &[&Destination]) -> Option<Arc<Address>> {
        let address = self.tokens.0.load().get(&self.peer)?.address.clone();
        let found = dial::targets(address.transport, &address.authority()).await;
        let found = found.ok()?;
        let is_known = |one: &&Destination| found.iter().any(|known| known.destination() == *one);
        let is_peer = destinations.iter().all(is_known);
        is_peer.then(|| Arc::new(address))
    }

    /// Adds the token to a call that this gateway makes by itself of the peer at `address`: as credentials,
    /// by which the peer knows who asks.
    ///
    /// # Errors
    /// As `show`.
    pub(super) fn authorize(&self, address: &Address, call: &mut Call) -> Result<(), Error> {
        let tokens = self.tokens.0.load();
        let peer = tokens.get(&self.peer);
        let Some(peer) = peer.filter(|peer| peer.address == *address) else {
            return Ok(());
        };
        let value = format!("Bearer {}", peer.token.expose());
        let pushed = call.headers.push("authorization", value);
        pushed.map_err(full)
    }

    /// Adds the token to a call that goes to the peer at `address`.
    ///
    /// # Errors
    /// `resource-exhausted` when the call's headers have no room left for it.
    pub(super) fn show(&self, address: &Address, call: &mut Call) -> Result<(), Error> {
        let tokens = self.tokens.0.load();
        // The configuration may have changed since the address was looked up.
        let peer = tokens.get(&self.peer);
        let Some(peer) = peer.filter(|peer| peer.address == *address) else {
            return Ok(());
        };
        let is_proof = |key: &[u8]| key.eq_ignore_ascii_case(GATEWAY_HEADER.as_bytes());
        if call.headers.entries().any(|(key, _)| is_proof(key)) {
            call.headers = call.headers.without(is_proof);
        }
        let pushed = call.headers.push(GATEWAY_HEADER, peer.token.expose());
        pushed.map_err(full)
    }
}

fn full(error: impl std::fmt::Display) -> Error {
    Error::new(Kind::ResourceExhausted, Blame::Client, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn proof(address: &str, token: Option<&str>) -> Proof {
        let token = token.map_or_else(String::new, |token| format!("token = \"{token}\""));
        let text = format!("[peers.west]\naddress = \"{address}\"\n{token}");
        let parsed = config::parse("t", &text, &BTreeMap::new());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        let tokens = Arc::<PeerTokens>::default();
        tokens.apply(&config.peers);
        Proof::new(&tokens, &"west".into())
    }

    async fn shown(proof: &Proof, targets: &[&str]) -> Option<String> {
        let targets: Vec<_> = targets
            .iter()
            .map(|at| Destination::Ip(at.parse().expect("an address")))
            .collect();
        let targets: Vec<_> = targets.iter().collect();
        let mut call = Call::unary("s", "m", "");
        call.headers.push("X-VSP-Gateway", "forged").expect("fits");
        let address = proof.address_of(&targets).await?;
        proof.show(&address, &mut call).expect("fits");
        assert_eq!(call.headers.iter().count(), 1);
        call.headers.get_str(GATEWAY_HEADER).map(Into::into)
    }

    #[tokio::test]
    async fn the_token_goes_to_the_peer_and_to_nobody_that_it_tells_of() {
        let west = proof("tcp://127.0.0.1:9090", Some("secret"));
        assert_eq!(
            shown(&west, &["127.0.0.1:9090"]).await.as_deref(),
            Some("secret")
        );
        for other in [
            &["127.0.0.1:9091"][..],
            &["127.0.0.2:9090"],
            &["127.0.0.1:9090", "10.0.0.9:9090"],
        ] {
            assert_eq!(shown(&west, other).await, None, "{other:?}");
        }
        assert_eq!(
            shown(&proof("tcp://127.0.0.1:9090", None), &["127.0.0.1:9090"]).await,
            None
        );
    }

    #[tokio::test]
    async fn a_peer_that_has_moved_is_looked_up_again_first() {
        let west = proof("tcp://127.0.0.1:9090", Some("secret"));
        let at = Destination::Ip("127.0.0.1:9090".parse().expect("an address"));
        let before = west.address_of(&[&at]).await;
        let moved = proof("tcp://127.0.0.1:9091", Some("another"));
        let mut call = Call::unary("s", "m", "");
        moved
            .show(&before.expect("the peer"), &mut call)
            .expect("fits");
        assert_eq!(call.headers.iter().count(), 0);
    }
}
