//! The end of a connection: what was taken is finished, the session goes back, the client is told.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use postern_core::mqtt::{KeptState, MqttVersion, encode_disconnect};
use postern_system::clock;
use tokio::io::AsyncWriteExt;

use super::{Connection, End, shared_queues::SharedQueue};
use crate::{
    link::StreamLink,
    mqtt::{
        share_member::HeldShare,
        wills::{PendingWill, WillPublisher},
    },
};

impl<S: StreamLink> Connection<S> {
    /// Ends the connection. The session is given back before the client is waited for.
    pub(super) async fn close(mut self: Box<Self>, end: End) {
        self.say(&end);
        let finishing = tokio::time::timeout(FINISH_TIMEOUT, self.finish_taking());
        if finishing.await.is_err() {
            let client = self.client.client_id.as_str();
            tracing::warn!(
                client,
                "what an MQTT client has published was not stored in time"
            );
        }
        self.tell();
        self.count();
        let Self {
            mut stream,
            broker,
            client,
            session,
            service,
            limits,
            machine,
            will,
            waiting,
            stored,
            shares,
            ..
        } = *self;
        if let Some(stored) = stored {
            let _ = tokio::time::timeout(FINISH_TIMEOUT, stored.finish()).await;
        }
        session.give_back(waiting);
        let expiry_s = match end.session_expiry_s {
            Some(asked) => asked.min(seconds(limits.session_expiry_max)),
            None => machine.negotiated().session_expiry_s,
        };
        let will = will.filter(|_| end.has_will).map(|will| PendingWill {
            will,
            key: session.key,
            publisher: WillPublisher::Client(client, Arc::clone(&service.backend)),
        });
        let kept = machine.into_kept();
        let leaving = leave_shares(shares, &kept);
        let held = tokio::time::timeout(FINISH_TIMEOUT, leaving).await;
        session.hold_shares(held.unwrap_or_default());
        broker.detach(&session, kept, expiry_s, will).await;
        let closing = async {
            // A peer that is gone misses nothing.
            let _ = stream.shutdown().await;
        };
        let _ = tokio::time::timeout(CLOSE_WAIT, closing).await;
    }

    /// Puts what the client is told behind what it was sent, and tries to write it.
    fn say(&mut self, end: &End) {
        let Some((reason, text)) = &end.told else {
            return;
        };
        tracing::debug!(
            client = self.client.client_id.as_str(),
            peer = %self.client.peer.origin,
            %reason,
            text,
            "an MQTT connection ends"
        );
        if self.machine.negotiated().version == MqttVersion::V5 {
            let problem = (!text.is_empty() && self.machine.may_explain(text)).then_some(&**text);
            encode_disconnect(self.out.tail(), *reason, problem);
        }
    }

    /// Writes what there is and waits for what is being taken, without reading.
    async fn finish_taking(&mut self) {
        poll_fn(|cx| {
            let now = clock::now();
            // What the client is told of it, it may not read any more.
            let _ = self.poll_taking(cx, now);
            // One that does not take it at once is not waited for.
            let _ = self.poll_write(cx, now);
            match self.taking.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// What shares have given with QoS 2 waits for the client, what else they have is another's.
async fn leave_shares(shares: Vec<SharedQueue>, kept: &KeptState) -> Vec<HeldShare> {
    let sent = kept.window.shared_positions();
    let mut held = Vec::new();
    for share in shares {
        let key = share.member.key;
        let of_share = sent.iter().filter(|(known, _)| *known == key);
        let positions = of_share.map(|(_, position)| *position);
        held.extend(share.leave(positions.collect()).await);
    }
    held
}

fn seconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_secs()).unwrap_or(u32::MAX)
}

/// How long what a client has published may take to be stored after it has gone.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the stream may take to close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
