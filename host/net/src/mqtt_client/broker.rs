//! A client as a broker of others: events, and calls as requests of MQTT 5.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{
    Blame, BoxFuture, Call, Error, Headers, Kind, Reply, Retry, Text,
    event::{
        Event, Mailbox, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
    },
    mqtt::{MqttVersion, Qos, from_event},
};
use postern_system::clock;
use tokio::sync::mpsc;

use super::{
    client::BrokerClient,
    mapping::{filter_of, message_of},
    message::BrokerMessage,
    requests::failure_of,
    shared::{ClientShared, Command},
    written::BrokerSubscription,
};

/// One reader's end. Dropping it ends what was asked for it and nobody else.
#[derive(Debug)]
struct MessageSource {
    id: u64,
    mailbox: Arc<Mailbox>,
    shared: Arc<ClientShared>,
    commands: mpsc::Sender<Command>,
}

impl EventBroker for BrokerClient {
    fn protocol(&self) -> &'static str {
        "mqtt"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let client = self.clone();
        let topic = Text::from(from_event(&event.topic));
        let message = message_of(&event, topic, clock::now(), Qos::AtLeastOnce);
        Box::pin(async move { Self::publish(&client, message).await })
    }

    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let client = self.clone();
        Box::pin(async move {
            let subscriptions = patterns.iter().map(filter_of).map(subscription).collect();
            let queue = client.config().source_queue;
            let (id, mailbox) = client.shared.sources.add(patterns, queue);
            // From here on dropping it undoes everything.
            let source = MessageSource {
                id,
                mailbox,
                shared: Arc::clone(&client.shared),
                commands: client.commands.clone(),
            };
            Self::subscribe(&client, subscriptions).await?;
            Ok(Box::new(source) as Box<dyn EventSource>)
        })
    }

    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let client = self.clone();
        Box::pin(async move { client.request(call).await })
    }

    fn standing(&self) -> BrokerStanding {
        self.link()
    }
}

impl BrokerClient {
    /// Publishes the call's message at `SERVICE/METHOD` and waits for the response.
    async fn request(&self, call: Call) -> Result<Reply, Error> {
        if self.config().version != MqttVersion::V5 {
            let message = "MQTT 3.1.1 has no requests; write version = \"5\" for this broker";
            return Err(Error::new(Kind::Unimplemented, Blame::Gateway, message));
        }
        let Call {
            service,
            method,
            headers,
            body,
            context,
            ..
        } = call;
        let payload = body.into_one(REQUEST_BYTES_MAX).await?;
        let now = clock::now();
        let left = context.remaining(now).unwrap_or(REQUEST_TIMEOUT);
        let responses = self.shared.requests.topic.clone();
        // The broker knows it already but for the first time; asking again costs little.
        self.subscribe_to_responses(&responses).await?;
        let pending = self.shared.requests.begin()?;
        let topic = format!("{}/{}", from_event(&service), from_event(&method));
        let mut message = message_of_call(topic.into(), &headers, payload, left);
        message.properties.response_topic = Some(responses);
        message.properties.correlation =
            Some(Bytes::copy_from_slice(&pending.number.to_be_bytes()));
        self.publish_and_wait(message, pending, left).await
    }

    async fn subscribe_to_responses(&self, responses: &Text) -> Result<(), Error> {
        if self.shared.has_responses() {
            return Ok(());
        }
        Self::subscribe(self, vec![subscription(responses.clone())]).await?;
        self.shared.set_responses();
        Ok(())
    }

    async fn publish_and_wait(
        &self,
        message: BrokerMessage,
        mut pending: super::requests::PendingRequest<'_>,
        left: Duration,
    ) -> Result<Reply, Error> {
        let waiting = async {
            Self::publish(self, message).await?;
            let response = (&mut pending.response).await;
            response.map_err(|_| {
                let message = "the connection with the broker broke before the response";
                let lost = Error::unavailable(Blame::Upstream, message);
                lost.with_retry(Retry::IfIdempotent)
            })
        };
        let response = tokio::time::timeout(left, waiting).await.map_err(|_| {
            let message = format!("no response from behind the broker within {left:?}");
            Error::deadline_exceeded(Blame::Upstream, message)
        })??;
        match failure_of(&response) {
            Some(error) => Err(error),
            None => Ok(reply_of(response)),
        }
    }
}

impl EventSource for MessageSource {
    fn next(&mut self) -> BoxFuture<Option<Event>> {
        let mailbox = Arc::clone(&self.mailbox);
        Box::pin(async move {
            let delivery = poll_fn(|cx| mailbox.poll_take(cx)).await;
            delivery.map(|delivery| delivery.event)
        })
    }
}

impl Drop for MessageSource {
    fn drop(&mut self) {
        let filters = self.shared.sources.remove(self.id);
        if !filters.is_empty() {
            // A driver that is busy is asked no more: what still comes is for nobody.
            let _ = self.commands.try_send(Command::Unsubscribe { filters });
        }
    }
}

/// What this client publishes comes back to its own readers, as it does from every other broker.
fn subscription(filter: Text) -> BrokerSubscription {
    BrokerSubscription {
        filter,
        qos: Qos::AtLeastOnce,
        is_bridge: false,
    }
}

fn message_of_call(
    topic: Text,
    headers: &Headers,
    payload: Bytes,
    left: Duration,
) -> BrokerMessage {
    let mut message = BrokerMessage::new(topic, payload, Qos::AtLeastOnce);
    let content_type = headers.get_str("content-type");
    message.properties.content_type = content_type.map(|one| Text::from(&*one));
    for key in ["traceparent", "tracestate", "baggage"] {
        if let Some(value) = headers.get_str(key) {
            let pair = (Text::from(key), Text::from(&*value));
            message.properties.user.push(pair);
        }
    }
    let left_ms = left.as_millis().to_string();
    let timeout = (Text::from_static("timeout-ms"), Text::from(left_ms));
    message.properties.user.push(timeout);
    // Nobody waits for an answer after that.
    message.expiry_s = u32::try_from(left.as_secs().max(1)).ok();
    message
}

fn reply_of(response: BrokerMessage) -> Reply {
    let mut headers = Headers::new();
    // One that is too long for a header is left out.
    if let Some(content_type) = &response.properties.content_type {
        let _ = headers.push("content-type", content_type.as_bytes());
    }
    for (name, value) in &response.properties.user {
        let _ = headers.push(name.as_bytes(), value.as_bytes());
    }
    Reply {
        headers,
        ..Reply::one(response.payload)
    }
}

/// For calls without a deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest message of a request, in octets; that of MQTT is less than 256 MiB.
const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
