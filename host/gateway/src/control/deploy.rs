//! The way of one offer: manifest read, component deployed, services claimed, generation routed and
//! kept.

use std::{collections::BTreeSet, io};

use postern_wasm::Deployed;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{
    Control, Offered, Refused,
    claims::Taken,
    slot::{Offer, Slot, Source, Turn},
};
use crate::{
    config::Manifest,
    plugins::store::{Copy, State},
};

/// How far an offer came before its services were claimed.
pub(super) enum Prepared {
    Generation {
        deployed: Deployed,
        copy: Copy,
        source: Source,
    },
    Nothing(Offered),
}

impl Control {
    /// From an offer to a generation that could take calls.
    pub(super) async fn prepare(&self, slot: &Slot, turn: &mut Turn, copy: Copy) -> Prepared {
        let offer = Offer::from(&copy);
        let is_first = turn.offered.is_none();
        if turn.offered.replace(offer.clone()) == Some(offer) {
            return Prepared::Nothing(Offered::Unchanged);
        }
        let state = if is_first {
            slot.store.state()
        } else {
            State::default()
        };
        if state.skipped.as_ref() == Some(&copy.digest)
            && let Some(good) = state
                .good
                .as_deref()
                .and_then(|digest| slot.store.load(digest))
            && let Ok(deployed) = self.deploy(slot, &good).await
        {
            slot.set_skipped(state.skipped);
            return Prepared::Generation {
                deployed,
                copy: good,
                source: Source::Rollback,
            };
        }
        let refused = match self.deploy(slot, &copy).await {
            Ok(deployed) => {
                return Prepared::Generation {
                    deployed,
                    copy,
                    source: Source::Folder,
                };
            }
            Err(refused) => refused,
        };
        let good = state
            .good
            .filter(|digest| *digest != copy.digest && !slot.is_serving());
        let Some(good) = good.and_then(|digest| slot.store.load(&digest)) else {
            return Prepared::Nothing(Offered::Refused(refused));
        };
        slot.tell(&Offered::Refused(refused.clone()));
        match self.deploy(slot, &good).await {
            Ok(deployed) => Prepared::Generation {
                deployed,
                copy: good,
                source: Source::LastGood,
            },
            Err(_) => Prepared::Nothing(Offered::Refused(refused)),
        }
    }

    /// A manifest is read and a component brought up to where it could take calls.
    pub(super) async fn deploy(&self, slot: &Slot, copy: &Copy) -> Result<Deployed, Refused> {
        let config = self.config.load_full();
        let manifest = match &copy.manifest {
            Some(text) => Manifest::parse(&format!("{}.toml", slot.name), text, &config),
            None => Ok(Manifest::absent(&config)),
        };
        let manifest = manifest.map_err(|faults| {
            warn!(plugin = slot.name, %faults, "manifest refused");
            Refused::new(&copy.digest, format!("manifest: {faults}"))
        })?;
        let spec = manifest.spec(&config);
        let deployed = slot.plugin.deploy(copy.component.clone(), spec).await;
        let deployed = deployed.map_err(|refusal| Refused::new(&copy.digest, refusal))?;
        slot.set_written(manifest.into());
        Ok(deployed)
    }

    /// A generation claims its services and takes their calls; whatever became of the offer is noted
    /// and shown in the routes.
    pub(super) async fn activate(&self, slot: &Slot, prepared: Prepared) -> Offered {
        let mut good = None;
        let offered = match prepared {
            Prepared::Nothing(offered) => offered,
            Prepared::Generation {
                deployed,
                copy,
                source,
            } => match self.claim(slot, &deployed).await {
                Ok(()) => {
                    slot.set_current(&deployed, &copy, source);
                    good = (source == Source::Folder).then_some(copy);
                    if source == Source::Rollback {
                        Offered::Skipped
                    } else {
                        Offered::Deployed
                    }
                }
                Err(taken) => Offered::Refused(Refused::new(&copy.digest, taken)),
            },
        };
        slot.tell(&offered);
        self.publish();
        // Calls go there from here on; writing megabytes to the disk does not delay them.
        if let Some(copy) = good {
            keep(slot, copy).await;
        }
        offered
    }

    /// Claims the services of `deployed`. When another holds one, the generation before it serves on.
    pub(super) async fn claim(&self, slot: &Slot, deployed: &Deployed) -> Result<(), Taken> {
        let services: BTreeSet<_> = deployed
            .services
            .iter()
            .map(|service| service.name.clone())
            .collect();
        let claimed = self.claims.lock().replace(&slot.name, &services);
        if let Err(taken) = &claimed {
            warn!(plugin = slot.name, %taken, "component refused");
            slot.undo().await;
        }
        claimed
    }
}

/// Keeps `copy` as last good one; the caller holds the plugin's turn, so copies do not overtake each
/// other.
async fn keep(slot: &Slot, copy: Copy) {
    let store = slot.store.clone();
    let kept = spawn_blocking(move || store.keep(&copy)).await;
    if let Err(error) = kept.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        warn!(plugin = slot.name, %error, "this generation is not kept as last good copy");
    }
}
