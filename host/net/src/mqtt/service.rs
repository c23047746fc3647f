//! What all connections of a listener share, and the life of one.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use postern_core::Peer;

use super::{Broker, MqttBackend, MqttConfig, connection};
use crate::{Counters, Shutdown, link::StreamLink};

/// A listener's side of the broker.
#[derive(Debug)]
pub(crate) struct MqttService {
    pub(super) config: Arc<ArcSwap<MqttConfig>>,
    pub(super) broker: Broker,
    pub(super) backend: Arc<dyn MqttBackend>,
    pub(super) counters: Arc<Counters>,
}

/// Serves a client on `stream`, of which `input` was read already, until either side ends it.
pub(crate) async fn serve_stream<S: StreamLink>(
    service: Arc<MqttService>,
    stream: S,
    input: BytesMut,
    peer: Peer,
    shutdown: Shutdown,
) {
    // Boxed: what it needs is given back before the client is idle.
    let opening = connection::open(service, stream, input, peer, &shutdown);
    let Some(mut connection) = Box::pin(opening).await else {
        return;
    };
    let end = {
        let mut draining = pin!(shutdown.draining());
        poll_fn(|cx| connection.poll(cx, draining.as_mut())).await
    };
    Box::pin(connection.close(end)).await;
}
