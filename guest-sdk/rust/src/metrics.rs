//! Metrics of the plugin's own. They stand at the gateway's `/metrics`: counter `jobs` of plugin `shop` is
//! `postern_plugin_counter_jobs_total{plugin="shop"}`, a gauge begins with `postern_plugin_gauge_` and a
//! histogram with `postern_plugin_histogram_`. They are kept while the plugin is there, over all its
//! versions and instances.
//!
//! ```
//! use postern_guest::{Failure, metrics};
//! # fn main() -> Result<(), Failure> {
//! # let _host = postern_guest::fake::Host::new();
//! metrics::increase("jobs", &[("queue", "mail")], 1.0)?;
//! metrics::set("backlog", &[], 17.0)?;
//! metrics::observe("job_seconds", &[], 0.25)?;
//! # Ok(())
//! # }
//! ```
//!
//! A name has 1 to 64 letters, digits and `_`, begins with no digit, and does not end in `_total`, `_count`,
//! `_sum`, `_bucket`, `_created` or `_info`. So has the name of a label; `plugin`, `le`, `quantile` and what
//! begins with `__` are taken. A series has 8 labels at most, each value 128 octets at most. Do not put what
//! callers choose freely into a label: a plugin has 1,000 series unless its manifest says more
//! (`limits.metric-series`), of 100 metrics (`limits.metrics`).
//!
//! Every function fails with `invalid-argument` for what is no such name, label or value,
//! `failed-precondition` for a metric of another kind, and `resource-exhausted` for one metric or series too
//! many. Where a metric is no reason to fail a call, let it go: `let _ = metrics::increase(..);`.

use crate::{failure::Failure, host};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// How many values lie within which bounds.
    Histogram,
}

/// Says what a metric is for, in up to 256 octets, and the upper bounds of a histogram's buckets: 1 to 32 that
/// grow, or none for 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 and 10. A metric that is not
/// declared is made when it is first used.
///
/// # Errors
/// Those of the module; `failed-precondition` also for bounds that are others than before.
pub fn declare(name: &str, kind: MetricKind, help: &str, bounds: &[f64]) -> Result<(), Failure> {
    host::metric_declare(name, kind, help, bounds)
}

/// Adds to a counter; `value` is 0 or more.
///
/// # Errors
/// Those of the module.
pub fn increase(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    host::metric_increase(name, labels, value)
}

/// Sets a gauge.
///
/// # Errors
/// Those of the module.
pub fn set(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    host::metric_set(name, labels, value)
}

/// Adds to a gauge, or takes from it.
///
/// # Errors
/// Those of the module.
pub fn adjust(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    host::metric_adjust(name, labels, value)
}

/// Counts a value in a histogram.
///
/// # Errors
/// Those of the module.
pub fn observe(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    host::metric_observe(name, labels, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, fake::Host};

    #[test]
    fn what_was_counted_is_there_by_name_and_labels() {
        let host = Host::new();
        increase("jobs", &[("queue", "mail"), ("kind", "a")], 1.0).unwrap();
        increase("jobs", &[("kind", "a"), ("queue", "mail")], 2.0).unwrap();
        set("backlog", &[], 5.0).unwrap();
        adjust("backlog", &[], -2.0).unwrap();
        observe("job_seconds", &[], 0.25).unwrap();
        observe("job_seconds", &[], 0.5).unwrap();
        assert_eq!(
            host.metric("jobs", &[("queue", "mail"), ("kind", "a")]),
            Some(3.0)
        );
        assert_eq!(host.metric("backlog", &[]), Some(3.0));
        assert_eq!(host.observed("job_seconds", &[]), [0.25, 0.5]);
        assert_eq!(host.metric("jobs", &[]), None);
    }

    #[test]
    fn what_the_gateway_refuses_is_refused() {
        let _host = Host::new();
        let kind = |counted: Result<(), Failure>| counted.unwrap_err().kind;
        for name in ["", "9a", "a-b", "jobs_total", &"a".repeat(65)] {
            assert_eq!(
                kind(increase(name, &[], 1.0)),
                Kind::InvalidArgument,
                "{name}"
            );
        }
        for label in ["plugin", "le", "__a", "a b"] {
            assert_eq!(
                kind(set("a", &[(label, "")], 1.0)),
                Kind::InvalidArgument,
                "{label}"
            );
        }
        assert_eq!(
            kind(set("a", &[("b", ""), ("b", "")], 1.0)),
            Kind::InvalidArgument
        );
        assert_eq!(
            kind(set("a", &[("b", &"x".repeat(129))], 1.0)),
            Kind::InvalidArgument
        );
        assert_eq!(kind(increase("a", &[], -1.0)), Kind::InvalidArgument);
        assert_eq!(kind(set("g", &[], f64::NAN)), Kind::InvalidArgument);
        set("g", &[], 1.0).unwrap();
        assert_eq!(kind(observe("g", &[], 1.0)), Kind::FailedPrecondition);
        declare("h", MetricKind::Histogram, "Time", &[1.0, 2.0]).unwrap();
        let other = declare("h", MetricKind::Histogram, "Time", &[1.0]);
        assert_eq!(kind(other), Kind::FailedPrecondition);
        let bounds = declare("i", MetricKind::Histogram, "", &[2.0, 1.0]);
        assert_eq!(kind(bounds), Kind::InvalidArgument);
    }

    #[test]
    fn one_series_more_than_a_manifest_allows_by_default_is_refused() {
        let _host = Host::new();
        for n in 0..1000 {
            increase("a", &[("n", &n.to_string())], 1.0).unwrap();
        }
        let failure = increase("a", &[], 1.0).unwrap_err();
        assert_eq!(failure.kind, Kind::ResourceExhausted);
        assert!(failure.message.contains("1000"), "{}", failure.message);
    }
}
