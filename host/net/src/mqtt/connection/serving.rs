//! The life of a connection.

use std::{future::poll_fn, pin::pin, sync::Arc};

use bytes::BytesMut;
use postern_core::Peer;

use super::{Connection, opening};
use crate::{Shutdown, link::StreamLink, mqtt::MqttService};

/// Serves a client on `stream`, of which `input` was read already, until either side ends it.
pub(crate) async fn serve_stream<S: StreamLink>(
    service: Arc<MqttService>,
    mut stream: S,
    mut input: BytesMut,
    peer: Peer,
    shutdown: Shutdown,
) {
    // Boxed: what it needs is given back before the client is idle.
    let opening = opening::open(&service, &mut stream, &mut input, peer, &shutdown);
    let Some(opened) = Box::pin(opening).await else {
        return;
    };
    let mut connection = Box::new(Connection::new(service, stream, input, opened));
    let end = {
        let mut draining = pin!(shutdown.draining());
        poll_fn(|cx| connection.poll(cx, draining.as_mut())).await
    };
    Box::pin(connection.close(end)).await;
}
