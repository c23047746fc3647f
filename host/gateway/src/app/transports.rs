//! The counters of every transport of every listener. They outlive the listener: a rebound one
//! counts on.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use postern_core::Transport;
use postern_net::Counters;

use crate::telemetry::export::TransportNumbers;

/// Counters by listener and transport.
#[derive(Debug, Default)]
pub(crate) struct Transports {
    counters: Mutex<BTreeMap<(String, Transport), Arc<Counters>>>,
}

impl Transports {
    /// The counters of one transport of one listener, begun when it is new.
    pub(crate) fn counters(&self, listener: &str, transport: Transport) -> Arc<Counters> {
        let mut counters = self.counters.lock();
        Arc::clone(
            counters
                .entry((listener.to_owned(), transport))
                .or_default(),
        )
    }

    pub(crate) fn numbers(&self) -> Vec<TransportNumbers> {
        let counters = self.counters.lock();
        let numbers = counters
            .iter()
            .map(|((listener, transport), counters)| TransportNumbers {
                listener: listener.clone(),
                transport: transport.name(),
                readings: counters.readings().to_vec(),
            });
        numbers.collect()
    }
}
