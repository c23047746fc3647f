//! Packets of a client, as octets.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::{
    packet::{
        MaximumPacketSize, Property, ReceiveMaximum, RetainHandling, SessionExpiryInterval,
        SubEntry, SubOpts, TopicAliasMaximum, WillDelayInterval, v3_1_1, v5_0,
    },
    result_code::{
        DisconnectReasonCode, PubackReasonCode, PubcompReasonCode, PubrecReasonCode,
        PubrelReasonCode,
    },
};
use postern_core::{
    Text,
    mqtt::{MqttVersion, Qos, Reason},
};

use super::{
    config::{BrokerClientConfig, seconds_u16, seconds_u32},
    fault::BrokerFault,
    message::to_packet,
};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerSubscription {
    /// A filter of MQTT, shared or not.
    pub filter: Text,
    pub qos: Qos,
    /// Leaves out what this client publishes itself, and keeps the retain flag of what is forwarded. MQTT 5.
    pub is_bridge: bool,
}

/// CONNECT, as `config` says; `is_bridge` marks it as mosquitto's bridges of 3.1.1 do.
pub(super) fn connect(config: &BrokerClientConfig, is_bridge: bool) -> Result<Bytes, BrokerFault> {
    match config.version {
        MqttVersion::V3 => connect_v3(config, is_bridge),
        MqttVersion::V5 => connect_v5(config),
    }
}

fn connect_v3(config: &BrokerClientConfig, is_bridge: bool) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    let mut built = v3_1_1::Connect::builder()
        .client_id(config.client_id.as_str())
        .map_err(failed)?
        .clean_session(config.is_clean)
        .keep_alive(seconds_u16(config.keep_alive));
    if let Some(will) = &config.will {
        let (topic, payload) = (will.topic.as_str(), will.payload.to_vec());
        let qos = to_packet(will.qos);
        built = built
            .will_message(topic, payload, qos, will.is_retained)
            .map_err(failed)?;
    }
    if let Some(user_name) = &config.user_name {
        built = built.user_name(user_name.as_str()).map_err(failed)?;
    }
    if let Some(password) = &config.password {
        built = built.password(password.0.to_vec()).map_err(failed)?;
    }
    let mut octets = built.build().map_err(failed)?.to_continuous_buffer();
    if is_bridge {
        let level = octets
            .windows(LEVEL_V3.len())
            .position(|window| window == LEVEL_V3);
        let level = level.and_then(|at| octets.get_mut(at + LEVEL_V3.len() - 1));
        if let Some(level) = level {
            *level |= BRIDGE_BIT;
        }
    }
    Ok(octets.into())
}

fn connect_v5(config: &BrokerClientConfig) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    let mut properties = vec![
        Property::ReceiveMaximum(ReceiveMaximum::new(config.receive_maximum).map_err(failed)?),
        Property::MaximumPacketSize(
            MaximumPacketSize::new(config.packet_bytes_max).map_err(failed)?,
        ),
    ];
    if !config.is_clean {
        let expiry = SessionExpiryInterval::new(seconds_u32(config.session_expiry));
        properties.push(Property::SessionExpiryInterval(expiry.map_err(failed)?));
    }
    if config.topic_aliases_max > 0 {
        let aliases = TopicAliasMaximum::new(config.topic_aliases_max).map_err(failed)?;
        properties.push(Property::TopicAliasMaximum(aliases));
    }
    let mut built = v5_0::Connect::builder()
        .client_id(config.client_id.as_str())
        .map_err(failed)?
        .clean_start(config.is_clean)
        .keep_alive(seconds_u16(config.keep_alive))
        .props(properties);
    if let Some(will) = &config.will {
        let (topic, payload) = (will.topic.as_str(), will.payload.to_vec());
        let qos = to_packet(will.qos);
        built = built
            .will_message(topic, payload, qos, will.is_retained)
            .map_err(failed)?;
        if !will.delay.is_zero() {
            let delay = WillDelayInterval::new(seconds_u32(will.delay)).map_err(failed)?;
            built = built.will_props(vec![Property::WillDelayInterval(delay)]);
        }
    }
    if let Some(user_name) = &config.user_name {
        built = built.user_name(user_name.as_str()).map_err(failed)?;
    }
    if let Some(password) = &config.password {
        built = built.password(password.0.to_vec()).map_err(failed)?;
    }
    Ok(built.build().map_err(failed)?.to_continuous_buffer().into())
}

pub(super) fn subscribe(
    version: MqttVersion,
    packet_id: u16,
    subscriptions: &[BrokerSubscription],
    is_persistent: bool,
) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    let mut entries = Vec::with_capacity(subscriptions.len());
    for one in subscriptions {
        let mut options = SubOpts::new().set_qos(to_packet(one.qos));
        if version == MqttVersion::V5 {
            let handling = match is_persistent {
                // What is retained was sent when the subscription began.
                true => RetainHandling::SendRetainedIfNotExists,
                false => RetainHandling::SendRetained,
            };
            let is_bridge = one.is_bridge;
            options = options.set_nl(is_bridge && !one.filter.starts_with(SHARE));
            options = options.set_rap(is_bridge).set_rh(handling);
        }
        entries.push(SubEntry::new(one.filter.as_str(), options).map_err(failed)?);
    }
    let octets = match version {
        MqttVersion::V3 => v3_1_1::Subscribe::builder()
            .packet_id(packet_id)
            .entries(entries)
            .build()
            .map_err(failed)?
            .to_continuous_buffer(),
        MqttVersion::V5 => v5_0::Subscribe::builder()
            .packet_id(packet_id)
            .entries(entries)
            .build()
            .map_err(failed)?
            .to_continuous_buffer(),
    };
    Ok(octets.into())
}

pub(super) fn unsubscribe(
    version: MqttVersion,
    packet_id: u16,
    filters: &[Text],
) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    let filters: Vec<&str> = filters.iter().map(Text::as_str).collect();
    let octets = match version {
        MqttVersion::V3 => v3_1_1::Unsubscribe::builder()
            .packet_id(packet_id)
            .entries(filters)
            .map_err(failed)?
            .build()
            .map_err(failed)?
            .to_continuous_buffer(),
        MqttVersion::V5 => v5_0::Unsubscribe::builder()
            .packet_id(packet_id)
            .entries(filters)
            .map_err(failed)?
            .build()
            .map_err(failed)?
            .to_continuous_buffer(),
    };
    Ok(octets.into())
}

pub(super) fn puback(version: MqttVersion, id: u16, reason: Reason) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    if version == MqttVersion::V3 || !reason.is_failure() {
        return Ok(short(PUBACK, id));
    }
    let code = PubackReasonCode::try_from(reason.0);
    let packet = v5_0::Puback::builder()
        .packet_id(id)
        .reason_code(code.unwrap_or(PubackReasonCode::UnspecifiedError))
        .build();
    Ok(packet.map_err(failed)?.to_continuous_buffer().into())
}

pub(super) fn pubrec(version: MqttVersion, id: u16, reason: Reason) -> Result<Bytes, BrokerFault> {
    let failed = BrokerFault::unwritable;
    if version == MqttVersion::V3 || !reason.is_failure() {
        return Ok(short(PUBREC, id));
    }
    let code = PubrecReasonCode::try_from(reason.0);
    let packet = v5_0::Pubrec::builder()
        .packet_id(id)
        .reason_code(code.unwrap_or(PubrecReasonCode::UnspecifiedError))
        .build();
    Ok(packet.map_err(failed)?.to_continuous_buffer().into())
}

/// `is_known`: whether a message of that identifier is under way.
pub(super) fn pubrel(version: MqttVersion, id: u16, is_known: bool) -> Result<Bytes, BrokerFault> {
    if version == MqttVersion::V3 || is_known {
        return Ok(short(PUBREL, id));
    }
    let packet = v5_0::Pubrel::builder()
        .packet_id(id)
        .reason_code(PubrelReasonCode::PacketIdentifierNotFound)
        .build();
    let packet = packet.map_err(BrokerFault::unwritable)?;
    Ok(packet.to_continuous_buffer().into())
}

/// `is_known`: whether a message of that identifier was there to be released.
pub(super) fn pubcomp(version: MqttVersion, id: u16, is_known: bool) -> Result<Bytes, BrokerFault> {
    if version == MqttVersion::V3 || is_known {
        return Ok(short(PUBCOMP, id));
    }
    let packet = v5_0::Pubcomp::builder()
        .packet_id(id)
        .reason_code(PubcompReasonCode::PacketIdentifierNotFound)
        .build();
    let packet = packet.map_err(BrokerFault::unwritable)?;
    Ok(packet.to_continuous_buffer().into())
}

pub(super) const fn pingreq() -> Bytes {
    Bytes::from_static(&[0xc0, 0])
}

/// DISCONNECT; one of 3.1.1 says nothing, so that with a reason it is not sent at all.
pub(super) fn disconnect(
    version: MqttVersion,
    reason: Option<DisconnectReasonCode>,
) -> Option<Bytes> {
    match (version, reason) {
        (_, None) => Some(Bytes::from_static(&[0xe0, 0])),
        (MqttVersion::V3, Some(_)) => None,
        (MqttVersion::V5, Some(reason)) => {
            let packet = v5_0::Disconnect::builder().reason_code(reason).build();
            packet
                .ok()
                .map(|packet| packet.to_continuous_buffer().into())
        }
    }
}

/// An acknowledgement of success, which both versions write alike.
fn short(first: u8, packet_id: u16) -> Bytes {
    let [high, low] = packet_id.to_be_bytes();
    Bytes::copy_from_slice(&[first, 2, high, low])
}

/// First octets of acknowledgements, MQTT 5 section 2.1.
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
/// Protocol name and level of MQTT 3.1.1.
const LEVEL_V3: &[u8] = b"\0\x04MQTT\x04";
/// Set in the level by mosquitto's bridges, and known to mosquitto and RabbitMQ.
const BRIDGE_BIT: u8 = 0x80;
/// Of shared subscriptions, which have no "no local" (MQTT 5 section 3.8.3.1).
const SHARE: &str = "$share/";
