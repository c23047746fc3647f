//! The families of metrics of services with instances, of the directory, of sessions with other
//! gateways, and of events.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};
use crate::cluster::{InstanceNumbers, ServiceNumbers};

impl MetricsSnapshot {
    pub(super) fn encode_services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Counts = fn(&ServiceNumbers) -> Vec<(&'static str, u64)>;
        let families: [(&str, &str, &str, Counts); 5] = [
            (
                "service_tries",
                "Calls to instances, by what they were",
                "try",
                |s| {
                    vec![
                        ("first", s.tries.saturating_sub(s.retries + s.hedges_sent)),
                        ("retry", s.retries),
                        ("hedge", s.hedges_sent),
                    ]
                },
            ),
            (
                "service_retry_stops",
                "Failed calls that were not tried again, by reason",
                "reason",
                |s| {
                    let budget = [("budget", s.budget_refusals)];
                    let stops = s.retry_stops.iter().map(|(reason, n)| (*reason, *n));
                    stops.chain(budget).collect()
                },
            ),
            (
                "service_sheds",
                "Calls refused for want of room, by reason",
                "reason",
                |s| s.sheds.iter().map(|(reason, n)| (*reason, *n)).collect(),
            ),
            (
                "service_picks",
                "Picks of an instance, by who decided",
                "by",
                |s| s.picks.iter().map(|(by, n)| (*by, *n)).collect(),
            ),
            (
                "service_outcomes",
                "What was out of the ordinary",
                "outcome",
                |s| {
                    vec![
                        ("fallback", s.fallbacks),
                        ("hedge-won", s.hedges_won),
                        ("nobody", s.nobody),
                        ("pick-ejected", s.picks_ejected),
                        ("pick-in-panic", s.picks_in_panic),
                        ("pick-left-to-native", s.picks_left),
                        ("pick-out-of-subset", s.picks_out_of_subset),
                        ("waited", s.waited),
                    ]
                },
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = counter(encoder, name, help)?;
            for service in &self.clusters {
                for (value, count) in counts(service) {
                    let labels = [("service", service.service.as_str()), (label, value)];
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        self.encode_instances(encoder)?;
        self.encode_directory(encoder)?;
        self.encode_pool(encoder)?;
        self.encode_events(encoder)
    }

    fn encode_instances(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Counts = fn(&InstanceNumbers) -> Vec<(&'static str, u64)>;
        let families: [(&str, &str, &str, Counts); 3] = [
            (
                "instance_tries",
                "Calls to an instance by outcome",
                "outcome",
                |i| {
                    vec![
                        ("success", i.successes),
                        ("failure", i.failures),
                        ("timeout", i.timeouts),
                        ("other", i.others),
                    ]
                },
            ),
            (
                "instance_ejections",
                "Times that an instance was taken out",
                "cause",
                |i| i.ejections.iter().map(|(cause, n)| (*cause, *n)).collect(),
            ),
            (
                "instance_breaker_changes",
                "Changes of an instance's breaker",
                "to",
                |i| vec![("open", i.breaker_opened), ("closed", i.breaker_closed)],
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = counter(encoder, name, help)?;
            for (service, instance) in self.instances() {
                for (value, count) in counts(instance) {
                    let labels = [
                        ("service", service),
                        ("instance", instance.instance.as_str()),
                        (label, value),
                    ];
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        self.encode_instance_levels(encoder)
    }

    fn encode_instance_levels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Level = fn(&InstanceNumbers) -> u64;
        let levels: [(&str, &str, Level); 3] = [
            (
                "instance_in_flight",
                "Calls under way at an instance",
                |i| u64::from(i.in_flight),
            ),
            (
                "instance_ejected",
                "1 while an instance is taken out",
                |i| u64::from(i.ejected),
            ),
            (
                "instance_breaker_open",
                "1 while an instance's breaker is not closed",
                |i| u64::from(i.breaker.is_some_and(|state| state != "closed")),
            ),
        ];
        for (name, help, level) in levels {
            let mut family = gauge(encoder, name, help)?;
            for (service, instance) in self.instances() {
                let labels = [
                    ("service", service),
                    ("instance", instance.instance.as_str()),
                ];
                encode_level(&mut family, &labels, level(instance))?;
            }
        }
        Ok(())
    }

    fn encode_directory(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = &self.directory;
        let level = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let mut family = gauge(encoder, "directory_entries", "Entries by who owns them")?;
        for (owner, count) in [
            ("plugin", numbers.plugins),
            ("configuration", numbers.configured),
            ("provider", numbers.registered),
            ("peer", numbers.learned),
        ] {
            encode_level(&mut family, &[("owner", owner)], level(count))?;
        }
        let mut family = gauge(
            encoder,
            "directory_levels",
            "What the directory holds beside",
        )?;
        for (what, count) in [
            ("leases", numbers.leases),
            ("drained", numbers.drained),
            ("peers", numbers.peers),
            ("peers-connected", numbers.peers_connected),
            ("watchers", numbers.watchers),
        ] {
            encode_level(&mut family, &[("what", what)], level(count))?;
        }
        let mut family = counter(encoder, "directory_changes", "Changes of entries")?;
        for (change, count) in [
            ("added", numbers.added),
            ("changed", numbers.changed),
            ("removed", numbers.removed),
            ("renewed", numbers.renewed),
            ("expired", numbers.expired),
            ("refused", numbers.refused),
        ] {
            encode_count(&mut family, &[("change", change)], count)?;
        }
        Ok(())
    }

    fn encode_pool(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(pool) = &self.pool else {
            return Ok(());
        };
        let level = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let mut family = gauge(encoder, "pool_sessions", "Sessions with an address")?;
        for host in &pool.hosts {
            let address = host.address.to_string();
            for (state, count) in [
                ("open", host.open),
                ("idle", host.idle),
                ("connecting", host.connecting),
                ("closing", host.closing),
            ] {
                let labels = [
                    ("transport", host.transport),
                    ("address", &address),
                    ("state", state),
                ];
                encode_level(&mut family, &labels, level(count))?;
            }
        }
        let mut family = gauge(encoder, "pool_waiting", "Calls that wait for a session")?;
        for host in &pool.hosts {
            let address = host.address.to_string();
            let labels = [("transport", host.transport), ("address", &address)];
            encode_level(&mut family, &labels, level(host.waiting))?;
        }
        let help = "What became of sessions, and of calls that wanted one";
        let mut family = counter(encoder, "pool_outcomes", help)?;
        for host in &pool.hosts {
            let address = host.address.to_string();
            for (outcome, count) in [
                ("opened", host.opened),
                ("failed", host.failed),
                ("lost", host.lost),
                ("reconnected", host.reconnects),
                ("refused", host.refused),
                ("timed-out", host.timed_out),
            ] {
                let labels = [
                    ("transport", host.transport),
                    ("address", &address),
                    ("outcome", outcome),
                ];
                encode_count(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.events.totals;
        let help = "Events by what became of them; dropped ones found a full queue";
        let mut family = counter(encoder, "events", help)?;
        for (outcome, count) in [
            ("published", totals.published),
            ("unheard", totals.unheard),
            ("refused", totals.refused),
            ("delivered", totals.delivered),
            ("dropped", totals.dropped),
        ] {
            encode_count(&mut family, &[("outcome", outcome)], count)?;
        }
        let mut family = gauge(encoder, "event_subscriptions", "Subscriptions at present")?;
        family.encode_gauge(&totals.subscriptions)?;
        let help = "Events of a plugin's handler by what became of them";
        let mut family = counter(encoder, "plugin_events", help)?;
        for (plugin, numbers) in &self.events.plugins {
            for (outcome, count) in [
                ("delivered", numbers.counts.delivered),
                ("dropped", numbers.counts.dropped),
                ("failed", numbers.failed),
            ] {
                let labels = [("plugin", plugin.as_str()), ("outcome", outcome)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        Ok(())
    }

    fn instances(&self) -> impl Iterator<Item = (&str, &InstanceNumbers)> {
        let services = self.clusters.iter();
        services.flat_map(|service| {
            let instances = service.instances.iter();
            instances.map(|instance| (service.service.as_str(), instance))
        })
    }
}
