//! Events that go out under a topic of VYRA and come in from one, over Redis and over datagram sockets.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Blame, Error, Headers, Text,
    event::{Event, Publisher},
    vyra::{VyraModule, VyraTopic, as_published, is_object},
};
use postern_net::vyra::{self as sockets, VyraSubscriber};
use postern_system::random;
use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::module::{FunctionCounts, OwnModule, no_redis, persist};
use crate::config::{VyraPeer, VyraTransport};

/// Publishes events of the function's topics, for as long as the hub is there.
pub(super) async fn publish(
    module: Arc<OwnModule>,
    name: Text,
    topic: VyraTopic,
    over: VyraTransport,
) {
    let Some(settings) = module.config.functions.get(name.as_str()) else {
        return;
    };
    let patterns = settings
        .topics
        .iter()
        .map(|topic| topic.0.clone())
        .collect();
    let owner = Text::from(format!("vyra {name} over {}", over.name()));
    let mut subscription = match module.events.hub().subscribe(&owner, patterns, None) {
        Ok(subscription) => subscription,
        Err(error) => {
            warn!(function = %name, %error, "nothing is published");
            return;
        }
    };
    while let Some(delivery) = subscription.next().await {
        let event = delivery.event;
        // What came in over VYRA does not go out over it again.
        if event.headers.get(EVENT_VYRA.as_bytes()).is_some() {
            continue;
        }
        let payload = as_published(&event.payload);
        let sent = module.send(&topic, payload, over).await;
        let Some(counts) = module.counts(&name) else {
            continue;
        };
        match sent {
            Ok(()) => FunctionCounts::add(&counts.taken),
            Err(error) => {
                FunctionCounts::add(&counts.failed);
                debug!(function = %name, %error, "an event is not published");
            }
        }
    }
}

/// Takes what others publish under the function's topic, for ever.
pub(super) async fn subscribe(
    module: Arc<OwnModule>,
    name: Text,
    topic: VyraTopic,
    over: VyraTransport,
) {
    let settings = module.config.functions.get(name.as_str());
    let written = settings.and_then(|settings| settings.topic.as_ref());
    let event_topic = written.map_or_else(|| dotted(&topic), |topic| topic.0.as_str().into());
    let source = Incoming {
        name,
        topic,
        event_topic,
        owner: module.module.clone(),
    };
    source.follow(module, over).await;
}

/// Takes what a module of others publishes.
pub(super) fn follow_peer(
    module: &Arc<OwnModule>,
    name: &str,
    peer: &VyraPeer,
) -> Vec<AbortOnDropHandle<()>> {
    let Some(Ok(owner)) = peer.vyra_module() else {
        return Vec::new();
    };
    let followed = peer.events.iter().filter_map(|function| {
        let topic = owner
            .topic(peer.namespace.as_deref(), function, None)
            .ok()?;
        let event_topic = match &peer.topic {
            Some(prefix) => format!("{}.{function}", prefix.0).into(),
            None => dotted(&topic),
        };
        let source = Incoming {
            name: format!("{name}/{function}").into(),
            topic,
            event_topic,
            owner: module.module.clone(),
        };
        let following = source.follow(Arc::clone(module), peer.over);
        Some(AbortOnDropHandle::new(tokio::spawn(following)))
    });
    followed.collect()
}

/// A topic of VYRA whose publishing comes in.
struct Incoming {
    name: Text,
    topic: VyraTopic,
    event_topic: Text,
    owner: VyraModule,
}

impl Incoming {
    async fn follow(self, module: Arc<OwnModule>, over: VyraTransport) {
        let what = format!("vyra events of {} over {}", self.topic, over.name());
        match over {
            VyraTransport::Redis => persist(what, || self.listen(&module)).await,
            VyraTransport::Sockets => persist(what, || self.bind(&module)).await,
        }
    }

    async fn listen(&self, module: &OwnModule) -> Result<(), Error> {
        let redis = module.redis.as_ref().ok_or_else(no_redis)?;
        let mut source = redis
            .subscribe(vec![self.topic.as_str().to_owned()])
            .await?;
        while let Some(message) = source.next().await {
            self.on_message(module, message.payload).await;
        }
        Ok(())
    }

    async fn bind(&self, module: &OwnModule) -> Result<(), Error> {
        let folder = module.socket_folder();
        let instance = format!("{:08x}", random::even() >> 32);
        let identity = self.owner.subscriber_identity(&self.topic, &instance);
        let digest = Sha256::digest(identity.as_bytes());
        let hash = digest.first_chunk().copied().unwrap_or_default();
        let file = self.owner.subscriber_socket(hash);
        let failed = |error: std::io::Error| {
            let path = folder.join(&file);
            let message = format!("{}: {error}", path.display());
            Error::unavailable(Blame::Gateway, message).with_source(error)
        };
        let bound = VyraSubscriber::bind(&folder, &file, self.topic.as_str());
        let mut subscriber = bound.map_err(failed)?;
        loop {
            let message = subscriber.next().await.map_err(failed)?;
            self.on_message(module, message).await;
        }
    }

    async fn on_message(&self, module: &OwnModule, payload: Bytes) {
        // Its peers drop what is no JSON.
        if !is_object(&payload) {
            return module.pass_over(&self.name);
        }
        let mut headers = Headers::new();
        // Both are short.
        let _ = headers.push("content-type", "application/json");
        let _ = headers.push(EVENT_VYRA, self.topic.as_str());
        let event = Event {
            topic: self.event_topic.clone(),
            headers,
            payload,
            publisher: Publisher::default(),
        };
        let published = module.events.publish(event).await;
        let counts = module.counts(&self.name);
        match published {
            Ok(_) => {
                if let Some(counts) = counts {
                    FunctionCounts::add(&counts.taken);
                }
            }
            Err(error) => {
                if let Some(counts) = counts {
                    FunctionCounts::add(&counts.failed);
                }
                warn!(topic = %self.event_topic, %error, "an event of VYRA is not taken");
            }
        }
    }
}

impl OwnModule {
    async fn send(
        &self,
        topic: &VyraTopic,
        payload: Bytes,
        over: VyraTransport,
    ) -> Result<(), Error> {
        match over {
            VyraTransport::Redis => {
                let redis = self.redis.as_ref().ok_or_else(no_redis)?;
                redis.publish(topic.as_str().to_owned(), payload).await
            }
            VyraTransport::Sockets => {
                let folder = self.socket_folder();
                let sent = sockets::publish(folder, topic.as_str().to_owned(), payload).await;
                sent.map(drop).map_err(|error| {
                    let message = format!("vyra.socket-folder: {error}");
                    Error::unavailable(Blame::Gateway, message).with_source(error)
                })
            }
        }
    }
}

/// A topic of VYRA as a topic of events.
fn dotted(topic: &VyraTopic) -> Text {
    topic.as_str().replace('/', ".").into()
}

/// Header of an event that came in over VYRA: its topic there.
const EVENT_VYRA: &str = "event-vyra";
