//! Wills: what is published when a client goes without a word (section 3.1.2.5).

use std::{sync::Arc, time::Duration};

use postern_core::{
    Text,
    mqtt::{ClientKey, Publication, TopicName, Will},
};
use postern_system::clock;

use super::{
    Acceptance, MqttBackend, MqttClient, MqttStore,
    routes::{Routes, Told},
};

/// A will, and who publishes it.
#[derive(Debug)]
pub(super) struct PendingWill {
    pub(super) will: Box<Will>,
    pub(super) key: ClientKey,
    pub(super) publisher: WillPublisher,
}

/// Who takes a will.
#[derive(Debug)]
pub(super) enum WillPublisher {
    Client(Arc<MqttClient>, Arc<dyn MqttBackend>),
    /// The client's connection was of an earlier run, which has judged it.
    Store(Text, Arc<dyn MqttStore>),
}

impl PendingWill {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_secs(self.will.delay_s.into())
    }

    /// Publishes it, by the rules of its client. `told` is to be woken.
    pub(super) async fn publish(self, routes: &Routes, told: &mut Told) {
        let client_id = match &self.publisher {
            WillPublisher::Client(client, _) => client.client_id.clone(),
            WillPublisher::Store(client_id, _) => client_id.clone(),
        };
        if let Err(reason) = self.take(routes, told).await {
            tracing::info!(
                client = client_id.as_str(),
                reason,
                "a will was not published"
            );
        }
    }

    async fn take(self, routes: &Routes, told: &mut Told) -> Result<(), String> {
        let Self {
            will,
            key,
            publisher,
        } = self;
        let topic = TopicName::new(&will.topic).map_err(|error| error.to_string())?;
        if let WillPublisher::Client(client, backend) = &publisher {
            let allowed = backend.may_publish(client, &topic);
            allowed.map_err(|reason| reason.to_string())?;
        }
        let expires_at = will
            .expiry_s
            .and_then(|seconds| clock::now().checked_add(Duration::from_secs(seconds.into())));
        let publication = Arc::new(Publication {
            topic,
            payload: will.payload,
            qos: will.qos,
            is_retained: will.is_retained,
            properties: will.properties,
            expires_at,
            client: key,
            receipt: None,
        });
        let is_kept = routes.route(&publication.topic.name).is_kept;
        let acceptance = match &publisher {
            WillPublisher::Client(client, backend) => {
                backend.publish(client, &publication, is_kept)
            }
            WillPublisher::Store(client_id, store) => {
                store.publish_will(client_id, &publication, is_kept)
            }
        };
        let is_call = matches!(acceptance, Acceptance::Call(_));
        let taken = match acceptance {
            Acceptance::Now(taken) => taken,
            Acceptance::Later(taking) | Acceptance::Call(taking) => taking.await,
        };
        taken.map_err(|refusal| format!("{}: {}", refusal.reason, refusal.text))?;
        if !is_call {
            let route = routes.route(&publication.topic.name);
            route.deliver(&publication, told);
        }
        Ok(())
    }
}
