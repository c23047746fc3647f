//! Another gateway as a broker: one session, over whatever sessions are dialled over.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Call, Error, Handler, Headers, Reply, Text,
    event::{
        Event, PUBLISH, SERVICE, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
        is_carried,
    },
    json,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    CALL_TIMEOUT, EventBrokerConfig,
    inbox::{InboxSender, inbox},
    keeper::Keeper,
};
use crate::{
    client::{Client, ClientConfig},
    dial,
};

/// Another gateway. Dropping it ends its session.
#[derive(Debug)]
pub struct VstpBroker {
    shared: Arc<Shared>,
    subscribing: mpsc::Sender<Subscribing>,
    _keeping: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    config: EventBrokerConfig,
    keeper: Arc<Keeper>,
    /// While there is a session.
    client: Mutex<Option<Client>>,
}

/// A source that is to be subscribed for.
#[derive(Debug)]
struct Subscribing {
    inbox: InboxSender,
    done: oneshot::Sender<Result<(), Error>>,
}

impl VstpBroker {
    /// Must be called on a runtime, whose task keeps the session.
    #[must_use]
    pub fn new(config: EventBrokerConfig) -> Self {
        let shared = Arc::new(Shared {
            keeper: Arc::new(Keeper::new(config.address.to_string())),
            config,
            client: Mutex::default(),
        });
        let (subscribing, sources) = mpsc::channel(SUBSCRIBING_MAX);
        let keeping = tokio::spawn(keep(Arc::clone(&shared), sources));
        Self {
            shared,
            subscribing,
            _keeping: AbortOnDropHandle::new(keeping),
        }
    }

    fn client(&self) -> Result<Client, Error> {
        let client = self.shared.client.lock().clone();
        client.ok_or_else(|| self.shared.keeper.away())
    }
}

impl EventBroker for VstpBroker {
    fn protocol(&self) -> &'static str {
        "vstp"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let (client, shared) = (self.client(), Arc::clone(&self.shared));
        Box::pin(async move {
            let call = shared.published(event)?;
            client?.call(call).await.map(drop)
        })
    }

    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let (sender, reader) = inbox(patterns, &self.shared.keeper);
        let (client, keeper) = (self.client(), Arc::clone(&self.shared.keeper));
        let subscribing = self.subscribing.clone();
        Box::pin(async move {
            client?;
            let (done, subscribed) = oneshot::channel();
            let asked = Subscribing {
                inbox: sender,
                done,
            };
            let asked = subscribing.send(asked).await;
            asked.map_err(|_| keeper.away())?;
            subscribed.await.map_err(|_| keeper.lost())??;
            Ok(Box::new(reader) as Box<dyn EventSource>)
        })
    }

    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let (client, shared) = (self.client(), Arc::clone(&self.shared));
        Box::pin(async move {
            if call.headers.get(b"authorization").is_none() {
                shared.authorize(&mut call.headers)?;
            }
            client?.call(call).await
        })
    }

    fn standing(&self) -> BrokerStanding {
        self.shared.keeper.standing(0)
    }
}

impl Shared {
    /// The call that publishes `event` there.
    fn published(&self, event: Event) -> Result<Call, Error> {
        let Event {
            topic,
            headers,
            payload,
            publisher,
        } = event;
        let mut headers = headers.without(|key| !is_carried(key));
        headers
            .push("event-type", topic.as_bytes())
            .map_err(unfit)?;
        self.authorize(&mut headers)?;
        let mut call = Call::unary(SERVICE, PUBLISH, payload);
        call.headers = headers;
        call.context.trace = publisher.trace;
        call.context.priority = publisher.priority;
        Ok(call)
    }

    fn authorize(&self, headers: &mut Headers) -> Result<(), Error> {
        if let Some(token) = &self.config.token {
            let value = format!("Bearer {token}");
            headers.push("authorization", value).map_err(unfit)?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Client, Error> {
        let EventBrokerConfig {
            address,
            connect_timeout,
            tls,
            ..
        } = &self.config;
        let mut fault = None;
        for target in dial::targets(address.transport, &address.authority()).await? {
            let config = ClientConfig {
                connect_timeout: *connect_timeout,
                call_timeout: CALL_TIMEOUT,
                tls: Arc::clone(tls),
                ..ClientConfig::default()
            };
            match Client::connect(target, config).await {
                Ok(client) => return Ok(client),
                Err(error) => fault = Some(error),
            }
        }
        Err(fault.unwrap_or_else(|| self.keeper.away()))
    }

    /// Subscribes there for a source and gives the subscription's id.
    async fn subscribe(&self, client: &Client, inbox: &InboxSender) -> Result<Text, Error> {
        let mut message = b"{\"topics\":[".to_vec();
        for (index, pattern) in inbox.patterns().into_iter().enumerate() {
            if index > 0 {
                message.push(b',');
            }
            json::push_string(&mut message, pattern);
        }
        message.extend_from_slice(b"]}");
        let mut call = Call::unary(SERVICE, "subscribe", message);
        self.authorize(&mut call.headers)?;
        let reply = client.call(call).await?;
        let reply = reply.body.into_one(REPLY_BYTES_MAX).await?;
        let id = json::member(&reply, "subscription").and_then(json::string);
        id.map(Text::from)
            .ok_or_else(|| Error::internal("the peer subscribes and gives no id"))
    }

    /// Reads events until the session ends; says why it did.
    async fn serve(
        &self,
        client: Client,
        sources: &mut Vec<InboxSender>,
        asked: &mut mpsc::Receiver<Subscribing>,
    ) -> Result<(), Error> {
        let mut events = client.events();
        let mut by_id = BTreeMap::new();
        for source in sources.iter() {
            by_id.insert(self.subscribe(&client, source).await?, source.clone());
        }
        *self.client.lock() = Some(client.clone());
        self.keeper.on_connected();
        loop {
            tokio::select! {
                delivery = events.next() => {
                    let Some(delivery) = delivery else { return Ok(()) };
                    let Some(source) = by_id.get(&delivery.subscription) else { continue };
                    if !source.push(delivery.event, delivery.missed) {
                        by_id.remove(&delivery.subscription);
                        sources.retain(|source| source.is_open());
                    }
                }
                Some(Subscribing { inbox, done }) = asked.recv() => {
                    // Events that come meanwhile wait in the session's own queue.
                    let subscribed = self.subscribe(&client, &inbox).await.map(|id| {
                        by_id.insert(id, inbox.clone());
                        sources.push(inbox);
                    });
                    // Whoever asked may have gone; its inbox is closed then.
                    let _ = done.send(subscribed);
                }
            }
        }
    }
}

async fn keep(shared: Arc<Shared>, mut asked: mpsc::Receiver<Subscribing>) {
    let mut sources = Vec::new();
    loop {
        let ended = match shared.connect().await {
            Ok(client) => shared.serve(client, &mut sources, &mut asked).await,
            Err(error) => Err(error),
        };
        *shared.client.lock() = None;
        let pause = match ended {
            Ok(()) => shared.keeper.on_lost("the session has ended"),
            Err(error) => shared.keeper.on_lost(&error.message),
        };
        tokio::time::sleep(pause).await;
    }
}

fn unfit(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid_argument(format!("the event's headers: {error}")).with_source(error)
}

/// Sources that wait to be subscribed for.
const SUBSCRIBING_MAX: usize = 64;
/// Of the reply to a subscription.
const REPLY_BYTES_MAX: usize = 64 * 1024;
