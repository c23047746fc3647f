//! From `[services.NAME]` to what the clusters work by. What contradicts becomes a fault at its key.

use std::collections::BTreeMap;

use postern_core::{
    Text,
    balance::{self, Plan, Policy, SlowStart, Spill, TrafficSplit},
    resilience::{
        Adaptive, AdaptiveConfig, BreakerConfig, BulkheadConfig, HedgeConfig, HedgeDelay,
        OutlierConfig, RetryBudgetConfig, RetryPolicy, RetryPolicyConfig,
    },
};
use postern_system::clock;

use super::{
    ConfigFault,
    hints::Hints,
    section::SectionReader,
    services::{BalancerName, CallLimit, Service, ServiceTables, SplitBySetting, SubsetMode},
};
use crate::cluster::{Fallback, Pattern, Policies, ServicePolicy, SubsetRule};

/// What is wrong, by key below the service.
type Wrong = (&'static str, String);

impl ServiceTables {
    /// The policy of every service that something is written of, and of all others. `hints` are those
    /// of the manifests, by service; `zone` is that of the gateway.
    ///
    /// What a manifest makes impossible (more time for a try than for the call is possible) is left
    /// to the configuration alone.
    #[must_use]
    pub(crate) fn policies(&self, hints: &BTreeMap<Text, Hints>, zone: Option<Text>) -> Policies {
        let written = self.own().map(|(name, _)| Text::from(name));
        let names: std::collections::BTreeSet<Text> =
            written.chain(hints.keys().cloned()).collect();
        let own = names.into_iter().map(|name| {
            let hinted = self.of(&name, hints.get(&name)).policy();
            let policy = hinted.or_else(|_| self.of(&name, None).policy());
            (name, policy.unwrap_or_default())
        });
        // The configuration was checked when it was read.
        Policies::new(self.default.policy().unwrap_or_default(), own, zone)
    }

    /// Adds a fault for each contradiction.
    pub(crate) fn check(&self, reader: &mut SectionReader) {
        let faults: Vec<_> = self.default.policy().err().unwrap_or_default();
        for (key, message) in &faults {
            add(reader, "services.default", key, message);
        }
        for (name, service) in self.own() {
            for (key, message) in service.policy().err().unwrap_or_default() {
                // What the default does wrong is told once.
                if !faults
                    .iter()
                    .any(|(known, told)| *known == key && *told == message)
                {
                    add(reader, &format!("services.{name}"), key, &message);
                }
            }
        }
    }
}

impl Service {
    /// As the clusters want it.
    ///
    /// # Errors
    /// Everything that no key can say alone.
    pub(crate) fn policy(&self) -> Result<ServicePolicy, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut told = |key: &'static str, message: String| wrong.push((key, message));
        let (plan, component) = self.plan(&mut told);
        let retry = RetryPolicy::new(self.retry_config());
        let retry = retry.map_err(|error| told("retry.backoff-max", error.to_string()));
        let outlier = self.outlier.enabled.then(|| self.outlier_config());
        if let Some(config) = outlier
            && let Err(error) = postern_core::resilience::Ejector::<u64>::new(config, any_instant())
        {
            told("outlier.max-ejection-time", error.to_string());
        }
        let concurrency = self.concurrency(&mut told);
        let hedge = self.hedge(&mut told);
        let fallback = self.fallback(&mut told);
        let (Ok(retry), true) = (retry, wrong.is_empty()) else {
            return Err(wrong);
        };
        Ok(ServicePolicy {
            plan,
            component,
            hash_on: self.hash_on.0.clone(),
            weights: pairs(&self.weights.0),
            slow_start: SlowStart {
                window: self.slow_start,
                aggression: self.slow_start_aggression,
                ..SlowStart::default()
            },
            subset: SubsetRule {
                headers: pairs(&self.subset_headers.0)
                    .into_iter()
                    .map(|(key, header)| (key, header.into()))
                    .collect(),
                is_required: self.subset_mode == SubsetMode::Require,
            },
            timeout: self.timeout,
            idempotent: self.idempotent.iter().map(Pattern::new).collect(),
            retry,
            budget: RetryBudgetConfig {
                ratio: self.retry.budget_ratio,
                min_per_second: self.retry.budget_min,
                window: self.retry.budget_window,
            },
            breaker: self.breaker.enabled.then(|| self.breaker_config()),
            outlier,
            concurrency,
            hedge,
            fallback,
        })
    }

    fn plan(&self, told: &mut impl FnMut(&'static str, String)) -> (Plan, Option<Text>) {
        let (policy, component) = match &self.balancer {
            BalancerName::Native(name) => (name.0, None),
            BalancerName::Plugin(plugin) => (self.fallback_balancer.0, Some(plugin.clone())),
        };
        if (1..100).contains(&self.load_factor) {
            let factor = self.load_factor;
            told(
                "load-factor",
                format!("{factor} percent of its share is less than an instance must bear"),
            );
        }
        let load_factor_percent = Some(self.load_factor).filter(|factor| *factor > 0);
        let policy = match policy {
            Policy::Hash { .. } => Policy::Hash {
                load_factor_percent,
            },
            policy @ (Policy::RoundRobin
            | Policy::Weighted
            | Policy::LeastConnections
            | Policy::P2cEwma
            | Policy::Sticky) => policy,
        };
        let by = match self.split_by {
            SplitBySetting::Sequence => balance::SplitBy::Sequence,
            SplitBySetting::Key => balance::SplitBy::Key,
        };
        let parts: Vec<(Text, u32)> = pairs(&self.split.0).into_iter().collect();
        let split = (!parts.is_empty()).then(|| TrafficSplit::new(parts, by));
        let split =
            split.and_then(|split| split.map_err(|error| told("split", error.to_string())).ok());
        let spill = self.zone_aware.then_some(Spill {
            minimum_percent: self.zone_minimum,
            busy_calls: self.zone_busy,
        });
        let plan = Plan {
            policy,
            spill,
            split,
        };
        (plan, component)
    }

    fn retry_config(&self) -> RetryPolicyConfig {
        RetryPolicyConfig {
            attempts_max: self.retry.attempts,
            backoff_min: self.retry.backoff_min,
            backoff_factor: self.retry.backoff_factor,
            backoff_max: self.retry.backoff_max,
            kinds: self.retry.kinds.iter().map(|kind| kind.0).collect(),
            per_try_timeout: self.per_try_timeout,
        }
    }

    const fn breaker_config(&self) -> BreakerConfig {
        BreakerConfig {
            failure_threshold: self.breaker.failure_threshold,
            timeout: self.breaker.timeout,
            half_open_requests: self.breaker.half_open_requests,
            success_threshold: self.breaker.success_threshold,
        }
    }

    fn outlier_config(&self) -> OutlierConfig {
        let outlier = &self.outlier;
        let unless_zero = |factor: f64| Some(factor).filter(|factor| *factor > 0.0);
        OutlierConfig {
            consecutive_errors: outlier.consecutive_errors,
            interval: outlier.interval,
            base_ejection_time: outlier.base_ejection_time,
            max_ejection_time: outlier.max_ejection_time,
            max_ejection_percent: outlier.max_ejected_percent,
            stdev_factor: unless_zero(outlier.success_rate_factor),
            latency_factor: unless_zero(outlier.latency_factor),
            latency_floor: outlier.latency_floor,
            minimum_hosts: outlier.minimum_hosts,
            request_volume: outlier.request_volume,
        }
    }

    fn concurrency(&self, told: &mut impl FnMut(&'static str, String)) -> Option<BulkheadConfig> {
        use postern_core::resilience::BulkheadLimit as Bound;
        let concurrency = &self.concurrency;
        let limit = match concurrency.limit {
            CallLimit::None => return None,
            CallLimit::Fixed(limit) => Bound::Fixed(limit),
            CallLimit::Adaptive => {
                let (min, max) = (concurrency.adaptive_min, concurrency.adaptive_max);
                let config = AdaptiveConfig {
                    limit_min: min,
                    limit_max: max,
                    limit_initial: AdaptiveConfig::default().limit_initial.max(min).min(max),
                    ..AdaptiveConfig::default()
                };
                if let Err(error) = Adaptive::new(config, any_instant()) {
                    told("concurrency.adaptive-max", error.to_string());
                }
                Bound::Adaptive(config)
            }
        };
        Some(BulkheadConfig {
            limit,
            queue_max: concurrency.queue,
            wait_max: concurrency.queue_timeout,
        })
    }

    fn hedge(&self, told: &mut impl FnMut(&'static str, String)) -> Option<HedgeConfig> {
        let delay = match (self.hedge.delay, self.hedge.percentile) {
            (None, None) => return None,
            (Some(delay), None) => HedgeDelay::Fixed(delay),
            (None, Some(share)) => HedgeDelay::Percentile(share),
            (Some(_), Some(_)) => {
                told("hedge.delay", "a percentile is given too".to_owned());
                return None;
            }
        };
        Some(HedgeConfig {
            delay,
            hedges_max: self.hedge.max,
        })
    }

    fn fallback(&self, told: &mut impl FnMut(&'static str, String)) -> Option<Fallback> {
        match (&self.fallback.service, &self.fallback.reply) {
            (None, None) => None,
            (Some(service), None) => Some(Fallback::Service(service.as_str().into())),
            (None, Some(reply)) => {
                if let Err(error) = postern_core::json::check(reply.as_bytes()) {
                    told("fallback.reply", format!("{reply:?} is no JSON: {error}"));
                }
                Some(Fallback::Reply(reply.clone().into()))
            }
            (Some(_), Some(_)) => {
                told("fallback.reply", "a service is given too".to_owned());
                None
            }
        }
    }
}

fn pairs<T: Clone>(written: &BTreeMap<String, T>) -> BTreeMap<Text, T> {
    let written = written.iter();
    written
        .map(|(name, value)| (name.as_str().into(), value.clone()))
        .collect()
}

fn add(reader: &mut SectionReader, above: &str, key: &str, message: &str) {
    let path = format!("{above}.{key}");
    let place = reader.places.get(&path).cloned();
    reader.faults.push(ConfigFault {
        path,
        place: place.or_else(|| reader.tables.get(above).cloned()),
        message: message.to_owned(),
        remedy: "see host/docs/resilience.md for what goes together".to_owned(),
    });
}

/// The machines are made only to be checked: any instant will do.
fn any_instant() -> std::time::Instant {
    clock::now()
}
