//! `[policy]` of a manifest: what a plugin's author knows of its methods. The configuration wins.

use std::time::Duration;

use super::{
    section::section,
    services::{BalancerName, Service},
};

section! {
    /// How calls of the plugin's services are made, unless `[services.NAME]` says otherwise.
    pub(crate) struct Hints {
        /// Who picks, where there are more instances than this plugin.
        pub balancer: Option<BalancerName> = None;
        /// Methods that may be repeated, such as "Get*".
        pub idempotent: Vec<String> = Vec::new();
        /// No call takes longer.
        pub timeout: Option<Duration> = None, within "1ms" to "24h";
        /// Time of one try.
        pub per_try_timeout: Option<Duration> = None, within "1ms" to "24h";
        /// Trying again.
        pub retry: RetryHints = RetryHints::default();
    }
}

section! {
    /// Trying again.
    pub(crate) struct RetryHints {
        /// Tries of one call, the first included.
        pub attempts: Option<u32> = None, within "1" to "100";
    }
}

impl Hints {
    /// Writes what is given here over `service`.
    pub(super) fn apply(&self, service: &mut Service) {
        if let Some(balancer) = &self.balancer {
            service.balancer = balancer.clone();
        }
        if !self.idempotent.is_empty() {
            service.idempotent.clone_from(&self.idempotent);
        }
        service.timeout = self.timeout.or(service.timeout);
        service.per_try_timeout = self.per_try_timeout.or(service.per_try_timeout);
        service.retry.attempts = self.retry.attempts.unwrap_or(service.retry.attempts);
    }
}
