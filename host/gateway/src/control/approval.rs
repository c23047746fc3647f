//! What an offer is judged by before anything of it runs: its signatures, and what it asks for beyond
//! what serves.
//!
//! ```text
//!          signatures           newest that served     what served, what was approved
//!              ▼                        ▼                         ▼
//! offer ──▶ good? ──────────────▶ not older? ────────────▶ no more, or approved? ──▶ started
//!              │                        │                         │ held until `approve`
//!              └────────────────────────┴────────refused──────────┘ what serves serves on
//! ```
//! What a component tells of its services is known once it has been asked. Where that is more than is written,
//! it is held a second time: nobody approves what was not shown.
//!
//! The last good copy and a rollback are judged by their signatures alone: they have served.

use std::{collections::BTreeSet, io, time::Duration};

use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{
    Control,
    offer::{HeldOffer, OfferRefused, unix_now},
    offer_judge::{KnownTrust, OfferJudge, served_by, signed_by},
    slot::{PluginSlot, Source},
};
use crate::plugins::{
    claimed::Claimed,
    gone,
    signature::Signed,
    store::Copy,
    trust::{ApprovalRecord, Served, TrustFiles},
};

impl Control {
    /// Who signed `copy`, where it may serve by its signatures. Those of what `is_new`, of which nothing
    /// has served yet, are also compared with what has, and it waits where it asks for more than that.
    /// `written` is what its manifest claims.
    pub(super) async fn admit(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
        (written, is_new): (&Claimed, bool),
    ) -> Result<Option<Signed>, OfferRefused> {
        let (judge, copied) = (self.judge_of(slot, written), copy.clone());
        let judging = spawn_blocking(move || judge.judge(&copied, is_new)).await;
        let judged = judging.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        judged.map_err(|judgement| judgement.refuse(slot, copy))
    }

    /// `copy`, of which nothing has served yet, waits where it claims more than what serves, and more than its
    /// manifest says (`written`), which was judged before it ran.
    pub(super) async fn admit_claims(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
        (written, claimed, own): (&Claimed, Claimed, Claimed),
    ) -> Result<(), OfferRefused> {
        let (judge, copied) = (self.judge_of(slot, written), copy.clone());
        let judging = spawn_blocking(move || judge.judge_claims(&copied, &claimed, &own)).await;
        let judged = judging.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        judged.map_err(|judgement| judgement.refuse(slot, copy))
    }

    /// How long to wait for another file of the plugin `name`, where its signatures do not fit yet.
    pub(crate) async fn pause_for_signature(&self, name: &str, copy: &Copy) -> Option<Duration> {
        let config = self.config.load_full();
        let settle = config.plugins.settle;
        let (name, copy) = (name.to_owned(), copy.clone());
        let judging = spawn_blocking(move || {
            let signed = signed_by(&config, &name, &copy);
            signed.is_err_and(|fault| fault.may_be_half())
        });
        judging.await.unwrap_or(false).then_some(settle)
    }

    /// `copy` takes calls: the next version is compared with it.
    pub(super) async fn note_served(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
        (source, signed): (Source, Option<Signed>),
    ) {
        if source == Source::LastGood {
            return;
        }
        let (trust, copy) = (self.trust(slot), copy.clone());
        let current = slot.shown().current;
        let claimed = current.map(|current| {
            let services = current.services.iter().map(|service| &*service.name);
            Claimed::of(services, &current.routes)
        });
        let (plugin, present) = (slot.plugin_name().to_owned(), self.plugin_names());
        let data_dir = self.data_dir.clone();
        let noting = spawn_blocking(move || {
            let mut state = trust.state().map_err(io::Error::other)?;
            let before = state.clone();
            let served = Served {
                claimed,
                ..served_by(&copy)
            };
            state.on_served(served, signed.as_ref());
            // Where nobody is asked for approval, a new name is taken and not remembered.
            let is_left_out = state == before || gone::is_full_for(&data_dir, &plugin, &present);
            let written = match is_left_out {
                true => Ok(()),
                false => trust.files.note(&state),
            };
            Ok((state, written))
        });
        let noted = noting.await;
        let noted = noted.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let written = noted.and_then(|(state, written)| {
            slot.set_trust(state);
            written
        });
        if let Err(error) = written {
            let told = "what this version asks for is not noted, and forgotten with the next start";
            warn!(plugin = slot.name, %error, "{told}");
        }
    }

    /// What is held of what `name` names may take calls, and is deployed. `digest` begins that of what was looked
    /// at; another one is not approved. `by` is who says so. Says which version that was, and what it asks for.
    ///
    /// # Errors
    /// When there is no such plugin, nothing of it is held, something else is, or several are; when the approval
    /// cannot be written, or what was approved is refused for another reason.
    pub(crate) async fn approve(
        &self,
        name: &str,
        digest: Option<&str>,
        by: &str,
    ) -> Result<(String, HeldOffer), OfferRefused> {
        let refused = |reason: String| OfferRefused::new("", reason);
        let slot = self.held_of(name, digest);
        let slot = slot.map_err(|fault| refused(fault.to_string()))?;
        let label = slot.name.as_str();
        let offers = slot.lock_offers().await;
        let component = slot.shown().refused.map(|refused| refused.digest);
        let held = slot.held().filter(|_| !offers.is_gone);
        let (Some(held), Some(component)) = (held, component) else {
            return Err(refused(format!("nothing of plugin {label} is held")));
        };
        if let Some(digest) = digest.filter(|digest| !held.digest.starts_with(digest)) {
            return Err(refused(format!(
                "what is held of plugin {label} has the digest {}, not {digest}; look at it again",
                held.digest
            )));
        }
        let record = ApprovalRecord::of(&held, (label, component), by);
        let (trust, approval) = (self.trust(&slot), held.approval());
        let writing = spawn_blocking(move || {
            let mut state = trust.state().map_err(io::Error::other)?;
            // A line too many in the log is better than an approval that is in none.
            trust.files.record(&record)?;
            state.approve(&approval);
            trust.files.note(&state)?;
            Ok(state)
        });
        let written = writing.await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let state = written.map_err(|error| {
            refused(format!(
                "the approval cannot be written, so it does not hold: {error}"
            ))
        })?;
        slot.set_trust(state);
        let digest = held.digest.as_str();
        info!(plugin = label, digest, by, "plugin approved");
        self.note_approved(&slot, by);
        drop(offers);
        self.try_again(&slot).await;
        match slot.shown().refused {
            Some(other) => Err(refused(format!("it is approved, and refused: {other}"))),
            None => Ok((label.to_owned(), held)),
        }
    }

    /// The files of the version `label` are gone, and what the plugin's other versions make needless is forgotten.
    pub(super) async fn forget_version(&self, label: &str) {
        let (data_dir, gone) = (self.data_dir.clone(), label.to_owned());
        let forgetting = spawn_blocking(move || gone::forget_version(&data_dir, &gone));
        let forgotten = forgetting.await;
        let forgotten = forgotten.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        if let Err(error) = forgotten {
            warn!(plugin = label, %error, "what is known of a version that is gone stays on the disk");
        }
    }

    /// Plugins of which a version is in the set.
    fn plugin_names(&self) -> BTreeSet<String> {
        let slots = self.slots.lock();
        slots
            .values()
            .map(|slot| slot.plugin_name().to_owned())
            .collect()
    }

    fn trust(&self, slot: &PluginSlot) -> KnownTrust {
        KnownTrust {
            files: TrustFiles::new(&self.data_dir, &slot.name),
            noted: slot.trust(),
        }
    }

    fn judge_of(&self, slot: &PluginSlot, written: &Claimed) -> OfferJudge {
        OfferJudge {
            name: slot.name.clone(),
            config: self.config.load_full(),
            written: written.clone(),
            trust: self.trust(slot),
            copies: slot.store.clone(),
            data_dir: self.data_dir.clone(),
            present: self.plugin_names(),
            stable: self
                .serving()
                .remove(slot.plugin_name())
                .filter(|stable| stable.name != slot.name)
                .map(|stable| (self.trust(&stable), stable.store.clone())),
        }
    }
}

impl ApprovalRecord {
    fn of(held: &HeldOffer, (label, component): (&str, String), by: &str) -> Self {
        Self {
            at: unix_now(),
            by: by.to_owned(),
            version: label.to_owned(),
            digest: held.digest.clone(),
            component,
            growth: held.growth.clone(),
        }
    }
}
