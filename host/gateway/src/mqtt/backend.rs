//! One listener of MQTT, as the broker asks it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use postern_core::{
    Call, Context, Error, Handler, Kind, event,
    mqtt::{Publication, Reason, SYS_PREFIX, SharedFilter, TopicName},
};
use postern_net::mqtt::{
    Acceptance, ConnectAttempt, MqttAdmission, MqttBackend, MqttClient, MqttRefusal,
};

use super::{
    MqttGateway, calls, principal_of,
    service::{CONNECT, SERVICE, read},
};
use crate::pipeline::Pipeline;

/// What the clients of one listener are judged by.
pub(crate) struct ListenerBackend {
    mqtt: Arc<MqttGateway>,
    pipeline: Arc<Pipeline>,
    /// The pipeline, for the calls of this listener.
    handler: Arc<dyn Handler>,
}

impl ListenerBackend {
    #[must_use]
    pub(crate) fn new(mqtt: Arc<MqttGateway>, pipeline: Arc<Pipeline>, listener: &str) -> Self {
        let handler = Arc::new(pipeline.listener_handler(listener));
        Self {
            mqtt,
            pipeline,
            handler,
        }
    }

    /// Whether rules for calls of the service `events` keep the client from `method`.
    fn may_call_events(&self, client: &MqttClient, method: &str) -> Result<(), Reason> {
        let rules = self.pipeline.rules();
        let may_call = rules
            .guard
            .as_ref()
            .is_none_or(|guard| guard.may_call(principal_of(client), event::SERVICE, method));
        match may_call {
            true => Ok(()),
            false => Err(Reason::NOT_AUTHORIZED),
        }
    }
}

async fn admit(
    mqtt: Arc<MqttGateway>,
    handler: Arc<dyn Handler>,
    attempt: ConnectAttempt,
) -> Result<MqttAdmission, MqttRefusal> {
    let settings = mqtt.settings.load_full();
    let ConnectAttempt {
        client_id,
        user_name,
        password,
        peer,
        will_topic,
        version,
        user_properties: _,
    } = attempt;
    let has_credentials = password.is_some();
    let known = &settings.credentials;
    let shown = known.read(user_name.as_deref(), password.as_ref());
    let shown =
        shown.map_err(|error| MqttRefusal::new(Reason::BAD_CREDENTIALS, error.to_string()))?;
    let mut call = Call::unary(SERVICE, CONNECT, bytes::Bytes::new());
    call.headers = shown.headers.clone();
    call.context = Context::of(Arc::clone(&peer));
    let refused = |error: Error| refusal(&error, has_credentials);
    let reply = handler.call(call).await.map_err(refused)?;
    let answer = reply
        .body
        .into_one(ANSWER_BYTES_MAX)
        .await
        .map_err(refused)?;
    let principal = read(&answer).map_err(refused)?;
    if !known.fits(&shown, user_name.as_ref(), principal.as_ref()) {
        let text = "the password is not of that user";
        return Err(MqttRefusal::new(Reason::BAD_CREDENTIALS, text));
    }
    let principal = principal.map(Arc::new);
    if let Some(topic) = will_topic {
        let client = MqttClient {
            client_id: client_id.clone(),
            version,
            user_name,
            principal: principal.clone(),
            peer,
        };
        let may_publish = TopicName::new(&topic)
            .map_err(|_| Reason::TOPIC_NAME_INVALID)
            .and_then(|topic| mqtt.may_publish(&client, &topic));
        may_publish.map_err(|reason| {
            MqttRefusal::new(reason, format!("a will to {topic} is not allowed"))
        })?;
    }
    mqtt.on_connected(&client_id, principal.as_deref());
    Ok(MqttAdmission {
        principal,
        limits: None,
        response_information: None,
    })
}

impl MqttBackend for ListenerBackend {
    fn connect(
        &self,
        attempt: ConnectAttempt,
    ) -> postern_core::BoxFuture<Result<MqttAdmission, MqttRefusal>> {
        let (mqtt, handler) = (Arc::clone(&self.mqtt), Arc::clone(&self.handler));
        Box::pin(admit(mqtt, handler, attempt))
    }

    fn rules_version(&self) -> u64 {
        self.mqtt.version.load(Ordering::Acquire)
    }

    fn may_publish(&self, client: &MqttClient, topic: &TopicName) -> Result<(), Reason> {
        self.mqtt.may_publish(client, topic)?;
        // A call is judged when it is made.
        match self.mqtt.settings.load().routes.find(&topic.name) {
            Some(_) => Ok(()),
            None => self.may_call_events(client, event::PUBLISH),
        }
    }

    fn may_subscribe(&self, client: &MqttClient, filter: &SharedFilter) -> Result<(), Reason> {
        let settings = self.mqtt.settings.load();
        let topics = settings.rules.of(&client.client_id, principal_of(client));
        let filter = filter.filter.as_str();
        if !topics.may_subscribe(filter) {
            return Err(Reason::NOT_AUTHORIZED);
        }
        // Nothing but the broker's numbers is told below `$`.
        let is_own = filter.starts_with('$') && !filter.starts_with(SYS_PREFIX);
        if is_own {
            return Err(Reason::TOPIC_FILTER_INVALID);
        }
        self.may_call_events(client, SUBSCRIBE)
    }

    fn publish(
        &self,
        client: &Arc<MqttClient>,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance {
        let settings = self.mqtt.settings.load();
        match settings.routes.find(&publication.topic.name) {
            Some(routed) => calls::begin(&self.mqtt, &self.handler, client, publication, routed),
            None => self.mqtt.take(client, publication, is_kept),
        }
    }
}

impl fmt::Debug for ListenerBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBackend").finish_non_exhaustive()
    }
}

/// What a client is told that may not connect (MQTT 5 section 3.2.2.2).
fn refusal(error: &Error, has_credentials: bool) -> MqttRefusal {
    let reason = match error.kind {
        Kind::Unauthenticated if has_credentials => Reason::BAD_CREDENTIALS,
        Kind::Unauthenticated | Kind::PermissionDenied => Reason::NOT_AUTHORIZED,
        Kind::ResourceExhausted => Reason::CONNECTION_RATE_EXCEEDED,
        Kind::Unavailable | Kind::DeadlineExceeded => Reason::SERVER_UNAVAILABLE,
        Kind::Cancelled
        | Kind::Unknown
        | Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Internal
        | Kind::DataLoss => Reason::UNSPECIFIED,
    };
    MqttRefusal::new(reason, error.message.to_string())
}

/// Method of the service `events`, whose rules hold for SUBSCRIBE.
const SUBSCRIBE: &str = "subscribe";
/// Longest answer of `mqtt/connect`: what a token may say of a caller.
const ANSWER_BYTES_MAX: usize = 128 * 1024;
