//! Publishes that are calls, under way.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::{
    Body, Error, Handler, Reply, Text,
    mqtt::{Publication, Qos},
};
use postern_net::mqtt::{Acceptance, MqttClient, PublishOutcome};
use postern_system::clock;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::{
    MqttGateway,
    refusal::refusal,
    request::{
        ReplyAddress, ReplyPart, call_of, failure_publication, reply_address, reply_publication,
    },
    routes::RoutedCall,
};

/// Calls of publishes that nobody waits for, and how many each client has.
#[derive(Debug, Default)]
pub(super) struct RunningCalls {
    tasks: TaskTracker,
    by_client: Mutex<HashMap<Text, usize>>,
    begun: AtomicU64,
    failed: AtomicU64,
}

/// One call of a client. Dropping it makes room for another.
struct RunningCall {
    mqtt: Arc<MqttGateway>,
    client_id: Text,
}

/// A publish that is a call, with everything that answering takes.
struct PublishedCall {
    mqtt: Arc<MqttGateway>,
    handler: Arc<dyn Handler>,
    client: Arc<MqttClient>,
    publication: Arc<Publication>,
    routed: RoutedCall,
}

impl RunningCalls {
    /// Completes when those that were begun have ended.
    pub(super) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many were begun, and how many of them failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.begun.load(Relaxed), self.failed.load(Relaxed))
    }
}

/// Begins the call that a publish is. Nobody is told of one with QoS 0, so that nobody waits for it
/// while the client has few of them.
pub(super) fn begin(
    mqtt: &Arc<MqttGateway>,
    handler: &Arc<dyn Handler>,
    client: &Arc<MqttClient>,
    publication: &Arc<Publication>,
    routed: RoutedCall,
) -> Acceptance {
    let calls = mqtt.calls();
    calls.begun.fetch_add(1, Relaxed);
    let call = PublishedCall {
        mqtt: Arc::clone(mqtt),
        handler: Arc::clone(handler),
        client: Arc::clone(client),
        publication: Arc::clone(publication),
        routed,
    };
    let is_told = publication.qos != Qos::AtMostOnce;
    let permit = (!is_told).then(|| RunningCall::begin(mqtt, &client.client_id));
    match permit.flatten() {
        Some(running) => {
            calls.tasks.spawn(async move {
                let _running = running;
                // Whoever publishes with QoS 0 asks for no word of it.
                let _ = Box::pin(call.run()).await;
            });
            Acceptance::Call(Box::pin(std::future::ready(Ok(1))))
        }
        None => Acceptance::Call(Box::pin(call.run())),
    }
}

impl PublishedCall {
    async fn run(self) -> PublishOutcome {
        let outcome = Box::pin(self.answer()).await;
        outcome.map(|()| 1).map_err(|error| {
            self.mqtt.calls().failed.fetch_add(1, Relaxed);
            let Self { client, routed, .. } = &self;
            let (service, method) = (&routed.service, &routed.method);
            debug!(client = %client.client_id, %service, %method, %error, "a publish failed as a call");
            refusal(&error)
        })
    }

    /// Ready when the answer was published, or nobody wants one and the call has succeeded.
    async fn answer(&self) -> Result<(), Error> {
        let address = reply_address(&self.publication)?;
        if let Some(address) = &address {
            // The reply is published for the client, and it may publish there only what it may publish.
            self.mqtt.check_publish(&self.client, &address.topic)?;
        }
        let call = call_of(&self.client, &self.publication, &self.routed, clock::now());
        let outcome = match call {
            Ok(call) => self.handler.call(call).await,
            Err(error) => Err(error),
        };
        let bytes_max = self.mqtt.body_bytes_max();
        match (address, outcome) {
            (Some(address), Ok(reply)) => self.respond(&address, reply, bytes_max).await,
            (Some(address), Err(error)) => self.fail(&address, &error).await,
            (None, Ok(reply)) => drain(reply.body, bytes_max).await,
            (None, Err(error)) => Err(error),
        }
    }

    async fn respond(
        &self,
        address: &ReplyAddress,
        reply: Reply,
        bytes_max: usize,
    ) -> Result<(), Error> {
        let Reply { headers, body, .. } = reply;
        let Body::Messages(mut messages) = body else {
            return match body.into_one(bytes_max).await {
                Ok(message) => {
                    let whole = reply_publication(address, &headers, message, ReplyPart::Whole);
                    self.publish(whole).await
                }
                Err(error) => self.fail(address, &error).await,
            };
        };
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => {
                    let item = reply_publication(address, &headers, message, ReplyPart::Item);
                    self.publish(item).await?;
                }
                Err(error) => return self.fail(address, &error).await,
            }
        }
        let trailers = messages.trailers().unwrap_or_default();
        let end = reply_publication(address, &trailers, Default::default(), ReplyPart::End);
        self.publish(end).await
    }

    /// The request has its answer, which is that it failed.
    async fn fail(&self, address: &ReplyAddress, error: &Error) -> Result<(), Error> {
        self.mqtt.calls().failed.fetch_add(1, Relaxed);
        self.publish(failure_publication(address, error)).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), Error> {
        let client = &self.client;
        self.mqtt.publish_for(client, publication).await.map(drop)
    }
}

impl RunningCall {
    /// None where the client has as many as it may.
    fn begin(mqtt: &Arc<MqttGateway>, client_id: &Text) -> Option<Self> {
        let mut by_client = mqtt.calls().by_client.lock();
        let limit = mqtt.calls_in_flight_max();
        let n_calls = by_client.entry(client_id.clone()).or_insert(0);
        if *n_calls >= limit {
            return None;
        }
        *n_calls += 1;
        Some(Self {
            mqtt: Arc::clone(mqtt),
            client_id: client_id.clone(),
        })
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut by_client = self.mqtt.calls().by_client.lock();
        if let Some(n_calls) = by_client.get_mut(&self.client_id) {
            *n_calls -= 1;
            if *n_calls == 0 {
                by_client.remove(&self.client_id);
            }
        }
    }
}

/// Reads a reply that nobody wants: whether it ends well is not known before.
async fn drain(body: Body, bytes_max: usize) -> Result<(), Error> {
    let mut messages = body.into_messages(bytes_max);
    while let Some(message) = messages.next().await {
        drop(message?);
    }
    Ok(())
}
