//! Metrics of a plugin's own: what its guests count themselves. They belong to the plugin's name, so that
//! versions and generations count into the same ones, and go when nobody of that name is there.
//!
//! | what | bound |
//! | --- | --- |
//! | metrics and series of a plugin | `OwnMetricLimits`, from the manifest |
//! | a name, a label's name | `NAME_BYTES_MAX` |
//! | labels of a series | `LABELS_MAX` |
//! | a label's value | `VALUE_BYTES_MAX` |
//! | what a metric is for | `HELP_BYTES_MAX` |
//! | buckets of a histogram | `BOUNDS_MAX` |
//!
//! Names: Prometheus, "Data model"; suffixes that are taken: OpenMetrics 1.0, section "Suffixes".

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
};

use parking_lot::Mutex;

const NAME_BYTES_MAX: usize = 64;
pub(crate) const LABELS_MAX: usize = 8;
const VALUE_BYTES_MAX: usize = 128;
const HELP_BYTES_MAX: usize = 256;
pub(crate) const BOUNDS_MAX: usize = 32;
/// Of histograms that say nothing: those of Prometheus' client libraries, for times in seconds.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// What the format adds to names itself.
const SUFFIXES: [&str; 6] = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];
/// Labels that have a meaning of their own.
const LABELS_TAKEN: [&str; 3] = ["plugin", "le", "quantile"];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnMetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric of a plugin's own at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnMetric {
    pub name: String,
    pub kind: OwnMetricKind,
    /// Empty where its plugin says nothing.
    pub help: String,
    pub samples: Vec<OwnSample>,
}

/// One series of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSample {
    /// In the order of names.
    pub labels: Vec<(String, String)>,
    pub value: OwnValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OwnValue {
    Number(f64),
    Histogram {
        sum: f64,
        /// Upper bounds, and how many values lie within each and above the one before; the last bound is
        /// infinite.
        buckets: Vec<(f64, u64)>,
    },
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnMetricLimits {
    pub(crate) metrics_max: usize,
    pub(crate) series_max: usize,
}

/// Why a guest's metric is not counted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum OwnMetricError {
    #[error(
        "{what} {name:?} is not 1 to {NAME_BYTES_MAX} letters, digits and `_` that begin with no digit"
    )]
    Name { what: &'static str, name: String },
    #[error("metric {name:?} ends in `{suffix}`, which the format adds itself")]
    Suffix { name: String, suffix: &'static str },
    #[error("label {name:?} is taken; choose another name")]
    LabelTaken { name: String },
    #[error("label {name:?} is there twice")]
    LabelTwice { name: String },
    #[error("a value of label {name:?} has {length} octets, the limit is {VALUE_BYTES_MAX}")]
    LabelValue { name: String, length: usize },
    #[error("{n_labels} labels exceed the limit of {LABELS_MAX}")]
    Labels { n_labels: usize },
    #[error(
        "the text about metric {name:?} is not at most {HELP_BYTES_MAX} octets without control characters and `\\`"
    )]
    Help { name: String },
    #[error("the bounds of {name:?} are not 1 to {BOUNDS_MAX} numbers that grow")]
    Bounds { name: String },
    #[error("{value} cannot be counted")]
    Value { value: f64 },
    #[error("metric {name:?} is a {} and no {}", is.name(), wanted.name())]
    Kind {
        name: String,
        is: OwnMetricKind,
        wanted: OwnMetricKind,
    },
    #[error("metric {name:?} has other bounds already")]
    OtherBounds { name: String },
    #[error(
        "metric {name:?} is one more than the {limit} that the plugin may have; limits.metrics in its manifest raises that"
    )]
    TooManyMetrics { name: String, limit: usize },
    #[error(
        "a series of metric {name:?} is one more than the {limit} that the plugin may have; limits.metric-series in its manifest raises that"
    )]
    TooManySeries { name: String, limit: usize },
}

/// What becomes of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricChange {
    Increase,
    Set,
    Adjust,
    Observe,
}

/// The metrics of each plugin that is there, by its name.
#[derive(Default)]
pub(crate) struct OwnMetricsTable(Mutex<BTreeMap<String, Weak<OwnMetrics>>>);

/// The metrics of one plugin.
#[derive(Debug, Default)]
pub(crate) struct OwnMetrics(Mutex<Metrics>);

#[derive(Debug, Default)]
struct Metrics {
    by_name: BTreeMap<String, Metric>,
    n_series: usize,
}

#[derive(Debug)]
struct Metric {
    kind: OwnMetricKind,
    help: String,
    bounds: Arc<[f64]>,
    series: BTreeMap<Vec<(String, String)>, Arc<Series>>,
}

/// What is counted under one name with one set of labels.
#[derive(Debug)]
pub(crate) struct Series {
    kind: OwnMetricKind,
    /// Whether anything was counted; until then nobody is shown it.
    is_used: AtomicBool,
    /// The bits of the value, of a histogram its sum.
    number: AtomicU64,
    bounds: Arc<[f64]>,
    buckets: Box<[AtomicU64]>,
}

impl OwnMetricsTable {
    /// Those of a plugin. Versions of it that stand side by side, `NAME@VERSION`, have the same.
    pub(crate) fn of(&self, plugin: &str) -> Arc<OwnMetrics> {
        let (name, _) = plugin.split_once('@').unwrap_or((plugin, ""));
        let mut table = self.0.lock();
        if let Some(known) = table.get(name).and_then(Weak::upgrade) {
            return known;
        }
        table.retain(|_, metrics| metrics.strong_count() > 0);
        let metrics = Arc::<OwnMetrics>::default();
        table.insert(name.to_owned(), Arc::downgrade(&metrics));
        metrics
    }
}

impl OwnMetrics {
    /// Says what a metric is.
    pub(crate) fn declare(
        &self,
        name: &str,
        kind: OwnMetricKind,
        help: &str,
        bounds: &[f64],
        limits: OwnMetricLimits,
    ) -> Result<(), OwnMetricError> {
        check_declaration(name, kind, help, bounds)?;
        let mut metrics = self.0.lock();
        let metric = metrics.metric(name, kind, bounds, limits)?;
        if !bounds.is_empty() && *bounds != *metric.bounds {
            let name = name.to_owned();
            return Err(OwnMetricError::OtherBounds { name });
        }
        help.clone_into(&mut metric.help);
        Ok(())
    }

    /// The series of `name` with `labels`, in any order; made where it is not there.
    pub(crate) fn series(
        &self,
        name: &str,
        kind: OwnMetricKind,
        mut labels: Vec<(String, String)>,
        limits: OwnMetricLimits,
    ) -> Result<Arc<Series>, OwnMetricError> {
        check_metric(name)?;
        labels.sort_unstable();
        check_labels(&labels)?;
        let mut metrics = self.0.lock();
        let n_series = metrics.n_series;
        let metric = metrics.metric(name, kind, &[], limits)?;
        if let Some(series) = metric.series.get(&labels) {
            return Ok(Arc::clone(series));
        }
        if n_series >= limits.series_max {
            let (name, limit) = (name.to_owned(), limits.series_max);
            return Err(OwnMetricError::TooManySeries { name, limit });
        }
        let series = Arc::new(Series::new(kind, &metric.bounds));
        metric.series.insert(labels, Arc::clone(&series));
        metrics.n_series += 1;
        Ok(series)
    }

    /// All that was counted, in the order of names.
    pub(crate) fn snapshot(&self) -> Vec<OwnMetric> {
        let metrics = self.0.lock();
        let metrics = metrics.by_name.iter().map(|(name, metric)| OwnMetric {
            name: name.clone(),
            kind: metric.kind,
            help: metric.help.clone(),
            samples: metric.samples(),
        });
        metrics
            .filter(|metric| !metric.samples.is_empty())
            .collect()
    }
}

impl Metrics {
    /// The metric `name`, which is a `kind`; made where it is not there.
    fn metric(
        &mut self,
        name: &str,
        kind: OwnMetricKind,
        bounds: &[f64],
        limits: OwnMetricLimits,
    ) -> Result<&mut Metric, OwnMetricError> {
        if !self.by_name.contains_key(name) && self.by_name.len() >= limits.metrics_max {
            let (name, limit) = (name.to_owned(), limits.metrics_max);
            return Err(OwnMetricError::TooManyMetrics { name, limit });
        }
        let made = || Metric::new(kind, bounds);
        let metric = self.by_name.entry(name.to_owned()).or_insert_with(made);
        if metric.kind != kind {
            let (name, is) = (name.to_owned(), metric.kind);
            let wanted = kind;
            return Err(OwnMetricError::Kind { name, is, wanted });
        }
        Ok(metric)
    }
}

impl Metric {
    fn new(kind: OwnMetricKind, bounds: &[f64]) -> Self {
        let bounds = match (kind, bounds) {
            (OwnMetricKind::Counter | OwnMetricKind::Gauge, _) => &[],
            (OwnMetricKind::Histogram, []) => &BOUNDS[..],
            (OwnMetricKind::Histogram, bounds) => bounds,
        };
        Self {
            kind,
            help: String::new(),
            bounds: bounds.into(),
            series: BTreeMap::new(),
        }
    }

    fn samples(&self) -> Vec<OwnSample> {
        let used = self.series.iter();
        let used = used.filter(|(_, series)| series.is_used.load(Acquire));
        used.map(|(labels, series)| OwnSample {
            labels: labels.clone(),
            value: series.value(),
        })
        .collect()
    }
}

impl Series {
    fn new(kind: OwnMetricKind, bounds: &Arc<[f64]>) -> Self {
        let n_buckets = match kind {
            OwnMetricKind::Counter | OwnMetricKind::Gauge => 0,
            OwnMetricKind::Histogram => bounds.len() + 1,
        };
        Self {
            kind,
            is_used: AtomicBool::new(false),
            number: AtomicU64::new(0.0_f64.to_bits()),
            bounds: Arc::clone(bounds),
            buckets: (0..n_buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether `change` by `value` can be made, as it can where the series was looked up for it.
    pub(crate) fn check(
        &self,
        name: &str,
        change: MetricChange,
        value: f64,
    ) -> Result<(), OwnMetricError> {
        let (is, wanted) = (self.kind, change.kind());
        if is != wanted {
            let name = name.to_owned();
            return Err(OwnMetricError::Kind { name, is, wanted });
        }
        if !value.is_finite() || change == MetricChange::Increase && value < 0.0 {
            return Err(OwnMetricError::Value { value });
        }
        Ok(())
    }

    /// Makes a change that was checked.
    pub(crate) fn apply(&self, change: MetricChange, value: f64) {
        match change {
            MetricChange::Increase | MetricChange::Adjust => self.add(value),
            MetricChange::Set => self.number.store(value.to_bits(), Relaxed),
            MetricChange::Observe => {
                let bucket = self.bounds.partition_point(|bound| *bound < value);
                if let Some(count) = self.buckets.get(bucket) {
                    count.fetch_add(1, Relaxed);
                }
                self.add(value);
            }
        }
        if !self.is_used.load(Relaxed) {
            self.is_used.store(true, Release);
        }
    }

    /// Sums stay numbers: an infinite one could not be taken from.
    fn add(&self, value: f64) {
        let sum = |bits| {
            let sum = f64::from_bits(bits) + value;
            Some(sum.clamp(f64::MIN, f64::MAX).to_bits())
        };
        // It never says `None`.
        let _ = self.number.fetch_update(AcqRel, Relaxed, sum);
    }

    fn value(&self) -> OwnValue {
        let number = f64::from_bits(self.number.load(Acquire));
        match self.kind {
            OwnMetricKind::Counter | OwnMetricKind::Gauge => OwnValue::Number(number),
            OwnMetricKind::Histogram => {
                let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
                let counts = self.buckets.iter().map(|count| count.load(Relaxed));
                OwnValue::Histogram {
                    sum: number,
                    buckets: bounds.zip(counts).collect(),
                }
            }
        }
    }
}

impl OwnMetricKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl MetricChange {
    pub(crate) const fn kind(self) -> OwnMetricKind {
        match self {
            Self::Increase => OwnMetricKind::Counter,
            Self::Set | Self::Adjust => OwnMetricKind::Gauge,
            Self::Observe => OwnMetricKind::Histogram,
        }
    }
}

/// What can be said of a declaration without knowing others.
pub(crate) fn check_declaration(
    name: &str,
    kind: OwnMetricKind,
    help: &str,
    bounds: &[f64],
) -> Result<(), OwnMetricError> {
    check_metric(name)?;
    let is_plain = |c: char| !c.is_control() && c != '\\';
    if help.len() > HELP_BYTES_MAX || !help.chars().all(is_plain) {
        let name = name.to_owned();
        return Err(OwnMetricError::Help { name });
    }
    check_bounds(name, kind, bounds)
}

pub(crate) fn check_metric(name: &str) -> Result<(), OwnMetricError> {
    check_name("metric", name)?;
    match SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)) {
        None => Ok(()),
        Some(suffix) => {
            let name = name.to_owned();
            Err(OwnMetricError::Suffix { name, suffix })
        }
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), OwnMetricError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_name)
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_good {
        return Ok(());
    }
    let shown = name.floor_char_boundary(NAME_BYTES_MAX + 1);
    let name = name.get(..shown).unwrap_or_default().to_owned();
    Err(OwnMetricError::Name { what, name })
}

/// `labels` in their order.
fn check_labels(labels: &[(String, String)]) -> Result<(), OwnMetricError> {
    if labels.len() > LABELS_MAX {
        let n_labels = labels.len();
        return Err(OwnMetricError::Labels { n_labels });
    }
    let mut before = None;
    for (name, value) in labels {
        check_label(name, value)?;
        if before.replace(name) == Some(name) {
            let name = name.clone();
            return Err(OwnMetricError::LabelTwice { name });
        }
    }
    Ok(())
}

pub(crate) fn check_label(name: &str, value: &str) -> Result<(), OwnMetricError> {
    check_name("label", name)?;
    if name.starts_with("__") || LABELS_TAKEN.contains(&name) {
        let name = name.to_owned();
        return Err(OwnMetricError::LabelTaken { name });
    }
    if value.len() > VALUE_BYTES_MAX {
        let (name, length) = (name.to_owned(), value.len());
        return Err(OwnMetricError::LabelValue { name, length });
    }
    Ok(())
}

fn check_bounds(name: &str, kind: OwnMetricKind, bounds: &[f64]) -> Result<(), OwnMetricError> {
    let is_good = match kind {
        OwnMetricKind::Counter | OwnMetricKind::Gauge => bounds.is_empty(),
        OwnMetricKind::Histogram => {
            bounds.len() <= BOUNDS_MAX
                && bounds.iter().all(|bound| bound.is_finite())
                && bounds.is_sorted_by(|a, b| a < b)
        }
    };
    match is_good {
        true => Ok(()),
        false => {
            let name = name.to_owned();
            Err(OwnMetricError::Bounds { name })
        }
    }
}

#[cfg(test)]
mod tests;
