//! Import `metrics`: a plugin's own counters, gauges and histograms. On the inline path a change waits for
//! the end of its call.

use std::{collections::HashMap, sync::Arc};

use postern_core::Kind;
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{Failure, METRICS},
    convert::failure,
    journal::{self, HostQuestion, Journal},
    own_metrics::{
        self, BOUNDS_MAX, LABELS_MAX, MetricChange, OwnMetricError, OwnMetricKind, OwnMetricLimits,
        OwnMetrics, Series,
    },
    shadowed,
    state::StoreState,
    store_stats::HostImport,
};

/// Series that an instance finds again without a look at those of the plugin. An instance that uses more
/// begins anew.
const REMEMBERED_MAX: usize = 128;

type Store<'a> = StoreContextMut<'a, StoreState>;
type Labels = WasmList<(WasmStr, WasmStr)>;
type Answer = Result<(), Failure>;

/// When a change is made.
#[derive(Clone, Copy)]
enum When {
    AtOnce,
    AfterTheCall,
}

/// A change of a series that a guest wants.
#[derive(Clone, Copy)]
struct Measure {
    /// The function, as a journal names it.
    ask: &'static str,
    change: MetricChange,
    value: f64,
}

/// The series that one instance has used: by name and labels, as the guest wrote them.
#[derive(Default)]
struct Remembered(HashMap<Vec<u8>, Arc<Series>>);

/// `metrics.metric-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
enum MetricKind {
    #[component(name = "counter")]
    Counter,
    #[component(name = "gauge")]
    Gauge,
    #[component(name = "histogram")]
    Histogram,
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_when(linker, When::AtOnce)
}

/// As `link`, for calls that may be begun anew.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_when(linker, When::AfterTheCall)
}

fn link_when(linker: &mut Linker<StoreState>, when: When) -> wasmtime::Result<()> {
    let mut interface = linker.instance(METRICS)?;
    interface.func_wrap("declare", declare)?;
    for (name, ask, change) in [
        ("increase", "metrics.increase", MetricChange::Increase),
        ("set", "metrics.set", MetricChange::Set),
        ("adjust", "metrics.adjust", MetricChange::Adjust),
        ("observe", "metrics.observe", MetricChange::Observe),
    ] {
        interface.func_wrap(
            name,
            move |mut store: Store<'_>, (name, labels, value): (WasmStr, Labels, f64)| {
                store.data_mut().on_host_call_of(HostImport::Metrics)?;
                let measure = Measure { ask, change, value };
                Ok((measure.make(&mut store, when, (&name, &labels))?,))
            },
        )?;
    }
    Ok(())
}

impl Measure {
    /// Makes the change, unless a journal says what came of it.
    fn make(
        self,
        store: &mut Store<'_>,
        when: When,
        named: (&WasmStr, &Labels),
    ) -> wasmtime::Result<Answer> {
        let key = match key(store, named)? {
            Ok(key) => key,
            Err(error) => return Ok(refused(error)),
        };
        let Some(journal) = store.data().journal.clone() else {
            return self.apply(store, when, named, key);
        };
        let series = shown(store, named)?;
        let asking = journal::asking(Some(&journal), |_| {
            let question = HostQuestion::count(self.ask).text(series).about();
            question.text(self.value.to_string())
        });
        journal::told(asking, || self.apply(store, when, named, key))
    }

    fn apply(
        self,
        store: &mut Store<'_>,
        when: When,
        named: (&WasmStr, &Labels),
        key: Vec<u8>,
    ) -> wasmtime::Result<Answer> {
        let Self { change, value, .. } = self;
        let series = self.look_up(store, named, key)?;
        let is_shadow = shadowed::is_shadow(store.data().context());
        Ok(series.map_or_else(refused, |series| {
            match when {
                // Copies of calls do not count.
                _ if is_shadow => {}
                When::AtOnce => series.apply(change, value),
                When::AfterTheCall => {
                    let effects = &mut store.data_mut().effects;
                    effects.push(move || series.apply(change, value));
                }
            }
            Ok(())
        }))
    }

    /// The series that the guest wants to change.
    fn look_up(
        self,
        store: &mut Store<'_>,
        named: (&WasmStr, &Labels),
        key: Vec<u8>,
    ) -> wasmtime::Result<Result<Arc<Series>, OwnMetricError>> {
        let series = match remembered(store, &key) {
            Some(series) => Ok(series),
            None => find(store, named, self.change.kind(), key)?,
        };
        let name = named.0.to_str(&*store)?;
        Ok(series.and_then(|series| {
            series.check(&name, self.change, self.value)?;
            Ok(series)
        }))
    }
}

/// What a metric is for is no effect of a call: it says the same each time.
fn declare(
    mut store: Store<'_>,
    (name, kind, help, bounds): (WasmStr, MetricKind, WasmStr, WasmList<f64>),
) -> wasmtime::Result<(Answer,)> {
    store.data_mut().on_host_call_of(HostImport::Metrics)?;
    let (metrics, limits) = (metrics(&mut store)?, limits(&store));
    // One more than there may be is refused as such.
    let n_bounds = bounds.len().min(BOUNDS_MAX + 1);
    let bounds = (0..n_bounds).filter_map(|index| bounds.get(&mut store, index));
    let bounds: Vec<f64> = bounds.collect::<wasmtime::Result<_>>()?;
    let (name, help) = (name.to_str(&store)?, help.to_str(&store)?);
    let kind = OwnMetricKind::from(kind);
    if let Err(error) = own_metrics::check_declaration(&name, kind, &help, &bounds) {
        return Ok((refused(error),));
    }
    let asking = journal::asking(store.data().journal.as_ref(), |_| {
        let question = HostQuestion::count("metrics.declare").text(&*name).about();
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        let question = question.text(kind.name()).text(&*help);
        question.text(bounds.join(" "))
    });
    let declared = || metrics.declare(&name, kind, &help, &bounds, limits);
    journal::told(asking, || Ok(declared().or_else(refused))).map(|declared| (declared,))
}

/// What names a series as the guest has written it, within the limits. Each part has its length before it,
/// so that no two series have the same.
fn key(
    store: &mut Store<'_>,
    (name, labels): (&WasmStr, &Labels),
) -> wasmtime::Result<Result<Vec<u8>, OwnMetricError>> {
    let n_labels = labels.len();
    if n_labels > LABELS_MAX {
        return Ok(Err(OwnMetricError::Labels { n_labels }));
    }
    let mut key = Vec::with_capacity(64);
    let mut push = |part: &str| {
        key.extend_from_slice(&part.len().to_le_bytes());
        key.extend_from_slice(part.as_bytes());
    };
    let name = name.to_str(&*store)?;
    if let Err(error) = own_metrics::check_metric(&name) {
        return Ok(Err(error));
    }
    push(&name);
    drop(name);
    for index in 0..n_labels {
        let Some(label) = labels.get(&mut *store, index) else {
            break;
        };
        let (name, value) = label?;
        let (name, value) = (name.to_str(&*store)?, value.to_str(&*store)?);
        if let Err(error) = own_metrics::check_label(&name, &value) {
            return Ok(Err(error));
        }
        push(&name);
        push(&value);
    }
    Ok(Ok(key))
}

fn remembered(store: &Store<'_>, key: &[u8]) -> Option<Arc<Series>> {
    let remembered = store.data().kept.get::<Remembered>()?;
    remembered.0.get(key).cloned()
}

/// Looks a series up among those of the plugin, and remembers it.
fn find(
    store: &mut Store<'_>,
    (name, labels): (&WasmStr, &Labels),
    kind: OwnMetricKind,
    key: Vec<u8>,
) -> wasmtime::Result<Result<Arc<Series>, OwnMetricError>> {
    let pairs = pairs(store, labels)?;
    let (metrics, limits) = (metrics(store)?, limits(store));
    let series = {
        let name = name.to_str(&*store)?;
        metrics.series(&name, kind, pairs, limits)
    };
    if let Ok(series) = &series
        && !is_apart(store.data())
    {
        let kept = &mut store.data_mut().kept;
        if kept.get::<Remembered>().is_none() {
            kept.put(Remembered::default());
        }
        if let Some(Remembered(all)) = kept.get_mut() {
            if all.len() >= REMEMBERED_MAX {
                all.clear();
            }
            all.insert(key, Arc::clone(series));
        }
    }
    Ok(series)
}

/// Labels of which `key` has found that they are within the limits.
fn pairs(store: &mut Store<'_>, labels: &Labels) -> wasmtime::Result<Vec<(String, String)>> {
    let mut pairs = Vec::with_capacity(labels.len());
    for index in 0..labels.len() {
        let Some(label) = labels.get(&mut *store, index) else {
            break;
        };
        let (name, value) = label?;
        let name = name.to_str(&*store)?.into_owned();
        pairs.push((name, value.to_str(&*store)?.into_owned()));
    }
    Ok(pairs)
}

/// A series as a journal writes it: `jobs{kind="mail"}`.
fn shown(store: &mut Store<'_>, (name, labels): (&WasmStr, &Labels)) -> wasmtime::Result<String> {
    let labels = pairs(store, labels)?;
    let labels = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"));
    let labels: Vec<_> = labels.collect();
    let name = name.to_str(&*store)?;
    Ok(match labels.is_empty() {
        true => name.into_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    })
}

/// Those of the plugin: every generation has them. A replay and a copy of a call have their own, of which
/// nobody is shown anything.
fn metrics(store: &mut Store<'_>) -> wasmtime::Result<Arc<OwnMetrics>> {
    let state = store.data_mut();
    if is_apart(state) {
        if let Some(own) = state.slots.get::<Arc<OwnMetrics>>() {
            return Ok(Arc::clone(own));
        }
        let own = Arc::<OwnMetrics>::default();
        state.slots.put(Arc::clone(&own));
        return Ok(own);
    }
    let metrics = state.guest.shared.get().cloned();
    metrics.ok_or_else(|| wasmtime::format_err!("this plugin has no metrics"))
}

/// Whether what this entry counts is seen by nobody.
fn is_apart(state: &StoreState) -> bool {
    let journal = state.journal.as_ref();
    journal.is_some_and(Journal::is_replay) || shadowed::is_shadow(state.context())
}

fn limits(store: &Store<'_>) -> OwnMetricLimits {
    let limits = &store.data().guest.spec.limits;
    OwnMetricLimits {
        metrics_max: limits.metrics_max,
        series_max: limits.metric_series_max,
    }
}

fn refused(error: OwnMetricError) -> Answer {
    let kind = match error {
        OwnMetricError::Name { .. }
        | OwnMetricError::Suffix { .. }
        | OwnMetricError::LabelTaken { .. }
        | OwnMetricError::LabelTwice { .. }
        | OwnMetricError::LabelValue { .. }
        | OwnMetricError::Labels { .. }
        | OwnMetricError::Help { .. }
        | OwnMetricError::Bounds { .. }
        | OwnMetricError::Value { .. } => Kind::InvalidArgument,
        OwnMetricError::Kind { .. } | OwnMetricError::OtherBounds { .. } => {
            Kind::FailedPrecondition
        }
        OwnMetricError::TooManyMetrics { .. } | OwnMetricError::TooManySeries { .. } => {
            Kind::ResourceExhausted
        }
    };
    Err(failure(kind, error.to_string()))
}

impl From<MetricKind> for OwnMetricKind {
    fn from(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter,
            MetricKind::Gauge => Self::Gauge,
            MetricKind::Histogram => Self::Histogram,
        }
    }
}
