//! An instance that is elsewhere: its addresses, looked up where they are names, over the gateway's
//! pool of sessions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Call, Error, Handler, Reply,
    registry::{Address, EntryKey, Incarnation},
};
use postern_net::{Pool, Probe, Upstream, dial};
use postern_system::clock;

use super::proof::Proof;

/// A remote instance. Clones share what was looked up.
#[derive(Clone)]
pub(super) struct Remote(Arc<Inner>);

struct Inner {
    pool: Pool,
    /// How the gateway that answers for it knows this one.
    proof: Option<Proof>,
    /// Those that sessions can be had to, the preferred first.
    addresses: Vec<Address>,
    /// Whether the directory has just learned that it is there: what failed at its addresses before is
    /// not held against it.
    is_new: bool,
    found: Mutex<Option<Found>>,
}

struct Found {
    upstream: Upstream,
    /// When names are to be looked up again; never where there are none.
    until: Option<Instant>,
    /// Address of the peer that it is, where it is one to show a proof to.
    peer: Option<Arc<Address>>,
}

/// Which life of which instance is asked what its services are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescriptionSource {
    pub key: EntryKey,
    pub incarnation: Incarnation,
}

impl Remote {
    /// An instance to ask for signs of life. `None` when no address is one that this gateway can call.
    pub(super) fn new(pool: &Pool, addresses: &[Address]) -> Option<Self> {
        Self::of(pool, addresses, None, false)
    }

    /// An instance that the directory has just learned of, from a peer that `proof` is for. `None` as
    /// in `new`.
    pub(super) fn learned(
        pool: &Pool,
        addresses: &[Address],
        proof: Option<Proof>,
    ) -> Option<Self> {
        Self::of(pool, addresses, proof, true)
    }

    fn of(pool: &Pool, addresses: &[Address], proof: Option<Proof>, is_new: bool) -> Option<Self> {
        let is_dialled = |address: &&Address| dial::dialer(address.transport).is_ok();
        let addresses: Vec<_> = addresses.iter().filter(is_dialled).cloned().collect();
        (!addresses.is_empty()).then(|| {
            Self(Arc::new(Inner {
                pool: pool.clone(),
                addresses,
                proof,
                is_new,
                found: Mutex::default(),
            }))
        })
    }

    /// Asks the gateway there something about itself, as whom it knows this one.
    ///
    /// # Errors
    /// As a call.
    pub(super) async fn ask(&self, mut call: Call) -> Result<Reply, Error> {
        let (upstream, peer) = self.upstream().await?;
        if let (Some(proof), Some(peer)) = (&self.0.proof, peer) {
            proof.authorize(&peer, &mut call)?;
        }
        upstream.call(call).await
    }

    /// # Errors
    /// Why it gives no sign of life.
    pub(super) async fn probe(&self, probe: &Probe) -> Result<(), Error> {
        let (upstream, _) = self.upstream().await?;
        upstream.probe(probe).await.outcome.map(|_| ())
    }

    /// The sessions to it, and the address of the peer that it is, if it is one.
    async fn upstream(&self) -> Result<(Upstream, Option<Arc<Address>>), Error> {
        let now = clock::now();
        if let Some(found) = &*self.0.found.lock()
            && found.until.is_none_or(|until| now < until)
        {
            return Ok((found.upstream.clone(), found.peer.clone()));
        }
        let (mut targets, mut fault) = (Vec::new(), None);
        for address in &self.0.addresses {
            match dial::targets(address.transport, &address.authority()).await {
                Ok(found) => targets.extend(found),
                Err(error) => fault = Some(error),
            }
        }
        if targets.is_empty()
            && let Some(error) = fault
        {
            return Err(error);
        }
        let has_names = self.0.addresses.iter().any(Address::has_name);
        let upstream = Upstream::new(&self.0.pool, targets)?;
        let peer = match &self.0.proof {
            Some(proof) => {
                let destinations: Vec<_> = upstream.destinations().collect();
                proof.address_of(&destinations).await
            }
            None => None,
        };
        // The address of a peer may be a name, and the configuration may change it.
        let until = (has_names || self.0.proof.is_some()).then(|| now + LOOKUP_AGE);
        let before = self.0.found.lock().replace(Found {
            upstream: upstream.clone(),
            until,
            peer: peer.clone(),
        });
        if self.0.is_new && before.is_none() {
            upstream.revive();
        }
        Ok((upstream, peer))
    }
}

impl Handler for Remote {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let remote = self.clone();
        Box::pin(async move {
            let (upstream, peer) = remote.upstream().await?;
            if let (Some(proof), Some(peer)) = (&remote.0.proof, peer) {
                proof.show(&peer, &mut call)?;
            }
            upstream.call(call).await
        })
    }
}

/// How long an answer of the name service is used.
const LOOKUP_AGE: Duration = Duration::from_secs(30);
