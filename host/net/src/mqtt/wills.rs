//! Wills: what is published when a client goes without a word (section 3.1.2.5).

use std::{sync::Arc, time::Duration};

use postern_core::mqtt::{ClientKey, Publication, TopicName, Will};
use postern_system::clock;

use super::{
    Acceptance, Broker, MqttBackend, MqttClient,
    routes::Told,
};

/// A will, and who publishes it.
#[derive(Debug)]
pub(super) struct PendingWill {
    pub(super) will: Box<Will>,
    pub(super) client: Arc<MqttClient>,
    pub(super) key: ClientKey,
    pub(super) backend: Arc<dyn MqttBackend>,
}

impl PendingWill {
    pub(super) fn delay(&self) -> Duration {
        Duration::from_secs(self.will.delay_s.into())
    }

    /// Publishes it, by the rules of its client.
    pub(super) async fn publish(self, broker: &Broker) {
        let client_id = self.client.client_id.clone();
        if let Err(reason) = self.take(broker).await {
            tracing::info!(client = client_id.as_str(), reason, "a will was not published");
        }
    }

    async fn take(self, broker: &Broker) -> Result<(), String> {
        let Self {
            will,
            client,
            key,
            backend,
        } = self;
        let topic = TopicName::new(&will.topic).map_err(|error| error.to_string())?;
        let allowed = backend.may_publish(&client, &topic);
        allowed.map_err(|reason| reason.to_string())?;
        let expires_at = will.expiry_s.and_then(|seconds| {
            clock::now().checked_add(Duration::from_secs(seconds.into()))
        });
        let publication = Arc::new(Publication {
            topic,
            payload: will.payload,
            qos: will.qos,
            is_retained: will.is_retained,
            properties: will.properties,
            expires_at,
            client: key,
        });
        let routes = &broker.shared.routes;
        let is_kept = routes.route(&publication.topic.name).is_kept;
        let taken = match backend.publish(&client, &publication, is_kept) {
            Acceptance::Now(taken) => taken,
            Acceptance::Later(taking) => taking.await,
        };
        taken.map_err(|refusal| format!("{}: {}", refusal.reason, refusal.text))?;
        let mut told = Told::default();
        routes.route(&publication.topic.name).deliver(&publication, &mut told);
        broker.on_told(&mut told);
        Ok(())
    }
}
