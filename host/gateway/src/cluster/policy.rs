//! What holds for the calls of one service: the checked form of `[services.NAME]`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{
    Text,
    balance::{Plan, SlowStart},
    resilience::{
        BreakerConfig, BulkheadConfig, HedgeConfig, OutlierConfig, RetryBudgetConfig, RetryPolicy,
        RetryPolicyConfig,
    },
};

use super::{key::HashOn, pattern::Pattern};

/// How the calls of a service are spread and kept from failure. `Default` is what holds where
/// nothing is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServicePolicy {
    /// How an instance is picked; what decides in the stead of a component that does not.
    pub plan: Plan,
    /// The plugin that picks.
    pub component: Option<Text>,
    /// What calls are kept together by.
    pub hash_on: HashOn,
    /// By instance, over the weights of the directory. 0 stands by.
    pub weights: BTreeMap<Text, u32>,
    pub slow_start: SlowStart,
    pub subset: SubsetRule,
    /// No call takes longer, whatever its caller allows.
    pub timeout: Option<Duration>,
    /// Methods that may be repeated, beside those that describe themselves so.
    pub idempotent: Vec<Pattern>,
    pub retry: RetryPolicy,
    pub budget: RetryBudgetConfig,
    pub breaker: Option<BreakerConfig>,
    pub outlier: Option<OutlierConfig>,
    pub concurrency: Option<BulkheadConfig>,
    pub hedge: Option<HedgeConfig>,
    pub fallback: Option<Fallback>,
}

/// Which instances a call wants, by its headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SubsetRule {
    /// Key of metadata, and the header whose value it must have.
    pub headers: Vec<(Text, Text)>,
    /// Others do not answer in their stead.
    pub is_required: bool,
}

/// What answers when the service cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Another service is asked the same. Its own fallback is not taken.
    Service(Text),
    /// One JSON value.
    Reply(Bytes),
}

/// The policy of every service, and where the gateway stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    default: Arc<ServicePolicy>,
    own: BTreeMap<Text, Arc<ServicePolicy>>,
    zone: Option<Text>,
}

impl Policies {
    /// `own` by service; all others have `default`. `zone` is that of the gateway.
    #[must_use]
    pub(crate) fn new(
        default: ServicePolicy,
        own: impl IntoIterator<Item = (Text, ServicePolicy)>,
        zone: Option<Text>,
    ) -> Self {
        let own = own.into_iter();
        Self {
            default: Arc::new(default),
            own: own.map(|(name, policy)| (name, Arc::new(policy))).collect(),
            zone,
        }
    }

    #[must_use]
    pub(crate) fn of(&self, service: &Text) -> &Arc<ServicePolicy> {
        self.own.get(service).unwrap_or(&self.default)
    }

    #[must_use]
    pub(crate) const fn zone(&self) -> Option<&Text> {
        self.zone.as_ref()
    }
}

impl ServicePolicy {
    /// The name of what picks, for metrics: `p2c-ewma`, `plugin:geo`.
    #[must_use]
    pub(crate) fn balancer_name(&self) -> Text {
        match &self.component {
            Some(plugin) => format!("plugin:{plugin}").into(),
            None => Text::from_static(self.plan.policy.name()),
        }
    }

    /// Whether a pick looks at a key.
    pub(super) fn is_by_key(&self) -> bool {
        self.component.is_some() || self.plan.policy.is_by_key() || self.plan.split.is_some()
    }

    /// Whether nothing but the default happens to a call of a lone instance: what spreads calls
    /// makes no difference there.
    pub(super) fn is_plain(&self) -> bool {
        let plain = Self::default();
        let Self {
            plan: _,
            component: _,
            hash_on: _,
            weights: _,
            slow_start: _,
            subset,
            timeout,
            idempotent: _,
            retry,
            budget: _,
            breaker,
            outlier: _,
            concurrency,
            hedge: _,
            fallback,
        } = self;
        (subset, timeout, retry, breaker, concurrency, fallback)
            == (
                &plain.subset,
                &plain.timeout,
                &plain.retry,
                &plain.breaker,
                &plain.concurrency,
                &plain.fallback,
            )
    }
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            plan: Plan {
                spill: Some(postern_core::balance::Spill::default()),
                ..Plan::default()
            },
            component: None,
            hash_on: HashOn::Peer,
            weights: BTreeMap::new(),
            slow_start: SlowStart::default(),
            subset: SubsetRule::default(),
            timeout: None,
            idempotent: Vec::new(),
            retry: RetryPolicy::new(RetryPolicyConfig::default())
                .expect("a test makes a policy of the defaults"),
            budget: RetryBudgetConfig::default(),
            breaker: Some(BreakerConfig::default()),
            outlier: Some(OutlierConfig::default()),
            concurrency: None,
            hedge: None,
            fallback: None,
        }
    }
}
