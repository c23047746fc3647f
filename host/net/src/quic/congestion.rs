//! Congestion control of a connection (CUBIC, RFC 9438), which a connection that closes is free of.
//!
//! A connection whose window is full when it closes waits for acknowledgements before it says so, and
//! takes none any more: its peer would learn of the end only by its idle timeout. The one packet that is
//! left to be sent need not wait (RFC 9002, section 7).

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use quinn::{
    Connection,
    congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig},
};
use quinn_proto::RttEstimator;

/// Makes the controllers of connections.
#[derive(Debug, Default)]
pub(super) struct CongestionConfig {
    cubic: Arc<CubicConfig>,
}

/// The controller of one path.
struct Congestion {
    inner: Box<dyn Controller>,
    is_closing: Arc<AtomicBool>,
}

/// Lets the packet out that closes `connection`. Nothing else may be sent after this.
pub(super) fn release(connection: &Connection) {
    if let Ok(congestion) = connection
        .congestion_state()
        .into_any()
        .downcast::<Congestion>()
    {
        congestion.is_closing.store(true, Ordering::Release);
    }
}

impl ControllerFactory for CongestionConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Congestion {
            inner: Arc::clone(&self.cubic).build(now, current_mtu),
            is_closing: Arc::default(),
        })
    }
}

impl Controller for Congestion {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_closing.load(Ordering::Acquire) {
            return u64::MAX;
        }
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            is_closing: Arc::clone(&self.is_closing),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
