//! What all connections of a listener share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Broker, MqttBackend, MqttConfig};
use crate::Counters;

/// A listener's side of the broker.
#[derive(Debug)]
pub(crate) struct MqttService {
    pub(super) config: Arc<ArcSwap<MqttConfig>>,
    pub(super) broker: Broker,
    pub(super) backend: Arc<dyn MqttBackend>,
    pub(super) counters: Arc<Counters>,
}
