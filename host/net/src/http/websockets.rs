//! The listener's paths that are a WebSocket: a request is judged here, and served as a session or as calls
//! once its answer has gone.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, Response, StatusCode, request};
use postern_core::{
    Blame, Body, Call, Error, Handler, Headers, Kind, Peer, Text, Transport,
    event::Outbox,
    websocket::{DataKind, WebSocketTimes},
    wire::Role,
};
use postern_system::random;

use super::{
    HttpConfig,
    activity::InFlight,
    fields,
    path::{self, PathError},
    present::Present,
    problem::ErrorForm,
    reply::{self, ReplyBody},
    request::{self as requests, Refusal},
    upgrade::{ServeStream, Upgrade, UpgradeSender, UpgradedStream},
};
use crate::{
    ConnectionBytes, Counters, Shutdown,
    mqtt::{self, MQTT_PATH, MQTT_PROTOCOL, MqttService},
    server::{self, Settings},
    websocket::{
        self, Accepted, CALLS_PATH, CALLS_PROTOCOL, CallForm, Channel, ChannelConfig,
        HandshakeFault, JsonDependencies, JsonLimits, MessageHead, SESSION_PATH, SESSION_PROTOCOL,
        WebSocketLink,
    },
};

/// What a listener serves over WebSocket.
pub(super) struct WebSockets {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) counters: Arc<Counters>,
    pub(super) sessions: Settings,
    /// Where clients of MQTT are served.
    pub(super) mqtt: Option<Arc<MqttService>>,
}

/// Who asks for a WebSocket.
pub(super) struct WebSocketAsker<'a> {
    pub(super) peer: &'a Peer,
    pub(super) bytes: &'a ConnectionBytes,
    pub(super) upgrades: &'a UpgradeSender,
    pub(super) in_flight: &'a InFlight,
}

/// What a path serves over WebSocket.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    /// VSTP.
    Sessions,
    Mqtt,
    /// JSON; calls are of this method where they name no other.
    Calls {
        service: Text,
        method: Text,
    },
}

impl Endpoint {
    /// What is at `path`, where anything is.
    fn at(path: &str, config: &HttpConfig, has_mqtt: bool) -> Result<Option<Self>, PathError> {
        if path == MQTT_PATH {
            let is_served = has_mqtt && config.websocket.serves_mqtt;
            return Ok(is_served.then_some(Self::Mqtt));
        }
        if path == SESSION_PATH {
            return Ok(config.websocket.serves_sessions.then_some(Self::Sessions));
        }
        let rest = path
            .strip_prefix(CALLS_PATH)
            .filter(|_| config.websocket.serves_calls);
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix('/')) else {
            return Ok(None);
        };
        match rest.split_once('/') {
            Some((service, method))
                if !service.is_empty() && !method.is_empty() && !method.contains('/') =>
            {
                let (service, method) = (path::decode(service)?, path::decode(method)?);
                Ok(Some(Self::Calls { service, method }))
            }
            _ => Ok(None),
        }
    }

    const fn protocol(&self) -> &'static str {
        match self {
            Self::Sessions => SESSION_PROTOCOL,
            Self::Mqtt => MQTT_PROTOCOL,
            Self::Calls { .. } => CALLS_PROTOCOL,
        }
    }

    const fn kind(&self) -> DataKind {
        match self {
            Self::Sessions | Self::Mqtt => DataKind::Binary,
            Self::Calls { .. } => DataKind::Text,
        }
    }
}

impl WebSockets {
    /// Answers a request whose path is a WebSocket; `None` for any other.
    pub(super) fn answer(
        &self,
        head: &mut request::Parts,
        config: &HttpConfig,
        asker: &WebSocketAsker<'_>,
    ) -> Result<Option<Response<ReplyBody>>, Refusal> {
        let endpoint = Endpoint::at(head.uri.path(), config, self.mqtt.is_some());
        let endpoint = endpoint
            .map_err(|error| Refusal::invalid(StatusCode::BAD_REQUEST, error.to_string()))?;
        let Some(endpoint) = endpoint else {
            return Ok(None);
        };
        let compression = config.websocket.compression;
        let accepted = match websocket::accept(head, endpoint.protocol(), compression) {
            Ok(accepted) => accepted,
            Err(fault) => return Ok(Some(refused(&fault))),
        };
        let serve = self.serve_stream(endpoint, head, config, asker, &accepted);
        // An error says that the connection has gone.
        let upgrade = Upgrade::new(head, asker.in_flight, serve);
        let _ = asker.upgrades.send(upgrade);
        let mut response = Response::new(ReplyBody::whole(bytes::Bytes::new()));
        *response.status_mut() = accepted.status;
        *response.headers_mut() = accepted.headers;
        Ok(Some(response))
    }

    fn serve_stream(
        &self,
        endpoint: Endpoint,
        head: &request::Parts,
        config: &HttpConfig,
        asker: &WebSocketAsker<'_>,
        accepted: &Accepted,
    ) -> ServeStream {
        let channel_config = ChannelConfig {
            role: Role::Server,
            kind: endpoint.kind(),
            deflation: accepted.deflation,
            message_bytes_max: config.websocket.message_bytes_max,
            times: WebSocketTimes {
                ping_interval: config.websocket.ping_interval,
                ping_timeout: config.websocket.ping_timeout,
                idle_timeout: config.idle_timeout,
            },
        };
        let bytes = asker.bytes.clone();
        let peer = peer(asker.peer);
        match endpoint {
            Endpoint::Sessions => {
                let sessions = self.sessions.clone();
                Box::new(move |UpgradedStream { link, input }, shutdown: Shutdown| {
                    let channel = Channel::new(link, input, channel_config, bytes);
                    let link = WebSocketLink::new(channel, Some(shutdown.clone()));
                    Box::pin(server::serve_session(link, peer, sessions, shutdown))
                })
            }
            Endpoint::Mqtt => {
                let mqtt = self.mqtt.clone();
                Box::new(move |UpgradedStream { link, input }, shutdown: Shutdown| {
                    let channel = Channel::new(link, input, channel_config, bytes);
                    let link = WebSocketLink::new(channel, Some(shutdown.clone()));
                    Box::pin(async move {
                        if let Some(mqtt) = mqtt {
                            mqtt::serve_stream(mqtt, link, BytesMut::new(), peer, shutdown).await;
                        }
                    })
                })
            }
            Endpoint::Calls { service, method } => {
                let dependencies = JsonDependencies {
                    handler: Arc::clone(&self.handler),
                    form: Box::new(UpgradedCalls {
                        service,
                        method,
                        headers: call_headers(&head.headers),
                        peer: Arc::new(peer.with_session(format!("{:032x}", random::secret()))),
                        config: Arc::clone(&self.config),
                    }),
                    bytes: bytes.clone(),
                    queue_max: config.websocket.queue_max,
                };
                let counters: Arc<Counters> = Arc::clone(&self.counters);
                Box::new(move |UpgradedStream { link, input }, shutdown| {
                    let channel = Channel::new(link, input, channel_config, bytes);
                    Box::pin(websocket::serve_json(
                        channel,
                        dependencies,
                        counters,
                        shutdown,
                    ))
                })
            }
        }
    }
}

/// The peer of a connection, as it is over WebSocket.
fn peer(asker: &Peer) -> Peer {
    let transport = match asker.tls {
        None => Transport::WebSocket,
        Some(_) => Transport::SecureWebSocket,
    };
    Peer {
        tls: asker.tls.clone(),
        ..Peer::new(transport, asker.origin.clone())
    }
}

/// Of the request's fields, those that its calls have.
fn call_headers(headers: &HeaderMap) -> HeaderMap {
    let is_of_handshake = |name: &HeaderName| name.as_str().starts_with("sec-websocket-");
    let mut kept = headers.clone();
    for name in headers.keys().filter(|name| is_of_handshake(name)) {
        kept.remove(name);
    }
    for name in fields::TIMEOUTS {
        // A deadline of each call, which the first alone could keep.
        kept.remove(name);
    }
    kept
}

fn refused(fault: &HandshakeFault) -> Response<ReplyBody> {
    let kind = match fault {
        HandshakeFault::NotAsked | HandshakeFault::Version(_) => Kind::FailedPrecondition,
        HandshakeFault::Method { .. } => Kind::Unimplemented,
        HandshakeFault::Key | HandshakeFault::Body | HandshakeFault::Subprotocol(_) => {
            Kind::InvalidArgument
        }
    };
    let error = Error::new(kind, Blame::Client, fault.to_string());
    let mut response = reply::refusal(fault.status(), &error, ErrorForm::default());
    response
        .headers_mut()
        .extend(fault.fields().into_iter().collect::<HashMap<_, _>>());
    response
}

/// Calls of one connection: what a message does not say, the request of the upgrade does.
struct UpgradedCalls {
    service: Text,
    method: Text,
    headers: HeaderMap,
    peer: Arc<Peer>,
    config: Arc<ArcSwap<HttpConfig>>,
}

impl CallForm for UpgradedCalls {
    fn call(&self, head: MessageHead, body: Body, outbox: &Outbox) -> Result<Call, Error> {
        let mut headers = self.headers.clone();
        // One for each name: those of the message take the place of all that were there.
        for (name, value) in head.headers {
            if let Some(name) = name {
                headers.insert(name, value);
            }
        }
        let present = Present::of(&headers);
        let context = requests::context_of(&headers, present, Arc::clone(&self.peer));
        let mut context = context.map_err(|refusal| refusal.error)?;
        context.outbox = outbox.clone();
        if !head.id.is_empty() {
            context.correlation = head.id;
        }
        Ok(Call {
            service: head.service.unwrap_or_else(|| self.service.clone()),
            method: head.method.unwrap_or_else(|| self.method.clone()),
            version: requests::version(&headers, present),
            headers: fields::of_request(&headers, present, fields::n_octets(&headers)),
            body,
            context,
            // A message is no request of HTTP: it has neither method nor path.
            http: None,
        })
    }

    fn headers(&self, headers: &Headers) -> HeaderMap {
        fields::to_map(headers)
    }

    fn limits(&self) -> JsonLimits {
        let config = self.config.load();
        JsonLimits {
            calls_max: usize::try_from(config.streams_max).unwrap_or(usize::MAX),
            body_bytes_max: config.message_bytes_max,
            write_timeout: config.write_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Option<Endpoint> {
        Endpoint::at(path, &HttpConfig::default(), false).expect("decoded")
    }

    #[test]
    fn two_kinds_of_paths_are_websockets() {
        assert_eq!(at("/vstp"), Some(Endpoint::Sessions));
        let calls = Endpoint::Calls {
            service: "a/b".into(),
            method: "get".into(),
        };
        assert_eq!(at("/ws/a%2Fb/get"), Some(calls));
        for path in [
            "/",
            "/vstp/",
            "/vstpx",
            "/ws",
            "/ws/",
            "/ws/a",
            "/ws/a/",
            "/ws//b",
            "/ws/a/b/c",
            "/wsx/a/b",
        ] {
            assert_eq!(at(path), None, "{path}");
        }
        assert!(Endpoint::at("/ws/%zz/get", &HttpConfig::default(), false).is_err());
    }

    #[test]
    fn what_is_off_is_not_there() {
        let mut config = HttpConfig::default();
        config.websocket.serves_sessions = false;
        config.websocket.serves_calls = false;
        for path in ["/vstp", "/ws/a/b", "/ws/%zz/b"] {
            assert_eq!(Endpoint::at(path, &config, false), Ok(None));
        }
    }

    #[test]
    fn a_call_has_the_fields_of_the_request_but_those_of_the_handshake() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("sec-websocket-key", "y"),
            ("timeout-ms", "5"),
            ("sec-fetch-site", "same-origin"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let kept = call_headers(&headers);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "sec-fetch-site"]);
    }
}
