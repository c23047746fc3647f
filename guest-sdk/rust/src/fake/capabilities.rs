//! The imports `metrics` and `directory` as the fake host offers them, and what a test says of them.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use crate::{
    directory::{Listing, ServiceInstance},
    failure::Failure,
    fake::{host::Host, state},
    metrics::MetricKind,
};

/// `wit/metrics.wit`.
const NAME_BYTES_MAX: usize = 64;
/// `wit/metrics.wit`.
const LABELS_MAX: usize = 8;
/// `wit/metrics.wit`.
const VALUE_BYTES_MAX: usize = 128;
/// `wit/metrics.wit`.
const HELP_BYTES_MAX: usize = 256;
/// `wit/metrics.wit`.
const BOUNDS_MAX: usize = 32;
/// Default of a manifest's `limits.metrics`.
const METRICS_MAX: usize = 100;
/// Default of a manifest's `limits.metric-series`.
const SERIES_MAX: usize = 1000;
/// `wit/metrics.wit`.
const SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];
/// `wit/metrics.wit`.
const LABELS_TAKEN: [&str; 3] = ["plugin", "le", "quantile"];

type Labels = BTreeMap<String, String>;

/// The plugin's own metrics, by name.
#[derive(Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, Metric>);

#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    /// As declared.
    bounds: Option<Vec<f64>>,
    series: BTreeMap<Labels, Series>,
}

#[derive(Debug, Default)]
struct Series {
    value: f64,
    observed: Vec<f64>,
}

impl Host {
    /// The value of a counter or a gauge, of a histogram the sum; `None` where nothing was counted.
    #[must_use]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        state::with(|state| Some(state.metrics.series(name, labels)?.value))
    }

    /// The values that a histogram was told, in order.
    #[must_use]
    pub fn observed(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let observed = |series: &Series| series.observed.clone();
        state::with(|state| {
            let series = state.metrics.series(name, labels);
            series.map(observed).unwrap_or_default()
        })
    }

    /// Says who answers for a service; this also grants looking it up. A watch sees the difference the next
    /// time that it is asked.
    pub fn service(&self, service: &str, instances: &[ServiceInstance]) -> &Self {
        let instances = instances.to_vec();
        state::with(|state| state.services.insert(service.to_owned(), instances));
        self
    }
}

impl Metrics {
    fn series(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Series> {
        self.0.get(name)?.series.get(&owned(labels))
    }

    fn metric(&mut self, name: &str, kind: MetricKind) -> Result<&mut Metric, Failure> {
        check_name("metric", name)?;
        if let Some(suffix) = SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
            return Err(Failure::invalid_argument(format!(
                "metric `{name}` ends in `{suffix}`, which the format adds itself"
            )));
        }
        if !self.0.contains_key(name) && self.0.len() >= METRICS_MAX {
            return Err(Failure::resource_exhausted(format!(
                "metric `{name}` is one more than the {METRICS_MAX} that the plugin may have"
            )));
        }
        let made = || Metric {
            kind,
            bounds: None,
            series: BTreeMap::new(),
        };
        let metric = self.0.entry(name.to_owned()).or_insert_with(made);
        if metric.kind != kind {
            return Err(Failure::failed_precondition(format!(
                "metric `{name}` is of another kind"
            )));
        }
        Ok(metric)
    }

    fn change(
        &mut self,
        (name, kind): (&str, MetricKind),
        labels: &[(&str, &str)],
        value: f64,
        change: impl FnOnce(&mut Series),
    ) -> Result<(), Failure> {
        if !value.is_finite() {
            return Err(Failure::invalid_argument(format!(
                "{value} cannot be counted"
            )));
        }
        check_labels(labels)?;
        let n_series: usize = self.0.values().map(|metric| metric.series.len()).sum();
        let labels = owned(labels);
        let metric = self.metric(name, kind)?;
        if !metric.series.contains_key(&labels) && n_series >= SERIES_MAX {
            return Err(Failure::resource_exhausted(format!(
                "a series of metric `{name}` is one more than the {SERIES_MAX} that the plugin may have"
            )));
        }
        change(metric.series.entry(labels).or_default());
        Ok(())
    }
}

pub(crate) fn metric_declare(
    name: &str,
    kind: MetricKind,
    help: &str,
    bounds: &[f64],
) -> Result<(), Failure> {
    if help.len() > HELP_BYTES_MAX || help.contains(|c: char| c.is_control() || c == '\\') {
        return Err(Failure::invalid_argument(format!(
            "the text about metric `{name}` is not at most {HELP_BYTES_MAX} octets on one line"
        )));
    }
    let is_good = match kind {
        MetricKind::Counter | MetricKind::Gauge => bounds.is_empty(),
        MetricKind::Histogram => {
            bounds.len() <= BOUNDS_MAX
                && bounds.iter().all(|bound| bound.is_finite())
                && bounds.is_sorted_by(|a, b| a < b)
        }
    };
    if !is_good {
        return Err(Failure::invalid_argument(format!(
            "the bounds of `{name}` are not 1 to {BOUNDS_MAX} numbers that grow"
        )));
    }
    state::with(|state| {
        let metric = state.metrics.metric(name, kind)?;
        let known = metric.bounds.get_or_insert_with(|| bounds.to_vec());
        if !bounds.is_empty() && known != bounds {
            return Err(Failure::failed_precondition(format!(
                "metric `{name}` has other bounds already"
            )));
        }
        Ok(())
    })
}

pub(crate) fn metric_increase(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    if value < 0.0 {
        return Err(Failure::invalid_argument(format!(
            "{value} cannot be counted"
        )));
    }
    state::with(|state| {
        let add = |series: &mut Series| series.value += value;
        let metric = (name, MetricKind::Counter);
        state.metrics.change(metric, labels, value, add)
    })
}

pub(crate) fn metric_set(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    state::with(|state| {
        let set = |series: &mut Series| series.value = value;
        let metric = (name, MetricKind::Gauge);
        state.metrics.change(metric, labels, value, set)
    })
}

pub(crate) fn metric_adjust(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    state::with(|state| {
        let add = |series: &mut Series| series.value += value;
        let metric = (name, MetricKind::Gauge);
        state.metrics.change(metric, labels, value, add)
    })
}

pub(crate) fn metric_observe(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    state::with(|state| {
        let observe = |series: &mut Series| {
            series.value += value;
            series.observed.push(value);
        };
        let metric = (name, MetricKind::Histogram);
        state.metrics.change(metric, labels, value, observe)
    })
}

pub(crate) fn directory_discover(service: &str) -> Result<Listing, Failure> {
    state::with(|state| {
        let Some(instances) = state.services.get(service) else {
            return Err(Failure::permission_denied(format!(
                "looking up service `{service}` is not granted; [grants] directory = [\"{service}\"] in the \
                 manifest gives it"
            )));
        };
        let mut instances = instances.clone();
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        let mut hasher = DefaultHasher::new();
        format!("{instances:?}").hash(&mut hasher);
        Ok(Listing {
            revision: format!("{:016x}", hasher.finish()),
            instances,
        })
    })
}

/// Nothing changes while a test is in here, so it does not wait.
pub(crate) fn directory_next_change(
    service: &str,
    revision: &str,
    _timeout_ms: u32,
) -> Result<Option<Listing>, Failure> {
    let listing = directory_discover(service)?;
    Ok((listing.revision != revision).then_some(listing))
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_name)
        && !name.starts_with(|first: char| first.is_ascii_digit());
    match is_good {
        true => Ok(()),
        false => Err(Failure::invalid_argument(format!(
            "{what} `{name}` is not 1 to {NAME_BYTES_MAX} letters, digits and `_` that begin with no digit"
        ))),
    }
}

fn check_labels(labels: &[(&str, &str)]) -> Result<(), Failure> {
    if labels.len() > LABELS_MAX {
        let n_labels = labels.len();
        return Err(Failure::invalid_argument(format!(
            "{n_labels} labels exceed the limit of {LABELS_MAX}"
        )));
    }
    for (name, value) in labels {
        check_name("label", name)?;
        if name.starts_with("__") || LABELS_TAKEN.contains(name) {
            return Err(Failure::invalid_argument(format!(
                "label `{name}` is taken; choose another name"
            )));
        }
        if value.len() > VALUE_BYTES_MAX {
            let length = value.len();
            return Err(Failure::invalid_argument(format!(
                "a value of label `{name}` has {length} octets, the limit is {VALUE_BYTES_MAX}"
            )));
        }
    }
    if owned(labels).len() < labels.len() {
        return Err(Failure::invalid_argument("a label is there twice"));
    }
    Ok(())
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
