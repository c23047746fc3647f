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

use std::{io, sync::Arc, time::Duration};

use postern_system::clock;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{
    Control,
    offer::{ApprovalStage, HeldOffer, Needs, OfferRefused, unix_now},
    slot::{PluginSlot, Source},
};
use crate::{
    config::{Approval, Config, quantities},
    plugins::{
        asks::{Asks, Growth},
        claimed::Claimed,
        signature::{SignatureFault, SignaturePolicy, Signed},
        store::{Copy, PluginCopies},
        trust::{ApprovalRecord, Served, TrustFault, TrustFiles, TrustState},
    },
};

/// What judges one offer.
struct OfferJudge {
    name: String,
    config: Arc<Config>,
    /// What the manifest claims.
    written: Claimed,
    trust: KnownTrust,
    copies: PluginCopies,
    /// Those of the version that takes the plugin's calls, where this is another one.
    stable: Option<(KnownTrust, PluginCopies)>,
}

/// What is known of a plugin: as it was noted last, also where that could not be written.
struct KnownTrust {
    files: TrustFiles,
    noted: Option<TrustState>,
}

/// Why an offer is not started.
enum Judgement {
    Signature(SignatureFault),
    Held(HeldOffer),
    Unknown(TrustFault),
}

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
        let noting = spawn_blocking(move || {
            let mut state = trust.state().map_err(io::Error::other)?;
            let before = state.clone();
            let served = Served {
                claimed,
                ..served_by(&copy)
            };
            state.on_served(served, signed.as_ref());
            let written = match state == before {
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
        let record = ApprovalRecord::of(&held, component, by);
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
            stable: self
                .serving()
                .remove(slot.plugin_name())
                .filter(|stable| stable.name != slot.name)
                .map(|stable| (self.trust(&stable), stable.store.clone())),
        }
    }
}

impl Judgement {
    /// As it is told, and as it is refused.
    fn refuse(self, slot: &PluginSlot, copy: &Copy) -> OfferRefused {
        let plugin = slot.name.as_str();
        match self {
            Self::Signature(fault) => {
                warn!(plugin, %fault, "signature refused");
                slot.count_signature_refusal();
                let needs = Needs {
                    settings: true,
                    time: fault.may_pass(),
                    ..Needs::default()
                };
                OfferRefused::new(&copy.digest, format!("signature: {fault}")).until(needs)
            }
            Self::Held(held) => {
                let asked = told(&held.growth);
                let digest = held.digest.as_str();
                warn!(plugin, digest, asked, "plugin held until it is approved");
                OfferRefused::held(copy, held)
            }
            Self::Unknown(fault) => {
                warn!(plugin, %fault, "what is known of the plugin cannot be read");
                let needs = Needs {
                    time: true,
                    ..Needs::default()
                };
                OfferRefused::new(&copy.digest, fault).until(needs)
            }
        }
    }
}

impl OfferJudge {
    /// Blocks.
    fn judge(&self, copy: &Copy, is_new: bool) -> Result<Option<Signed>, Judgement> {
        let signed = signed_by(&self.config, &self.name, copy).map_err(Judgement::Signature)?;
        if !is_new {
            return Ok(signed);
        }
        let state = self.state(copy).map_err(Judgement::Unknown)?;
        let (has_manifest, settings) = (copy.manifest.is_some(), &self.config.plugins.signatures);
        let is_required = settings.require_signature;
        let checked = state
            .newest
            .check(&self.name, signed.as_ref(), has_manifest, is_required);
        checked.map_err(Judgement::Signature)?;
        match self.held(copy, &state) {
            Some(held) => Err(Judgement::Held(held)),
            None => Ok(signed),
        }
    }

    /// What is known. A version of which nothing has served is judged by the one that takes the plugin's
    /// calls, or else by those that have taken them: a new name of a file is no way around an approval.
    fn state(&self, copy: &Copy) -> Result<TrustState, TrustFault> {
        let own = self.trust.state()?;
        if own.served.is_some() || self.copies.load_good().is_some() {
            return Ok(own);
        }
        let before = match self.of_stable()? {
            Some(stable) => stable,
            None => self.of_others(copy)?,
        };
        Ok(TrustState {
            approved: own.approved,
            ..before
        })
    }

    /// What is known of the version that takes the plugin's calls; `None` where none has, or it is this one.
    fn of_stable(&self) -> Result<Option<TrustState>, TrustFault> {
        let Some((trust, copies)) = &self.stable else {
            return Ok(None);
        };
        let state = trust.state()?;
        let served = state.served.clone();
        let served = served.or_else(|| Some(served_by(&copies.load_good()?)));
        Ok(served.is_some().then_some(TrustState { served, ..state }))
    }

    /// What all other versions of the plugin have left. Of those that have served, the one counts beyond which
    /// `copy` asks for the least.
    fn of_others(&self, copy: &Copy) -> Result<TrustState, TrustFault> {
        let (asks, quantities) = (served_by(copy).asks, quantities(&self.config));
        let (mut left, mut least) = (TrustState::default(), usize::MAX);
        for other in self.trust.files.others()? {
            left.newest.merge(other.newest);
            let Some(served) = other.served else { continue };
            let n_more = asks.beyond(&served.asks, &quantities).len();
            if n_more < least {
                (left.served, least) = (Some(served), n_more);
            }
        }
        Ok(left)
    }

    /// What `copy` waits for an operator with; `None` where it need not.
    fn held(&self, copy: &Copy, state: &TrustState) -> Option<HeldOffer> {
        let approval = self.config.approval();
        let digest = copy.content_digest();
        if approval == Approval::Off || state.is_approved(&digest) {
            return None;
        }
        let served = self.served(state);
        if served
            .as_ref()
            .is_some_and(|served| served.digest == digest)
        {
            return None;
        }
        let is_first = served.is_none();
        let claimed = claimed_before(served.as_ref());
        let before = served.map(|served| served.asks).unwrap_or_default();
        let asks = served_by(copy).asks;
        let mut growth = asks.beyond(&before, &quantities(&self.config));
        growth.extend(claimed.map_or_else(Vec::new, |claimed| self.written.beyond(&claimed)));
        let waits = match approval {
            Approval::Off => false,
            Approval::Growth => !is_first && !growth.is_empty(),
            Approval::Always => true,
        };
        waits.then_some(HeldOffer {
            digest,
            growth,
            stage: ApprovalStage::Written,
        })
    }

    /// What a component claims that has said what it answers for. `own` is what every plugin may claim that is
    /// the first of its name. Blocks.
    fn judge_claims(&self, copy: &Copy, claimed: &Claimed, own: &Claimed) -> Result<(), Judgement> {
        let (approval, stage) = (self.config.approval(), ApprovalStage::Described);
        let digest = copy.content_digest();
        let state = self.state(copy).map_err(Judgement::Unknown)?;
        if approval == Approval::Off || state.is_approved(&stage.approval_of(&digest)) {
            return Ok(());
        }
        let served = self.served(&state);
        let has_served = |served: &Served| served.digest == digest;
        let is_first = served.is_none();
        if served.as_ref().is_some_and(has_served) || (is_first && approval == Approval::Growth) {
            return Ok(());
        }
        let Some(before) = claimed_before(served.as_ref()) else {
            return Ok(());
        };
        let known = before.with(&self.written);
        let known = match is_first {
            true => known.with(own),
            false => known,
        };
        let growth = claimed.beyond(&known);
        match growth.is_empty() {
            true => Ok(()),
            false => Err(Judgement::Held(HeldOffer {
                digest,
                growth,
                stage,
            })),
        }
    }

    /// What served last. Of a gateway that noted nothing, the copy of that tells.
    fn served(&self, state: &TrustState) -> Option<Served> {
        let served = state.served.clone();
        served.or_else(|| Some(served_by(&self.copies.load_good()?)))
    }
}

impl KnownTrust {
    /// Blocks.
    fn state(&self) -> Result<TrustState, TrustFault> {
        self.noted.clone().map_or_else(|| self.files.state(), Ok)
    }
}

impl ApprovalRecord {
    fn of(held: &HeldOffer, component: String, by: &str) -> Self {
        Self {
            at: unix_now(),
            by: by.to_owned(),
            digest: held.digest.clone(),
            component,
            growth: held.growth.clone(),
        }
    }
}

impl OfferRefused {
    fn held(copy: &Copy, held: HeldOffer) -> Self {
        let asked = told(&held.growth);
        let reason =
            format!("held until it is approved (`postern plugins approve`): it asks for {asked}");
        let needs = Needs {
            settings: true,
            ..Needs::default()
        };
        Self {
            held: Some(Box::new(held)),
            ..Self::new(&copy.digest, reason).until(needs)
        }
    }
}

/// What is noted of `copy` when it serves, but for what it claims.
fn served_by(copy: &Copy) -> Served {
    Served {
        digest: copy.content_digest(),
        asks: Asks::of(&copy.component, copy.manifest.as_deref()),
        claimed: None,
    }
}

/// What was claimed before: nothing where nothing served. `None` where that is not known, which the next
/// version to serve ends.
fn claimed_before(served: Option<&Served>) -> Option<Claimed> {
    match served {
        None => Some(Claimed::default()),
        Some(served) => served.claimed.clone(),
    }
}

fn signed_by(config: &Config, name: &str, copy: &Copy) -> Result<Option<Signed>, SignatureFault> {
    let policy = SignaturePolicy::open(&config.plugins.signatures)?;
    let octets = (copy.component.as_ref(), copy.manifest.as_deref());
    policy.judge(name, octets, &copy.signatures, clock::unix_time())
}

/// The first few, and how many more there are.
fn told(growth: &[Growth]) -> String {
    if growth.is_empty() {
        return "no more than what serves".to_owned();
    }
    let first = growth.iter().take(TOLD_MAX).map(ToString::to_string);
    let mut told = format!("more: {}", first.collect::<Vec<_>>().join(", "));
    let more = growth.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        told += &format!(", and {more} more");
    }
    told
}

/// Differences in a line of text; all of them are with the plugin.
const TOLD_MAX: usize = 8;
