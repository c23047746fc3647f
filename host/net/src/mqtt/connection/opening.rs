//! From the first octet to CONNACK.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use postern_core::{
    Peer, Text,
    mqtt::{
        ClientLimits, Connack, ConnectPacket, Decoded, KeptState, MqttConnection, MqttVersion,
        Negotiated, Packet, PacketFault, Qos, Reason, SharedFilter, SubscriptionOptions,
        TopicFilter, Will, decode, encode_connack,
    },
};
use postern_system::{clock, random};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stored_queue::StoredQueue;
use crate::{
    ConnectionBytes, Shutdown,
    link::StreamLink,
    mqtt::{
        Broker, ConnectAttempt, MqttAdmission, MqttClient, MqttConfig, MqttRefusal, MqttService,
        session::Session, sessions::Attached,
    },
};

/// A client that has said CONNECT and was admitted.
struct Admitted {
    connect: Box<ConnectPacket>,
    client: Arc<MqttClient>,
    admission: MqttAdmission,
    is_id_assigned: bool,
}

/// Why there is no connection.
enum NotOpened {
    /// The stream has ended, or was silent.
    Gone,
    Fault(Option<MqttVersion>, PacketFault),
    Refused(MqttVersion, MqttRefusal),
}

/// Reads CONNECT of `stream`, to which the answer is to be written. None where there is nothing to be
/// served; what was read behind CONNECT stays in `input`.
pub(super) async fn open<S: StreamLink>(
    service: &Arc<MqttService>,
    stream: &mut S,
    input: &mut BytesMut,
    peer: Peer,
    shutdown: &Shutdown,
) -> Option<Opened> {
    let origin = peer.origin.clone();
    let config = service.config.load_full();
    let admitting = async {
        let reading = read_connect(stream, input, &config);
        let read = tokio::time::timeout(config.connect_timeout, reading).await;
        let connect = read.map_err(|_| NotOpened::Gone)??;
        admit(service, connect, peer, &config).await
    };
    let admitted = tokio::select! {
        biased;
        () = shutdown.draining() => return None,
        admitted = Box::pin(admitting) => admitted,
    };
    // Not to be stopped half-way: what is attached must be detached.
    let opened = match admitted {
        Ok(admitted) => Box::pin(attach(service, admitted, &config)).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::debug!(peer = %origin, %error, "an MQTT client was not admitted");
            refuse(service, stream, error).await;
            None
        }
    }
}

/// What a connection begins with.
pub(super) struct Opened {
    pub(super) machine: MqttConnection,
    pub(super) client: Arc<MqttClient>,
    pub(super) session: Arc<Session>,
    pub(super) limits: Arc<ClientLimits>,
    pub(super) will: Option<Box<Will>>,
    pub(super) stored: Option<StoredQueue>,
    pub(super) write_timeout: Duration,
    pub(super) bytes: ConnectionBytes,
    /// The answer.
    pub(super) connack: BytesMut,
}

async fn read_connect<S: StreamLink>(
    stream: &mut S,
    input: &mut BytesMut,
    config: &MqttConfig,
) -> Result<Box<ConnectPacket>, NotOpened> {
    let bytes = config.bytes.connection(config.held_bytes_max);
    // Without an octet there is always room.
    let mut held = bytes.hold(0).map_err(|_| NotOpened::Gone)?;
    loop {
        let decoded = decode(input, None, config.client.packet_bytes_max);
        let decoded = decoded.map_err(|fault| NotOpened::Fault(version_of(input), fault))?;
        if let Some(Decoded { packet, n_octets }) = decoded {
            let Packet::Connect(connect) = packet else {
                return Err(NotOpened::Fault(None, PacketFault::NotConnect));
            };
            let rest = input.get(n_octets..).unwrap_or_default();
            *input = BytesMut::from(rest);
            return Ok(connect);
        }
        input.reserve(READ_BYTES);
        match stream.read_buf(input).await {
            Ok(0) | Err(_) => return Err(NotOpened::Gone),
            Ok(n_octets) => held.grow(n_octets).map_err(|_| NotOpened::Gone)?,
        }
    }
}

async fn admit(
    service: &MqttService,
    mut connect: Box<ConnectPacket>,
    peer: Peer,
    config: &MqttConfig,
) -> Result<Admitted, NotOpened> {
    let version = connect.version;
    let refused =
        |reason, text: String| NotOpened::Refused(version, MqttRefusal::new(reason, text));
    if let Some(method) = &connect.authentication_method {
        let shown: String = method.escape_debug().take(SHOWN_CHARS_MAX).collect();
        let text = format!("authentication method \"{shown}\" is not known; there are none");
        return Err(refused(Reason::BAD_AUTHENTICATION_METHOD, text));
    }
    let is_id_assigned = connect.client_id.is_empty();
    if is_id_assigned {
        if version == MqttVersion::V3 && !connect.clean_start {
            let text = "a session that is kept needs a client identifier".to_owned();
            return Err(refused(Reason::CLIENT_ID_INVALID, text));
        }
        connect.client_id = format!("auto-{:032x}", random::secret()).into();
    }
    let (length, limit) = (connect.client_id.len(), config.client_id_bytes_max);
    if length > limit && !is_id_assigned {
        let text = format!("a client identifier of {length} octets exceeds the limit of {limit}");
        return Err(refused(Reason::CLIENT_ID_INVALID, text));
    }
    let peer = Arc::new(peer.with_session(connect.client_id.clone()));
    let attempt = ConnectAttempt {
        client_id: connect.client_id.clone(),
        version,
        user_name: connect.user_name.clone(),
        password: connect.password.take(),
        peer: Arc::clone(&peer),
        user_properties: std::mem::take(&mut connect.user_properties),
        will_topic: connect.will.as_ref().map(|will| will.topic.clone()),
    };
    let admission = service.backend.connect(attempt).await;
    let admission = admission.map_err(|refusal| NotOpened::Refused(version, refusal))?;
    let client = Arc::new(MqttClient {
        client_id: connect.client_id.clone(),
        version,
        user_name: connect.user_name.take(),
        principal: admission.principal.clone(),
        peer,
    });
    Ok(Admitted {
        connect,
        client,
        admission,
        is_id_assigned,
    })
}

/// Gives the client its session, and says what it is to be told.
async fn attach(
    service: &Arc<MqttService>,
    admitted: Admitted,
    config: &MqttConfig,
) -> Result<Opened, NotOpened> {
    let Admitted {
        mut connect,
        client,
        admission,
        is_id_assigned,
    } = admitted;
    let version = connect.version;
    let limits = admission
        .limits
        .unwrap_or_else(|| Arc::clone(&config.client));
    check_will(&connect, &limits).map_err(|refusal| NotOpened::Refused(version, refusal))?;
    let negotiated = Negotiated::new(&connect, &limits);
    let expiry_s = negotiated.session_expiry_s;
    let broker = &service.broker;
    let attached = broker.attach(&client.client_id, connect.clean_start, expiry_s, &limits);
    let attached = attached.await;
    let Attached {
        session,
        kept,
        is_present,
    } = attached.map_err(|refusal| NotOpened::Refused(version, refusal))?;
    session.set_client(Arc::clone(&client));
    drop_forbidden(service, &client, &session);
    broker.end_shares().await;
    if let Some(will) = &mut connect.will {
        will.expiry_s = limits.expiry_s(will.expiry_s);
    }
    let will = connect.will.take().map(Box::new);
    session.set_will(will.as_deref().filter(|_| session.is_durable()));
    let stored = keep(broker, &session, &kept, &negotiated, &limits).await;
    let stored = match stored {
        Ok(stored) => stored,
        Err(text) => {
            broker.detach(&session, kept, expiry_s, None).await;
            let refusal = MqttRefusal::new(Reason::SERVER_UNAVAILABLE, text);
            return Err(NotOpened::Refused(version, refusal));
        }
    };
    let told = Connack {
        is_session_present: is_present,
        assigned_client_id: is_id_assigned.then_some(&client.client_id),
        has_wildcards: limits.wildcards,
        has_shared: limits.shared_subscriptions,
        response_information: admission
            .response_information
            .as_deref()
            .filter(|_| connect.wants_response_information),
        ..accepted(&negotiated)
    };
    let mut connack = BytesMut::new();
    encode_connack(&mut connack, version, &told);
    let had_expiry = connect.session_expiry_s > 0;
    Ok(Opened {
        machine: MqttConnection::new(clock::now(), negotiated, had_expiry, kept),
        client,
        session,
        limits,
        will,
        stored,
        write_timeout: config.write_timeout,
        bytes: config.bytes.connection(config.held_bytes_max),
        connack,
    })
}

/// Keeps the session, where it outlives its connection on disk, and opens its queue.
async fn keep(
    broker: &Broker,
    session: &Session,
    kept: &KeptState,
    negotiated: &Negotiated,
    limits: &ClientLimits,
) -> Result<Option<StoredQueue>, String> {
    if !session.is_durable() {
        return Ok(None);
    }
    let expiry_s = negotiated.session_expiry_s;
    match broker.save(session, kept, expiry_s, false).await {
        true => open_queue(broker, session, limits.in_flight_max).await,
        false => Err("the session was not stored".to_owned()),
    }
}

/// What the client is told of what was agreed on.
fn accepted(negotiated: &Negotiated) -> Connack<'static> {
    Connack {
        session_expiry_s: negotiated
            .is_session_expiry_ours
            .then_some(negotiated.session_expiry_s),
        receive_max: Some(negotiated.receive_max),
        qos_max: Some(negotiated.qos_max),
        has_retain: negotiated.has_retain,
        packet_bytes_max: Some(negotiated.packet_bytes_in_max),
        topic_alias_max: negotiated.topic_alias_in_max,
        server_keep_alive_s: negotiated
            .keep_alive
            .filter(|_| negotiated.is_keep_alive_ours)
            .map(|time| u16::try_from(time.as_secs()).unwrap_or(u16::MAX)),
        ..Connack::default()
    }
}

fn check_will(connect: &ConnectPacket, limits: &ClientLimits) -> Result<(), MqttRefusal> {
    let Some(will) = &connect.will else {
        return Ok(());
    };
    if will.is_retained && !limits.retain {
        return Err(MqttRefusal::new(
            Reason::RETAIN_NOT_SUPPORTED,
            "nothing is retained here",
        ));
    }
    if will.qos > limits.qos_max {
        let (qos, limit) = (will.qos.bits(), limits.qos_max.bits());
        let text = format!("a will with QoS {qos}, the limit is {limit}");
        return Err(MqttRefusal::new(Reason::QOS_NOT_SUPPORTED, text));
    }
    Ok(())
}

/// What the client may not subscribe to any more, its session loses.
fn drop_forbidden(service: &MqttService, client: &MqttClient, session: &Arc<Session>) {
    let mut subscriptions = session.subscriptions.lock();
    if subscriptions.is_empty() {
        return;
    }
    let may = |filter: &SharedFilter| service.backend.may_subscribe(client, filter).is_ok();
    let forbidden = subscriptions.keys().filter(|filter| !may(filter)).cloned();
    for filter in forbidden.collect::<Vec<_>>() {
        subscriptions.remove(&filter);
        service.broker.shared.routes.unsubscribe(&filter, session);
    }
}

/// The stored queue of a session, where it has a subscription that needs one.
pub(super) async fn open_queue(
    broker: &Broker,
    session: &Session,
    in_flight_max: u16,
) -> Result<Option<StoredQueue>, String> {
    let filters = stored_filters(session);
    if filters.is_empty() {
        return Ok(None);
    }
    let client_id: Text = session.client_id.clone();
    let store = &broker.shared.store;
    let consumer = store.session_queue(client_id, filters, in_flight_max.into());
    match consumer.await {
        Ok(consumer) => Ok(Some(StoredQueue::new(Arc::from(consumer), in_flight_max))),
        Err(error) => Err(format!("the session's queue was not opened: {error}")),
    }
}

/// What comes by the stored queue: own subscriptions with QoS 1 and 2.
fn stored_filters(session: &Session) -> Vec<TopicFilter> {
    let subscriptions = session.subscriptions.lock();
    let is_stored = |(filter, options): &(&SharedFilter, &SubscriptionOptions)| {
        filter.group.is_none() && options.qos != Qos::AtMostOnce
    };
    let stored = subscriptions.iter().filter(is_stored);
    stored.map(|(filter, _)| filter.filter.clone()).collect()
}

/// Tells the client why there is no connection, as far as its version can be told.
async fn refuse<S: StreamLink>(service: &MqttService, stream: &mut S, error: NotOpened) {
    let mut octets = BytesMut::new();
    let told = |reason, problem| Connack {
        reason,
        problem,
        ..Connack::default()
    };
    match &error {
        NotOpened::Gone => return,
        NotOpened::Fault(version, fault) => {
            service.counters.protocol_errors.add(1);
            let text = fault.to_string();
            match (fault, version) {
                (PacketFault::ProtocolLevel { level }, _) => {
                    let version = match level {
                        0..=4 => MqttVersion::V3,
                        5.. => MqttVersion::V5,
                    };
                    encode_connack(&mut octets, version, &told(fault.reason(), Some(&text)));
                }
                (_, Some(version @ MqttVersion::V5)) => {
                    encode_connack(&mut octets, *version, &told(fault.reason(), Some(&text)));
                }
                // What is malformed is closed without a word in 3.1.1 (section 4.8 there).
                (_, Some(MqttVersion::V3) | None) => {}
            }
        }
        NotOpened::Refused(version, refusal) => {
            let text = (!refusal.text.is_empty()).then_some(refusal.text.as_str());
            encode_connack(&mut octets, *version, &told(refusal.reason, text));
        }
    }
    // A peer that is gone misses nothing.
    let telling = async {
        let _ = stream.write_all(&octets).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(REFUSAL_WAIT, telling).await;
}

/// The version that a CONNECT names that is none.
fn version_of(octets: &[u8]) -> Option<MqttVersion> {
    let head = octets.get(..HEAD_BYTES_MAX.min(octets.len()))?;
    let has = |level: &[u8]| head.windows(level.len()).any(|part| part == level);
    if has(b"\0\x04MQTT\x05") {
        return Some(MqttVersion::V5);
    }
    has(b"\0\x04MQTT\x04").then_some(MqttVersion::V3)
}

impl std::fmt::Display for NotOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("it said nothing"),
            Self::Fault(_, fault) => fault.fmt(f),
            Self::Refused(_, refusal) => write!(f, "{}: {}", refusal.reason, refusal.text),
        }
    }
}

/// Of what a client says first, read at a time.
const READ_BYTES: usize = 512;
/// Type, length, name and level of a CONNECT.
const HEAD_BYTES_MAX: usize = 12;
/// Of a stranger's text, shown back to it.
const SHOWN_CHARS_MAX: usize = 64;
/// How long a client may take to read why it is refused.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);
