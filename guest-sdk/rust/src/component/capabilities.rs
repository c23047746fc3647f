//! The imports `metrics` and `directory`.

use crate::{
    bindings::imports::postern::gateway::{directory, metrics},
    component::take_turn,
    directory::{Listing, ServiceInstance},
    failure::Failure,
    metrics::MetricKind,
};

pub(crate) fn metric_declare(
    name: &str,
    kind: MetricKind,
    help: &str,
    bounds: &[f64],
) -> Result<(), Failure> {
    let kind = match kind {
        MetricKind::Counter => metrics::MetricKind::Counter,
        MetricKind::Gauge => metrics::MetricKind::Gauge,
        MetricKind::Histogram => metrics::MetricKind::Histogram,
    };
    metrics::declare(name, kind, help, bounds).map_err(Failure::from)
}

pub(crate) fn metric_increase(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    metrics::increase(name, &owned(labels), value).map_err(Failure::from)
}

pub(crate) fn metric_set(name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), Failure> {
    metrics::set(name, &owned(labels), value).map_err(Failure::from)
}

pub(crate) fn metric_adjust(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    metrics::adjust(name, &owned(labels), value).map_err(Failure::from)
}

pub(crate) fn metric_observe(
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> Result<(), Failure> {
    metrics::observe(name, &owned(labels), value).map_err(Failure::from)
}

/// Of a batch, what is found depends on whose call is being answered.
pub(crate) fn directory_discover(service: &str) -> Result<Listing, Failure> {
    take_turn();
    let listing = directory::discover(service)?;
    Ok(listing.into())
}

pub(crate) fn directory_next_change(
    service: &str,
    revision: &str,
    timeout_ms: u32,
) -> Result<Option<Listing>, Failure> {
    take_turn();
    let changed = directory::next_change(service, revision, timeout_ms)?;
    Ok(changed.map(Listing::from))
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

impl From<directory::Listing> for Listing {
    fn from(listing: directory::Listing) -> Self {
        let instances = listing.instances.into_iter();
        Self {
            revision: listing.revision,
            instances: instances.map(ServiceInstance::from).collect(),
        }
    }
}

impl From<directory::ServiceInstance> for ServiceInstance {
    fn from(instance: directory::ServiceInstance) -> Self {
        Self {
            id: instance.id,
            addresses: instance.addresses,
            version: instance.version,
            zone: instance.zone,
            weight: instance.weight,
            metadata: instance.metadata.into_iter().collect(),
            healthy: instance.healthy,
            stale: instance.stale,
        }
    }
}
