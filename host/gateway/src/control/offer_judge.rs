//! Judges one offer: by its signatures, by what has served of its plugin, and by what was approved. Blocks, and
//! changes nothing; `approval.rs` says what follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use postern_system::clock;
use tracing::warn;

use super::{
    offer::{ApprovalStage, HeldOffer, Needs, OfferRefused},
    slot::PluginSlot,
};
use crate::{
    config::{Approval, Config, quantities},
    plugins::{
        asks::{Asks, Growth},
        claimed::Claimed,
        gone::{self, TooManyGone},
        label::plugin_of,
        signature::{Newest, SignatureFault, SignaturePolicy, Signed},
        store::{Copy, PluginCopies},
        trust::{Served, TrustFault, TrustFiles, TrustState},
    },
};

/// What judges one offer.
pub(super) struct OfferJudge {
    pub name: String,
    pub config: Arc<Config>,
    /// What the manifest claims.
    pub written: Claimed,
    pub trust: KnownTrust,
    pub copies: PluginCopies,
    pub data_dir: PathBuf,
    /// Plugins that are there.
    pub present: BTreeSet<String>,
    /// Those of the version that takes the plugin's calls, where this is another one.
    pub stable: Option<(KnownTrust, PluginCopies)>,
}

/// What is known of a plugin: as it was noted last, also where that could not be written.
pub(super) struct KnownTrust {
    pub files: TrustFiles,
    pub noted: Option<TrustState>,
}

/// Why an offer is not started.
pub(super) enum Judgement {
    Signature(SignatureFault),
    Held(HeldOffer),
    Unknown(TrustFault),
    /// Nobody would remember what it asks for.
    Full(TooManyGone),
}

impl Judgement {
    /// As it is told, and as it is refused.
    pub(super) fn refuse(self, slot: &PluginSlot, copy: &Copy) -> OfferRefused {
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
                OfferRefused::new(&copy.digest, fault).until(Needs::time())
            }
            Self::Full(fault) => {
                warn!(plugin, %fault, "what the plugin asks for could not be remembered");
                OfferRefused::new(&copy.digest, fault).until(Needs::time())
            }
        }
    }
}

impl OfferJudge {
    /// Blocks.
    pub(super) fn judge(&self, copy: &Copy, is_new: bool) -> Result<Option<Signed>, Judgement> {
        let signed = signed_by(&self.config, &self.name, copy).map_err(Judgement::Signature)?;
        if !is_new {
            return Ok(signed);
        }
        let own = self.trust.state().map_err(Judgement::Unknown)?;
        let newest = self.newest(&own).map_err(Judgement::Unknown)?;
        let checked = self.check_age(copy, signed.as_ref(), own.served.as_ref(), &newest);
        checked.map_err(Judgement::Signature)?;
        let plugin = plugin_of(&self.name);
        if self.config.approval() != Approval::Off
            && gone::is_full_for(&self.data_dir, plugin, &self.present)
        {
            return Err(Judgement::Full(TooManyGone::below(&self.data_dir)));
        }
        let state = self.state(own, copy).map_err(Judgement::Unknown)?;
        match self.held(copy, &state) {
            Some(held) => Err(Judgement::Held(held)),
            None => Ok(signed),
        }
    }

    /// When the newest was signed that has served of any version of the plugin: an old file is no better under another
    /// name.
    fn newest(&self, own: &TrustState) -> Result<Newest, TrustFault> {
        let mut newest = self.trust.files.newest_of_others()?;
        newest.merge(own.newest.clone());
        if let Some((stable, _)) = &self.stable {
            newest.merge(stable.state()?.newest);
        }
        Ok(newest)
    }

    /// Whether what of `copy` was put there since the version last `served` may serve after what has.
    ///
    /// What has served as it lies there, beside a newer version, is not compared: it was there before that one.
    fn check_age(
        &self,
        copy: &Copy,
        signed: Option<&Signed>,
        served: Option<&Served>,
        newest: &Newest,
    ) -> Result<(), SignatureFault> {
        if served.is_some_and(|served| served.digest == copy.content_digest()) {
            return Ok(());
        }
        let put = copy.deployment();
        let has_component =
            served.is_some_and(|served| served.component.as_ref() == Some(&put.component));
        let has_manifest = served
            .is_some_and(|served| served.manifest.is_some() && served.manifest == put.manifest);
        let has_schema = served.is_some_and(|served| served.schema == put.schema);
        let since = signed.map(|signed| Signed {
            component: signed.component.clone().filter(|_| !has_component),
            manifest: signed.manifest.clone().filter(|_| !has_manifest),
            schema: match has_schema {
                true => BTreeMap::new(),
                false => signed.schema.clone(),
            },
        });
        let is_required = self.config.plugins.signatures.require_signature;
        newest.check(
            &self.name,
            since.as_ref(),
            put.manifest.is_some(),
            is_required,
        )
    }

    /// What is known. A version of which nothing has served is judged by the one that takes the plugin's
    /// calls, or else by those that have taken them: a new name of a file is no way around an approval.
    fn state(&self, own: TrustState, copy: &Copy) -> Result<TrustState, TrustFault> {
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
    pub(super) fn judge_claims(
        &self,
        copy: &Copy,
        claimed: &Claimed,
        own: &Claimed,
    ) -> Result<(), Judgement> {
        let (approval, stage) = (self.config.approval(), ApprovalStage::Described);
        let digest = copy.content_digest();
        let state = self.trust.state().and_then(|known| self.state(known, copy));
        let state = state.map_err(Judgement::Unknown)?;
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
    pub(super) fn state(&self) -> Result<TrustState, TrustFault> {
        self.noted.clone().map_or_else(|| self.files.state(), Ok)
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
pub(super) fn served_by(copy: &Copy) -> Served {
    let deployment = copy.deployment();
    Served {
        digest: copy.content_digest(),
        component: Some(deployment.component),
        manifest: deployment.manifest,
        schema: deployment.schema,
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

pub(super) fn signed_by(
    config: &Config,
    name: &str,
    copy: &Copy,
) -> Result<Option<Signed>, SignatureFault> {
    let policy = SignaturePolicy::open(&config.plugins.signatures)?;
    let octets = (copy.component.as_ref(), copy.manifest.as_deref());
    let now = clock::unix_time();
    let mut signed = policy.judge(name, octets, &copy.signatures, now)?;
    if let Some(schema) = &copy.schema {
        let files = policy.judge_schema(schema, &copy.signatures, now)?;
        if !files.is_empty() {
            signed.get_or_insert_default().schema = files;
        }
    }
    Ok(signed)
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
