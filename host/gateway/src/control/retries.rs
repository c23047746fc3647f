//! Offers that were refused are tried again when what each waits for has come: see `waiting.rs`.

use std::sync::Arc;

use postern_system::clock;
use tracing::warn;

use super::{
    Control,
    offer::{OfferRefused, Offered},
    slot::PluginSlot,
};

impl Control {
    /// Tries refused offers again, each when its time has come. Never ends by itself.
    pub(crate) async fn follow_refusals(&self) {
        loop {
            let now = clock::now();
            let slots = slots_of(self);
            let look_at = slots.iter().filter_map(|slot| {
                let waiting = slot.waiting.lock();
                waiting.as_ref().and_then(|waiting| waiting.look_at(now))
            });
            let look_at = look_at.min();
            let due = async {
                match look_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.refusals.notified() => {}
            }
            for slot in slots_of(self) {
                if self.is_due(&slot) {
                    self.try_again(&slot).await;
                }
            }
        }
    }

    /// Deploys every plugin again, so that changed limits and defaults hold for it: an offer that was
    /// refused under those before, or else what takes calls.
    pub(crate) async fn redeploy(&self) {
        for slot in slots_of(self) {
            let waits = {
                let waiting = slot.waiting.lock();
                waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.needs.settings)
            };
            if waits {
                self.try_again(&slot).await;
            }
            if !waits || slot.is_waiting() {
                self.redeploy_current(&slot).await;
            }
        }
        self.refusals.notify_one();
        self.publish();
    }

    async fn redeploy_current(&self, slot: &PluginSlot) {
        let offers = slot.lock_offers().await;
        if offers.is_gone {
            return;
        }
        let Some(current) = slot.shown().current else {
            return;
        };
        let Some(copy) = slot.store.load(&current.deployment) else {
            let told = "no copy of it is kept, changed limits hold when it is deployed again";
            warn!(plugin = slot.name, "{told}");
            return;
        };
        // Otherwise something else lies in the folder; it waits or was refused, and that stays so.
        let is_offered = offers.last.as_ref() == Some(&current.deployment);
        let started = self.start_up(slot, &copy).await;
        let refused_before = slot.shown().refused;
        let taken = started.and_then(|generation| {
            let taken = self.take_over(slot, generation, &copy, current.source);
            taken.map_err(|taken| OfferRefused::taken(&copy, taken))
        });
        match taken {
            Ok(()) => {
                if !is_offered {
                    slot.set_refused(refused_before);
                }
            }
            Err(refused) if is_offered => {
                slot.set_waiting(&copy, &refused);
                slot.tell(&Offered::Refused(refused));
            }
            Err(refused) => {
                let reason = refused.to_string();
                warn!(
                    plugin = slot.name,
                    reason, "changed limits do not hold for it"
                );
            }
        }
    }

    fn is_due(&self, slot: &PluginSlot) -> bool {
        let waiting = slot.waiting.lock();
        let claims = self.claims.lock();
        let is_held = |service: &str| claims.is_held_by_other(slot.plugin_name(), service);
        waiting
            .as_ref()
            .is_some_and(|waiting| waiting.is_due(clock::now(), is_held))
    }

    pub(super) async fn try_again(&self, slot: &PluginSlot) {
        let mut offers = slot.lock_offers().await;
        let copy = slot
            .waiting
            .lock()
            .as_ref()
            .map(|waiting| waiting.copy.clone());
        // Another offer may have taken its place.
        let Some(copy) = copy.filter(|_| !offers.is_gone) else {
            return;
        };
        let prepared = self.prepare(slot, &mut offers, copy).await;
        self.activate(slot, prepared).await;
    }
}

fn slots_of(control: &Control) -> Vec<Arc<PluginSlot>> {
    control.slots.lock().values().cloned().collect()
}
