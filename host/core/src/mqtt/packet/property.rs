//! Properties of packets of MQTT 5 (section 2.2.2).
//!
//! Which packet may have which is a set of bits by identifier. Everything may be there once, but user
//! properties.

use bytes::{BufMut, BytesMut};

use super::{
    PacketFault,
    octets::{self, Reader},
};

/// One property. What is only ever sent by servers is written by `encode`, and is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property<'a> {
    PayloadFormat(bool),
    MessageExpiry(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    Correlation(&'a [u8]),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblem(bool),
    WillDelay(u32),
    RequestResponse(bool),
    ReasonString(&'a str),
    ReceiveMax(u16),
    TopicAliasMax(u16),
    TopicAlias(u16),
    User(&'a str, &'a str),
    PacketBytesMax(u32),
}

/// Which properties a packet may have, a bit for each identifier.
#[derive(Debug, Clone, Copy)]
pub(super) struct PropertySet(u64);

pub(super) mod id {
    pub(in super::super) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(in super::super) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(in super::super) const CONTENT_TYPE: u8 = 0x03;
    pub(in super::super) const RESPONSE_TOPIC: u8 = 0x08;
    pub(in super::super) const CORRELATION: u8 = 0x09;
    pub(in super::super) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(in super::super) const SESSION_EXPIRY: u8 = 0x11;
    pub(in super::super) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(in super::super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(in super::super) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(in super::super) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(in super::super) const REQUEST_PROBLEM: u8 = 0x17;
    pub(in super::super) const WILL_DELAY: u8 = 0x18;
    pub(in super::super) const REQUEST_RESPONSE: u8 = 0x19;
    pub(in super::super) const RESPONSE_INFORMATION: u8 = 0x1a;
    pub(in super::super) const REASON_STRING: u8 = 0x1f;
    pub(in super::super) const RECEIVE_MAX: u8 = 0x21;
    pub(in super::super) const TOPIC_ALIAS_MAX: u8 = 0x22;
    pub(in super::super) const TOPIC_ALIAS: u8 = 0x23;
    pub(in super::super) const QOS_MAX: u8 = 0x24;
    pub(in super::super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(in super::super) const USER: u8 = 0x26;
    pub(in super::super) const PACKET_BYTES_MAX: u8 = 0x27;
    pub(in super::super) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(in super::super) const SHARED_AVAILABLE: u8 = 0x2a;
}

impl PropertySet {
    pub(super) const CONNECT: Self = Self::of(&[
        id::SESSION_EXPIRY,
        id::RECEIVE_MAX,
        id::PACKET_BYTES_MAX,
        id::TOPIC_ALIAS_MAX,
        id::REQUEST_RESPONSE,
        id::REQUEST_PROBLEM,
        id::USER,
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
    ]);
    pub(super) const WILL: Self = Self::of(&[
        id::WILL_DELAY,
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION,
        id::USER,
    ]);
    /// A subscription identifier is a client's error of its own kind, and told by the reader of the packet.
    pub(super) const PUBLISH: Self = Self::of(&[
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::TOPIC_ALIAS,
        id::RESPONSE_TOPIC,
        id::CORRELATION,
        id::USER,
        id::SUBSCRIPTION_ID,
        id::CONTENT_TYPE,
    ]);
    pub(super) const ACK: Self = Self::of(&[id::REASON_STRING, id::USER]);
    pub(super) const SUBSCRIBE: Self = Self::of(&[id::SUBSCRIPTION_ID, id::USER]);
    pub(super) const UNSUBSCRIBE: Self = Self::of(&[id::USER]);
    pub(super) const DISCONNECT: Self =
        Self::of(&[id::SESSION_EXPIRY, id::REASON_STRING, id::USER]);
    pub(super) const AUTH: Self = Self::of(&[
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
        id::REASON_STRING,
        id::USER,
    ]);

    const fn of(mut ids: &[u8]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = ids {
            bits |= 1 << *first;
            ids = rest;
        }
        Self(bits)
    }

    const fn bit(id: u32) -> u64 {
        match id {
            0..=63 => 1 << id,
            _ => 0,
        }
    }
}

/// Reads the properties at the front of `reader`, their length included, and gives each to `each`.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    allowed: PropertySet,
    mut each: impl FnMut(Property<'a>) -> Result<(), PacketFault>,
) -> Result<(), PacketFault> {
    let n_octets = reader.varint()?;
    let n_octets = usize::try_from(n_octets).map_err(|_| PacketFault::Short)?;
    let mut properties = Reader(reader.take(n_octets)?);
    let (mut seen, mut n_user) = (0, 0);
    while !properties.is_empty() {
        let id = properties.varint()?;
        let bit = PropertySet::bit(id);
        if allowed.0 & bit == 0 {
            return Err(PacketFault::PropertyNotAllowed { id });
        }
        if seen & bit != 0 && id != u32::from(id::USER) {
            return Err(PacketFault::PropertyTwice { id });
        }
        seen |= bit;
        n_user += usize::from(id == u32::from(id::USER));
        if n_user > USER_PROPERTIES_MAX {
            let limit = USER_PROPERTIES_MAX;
            return Err(PacketFault::TooManyProperties { limit });
        }
        each(read_one(id, &mut properties)?)?;
    }
    Ok(())
}

fn read_one<'a>(id: u32, reader: &mut Reader<'a>) -> Result<Property<'a>, PacketFault> {
    let id = u8::try_from(id).map_err(|_| PacketFault::PropertyNotAllowed { id })?;
    Ok(match id {
        id::PAYLOAD_FORMAT => Property::PayloadFormat(flag(id, reader)?),
        id::MESSAGE_EXPIRY => Property::MessageExpiry(reader.u32()?),
        id::CONTENT_TYPE => Property::ContentType(reader.text()?),
        id::RESPONSE_TOPIC => Property::ResponseTopic(reader.text()?),
        id::CORRELATION => Property::Correlation(reader.binary()?),
        id::SUBSCRIPTION_ID => Property::SubscriptionId(not_zero(id, reader.varint()?)?),
        id::SESSION_EXPIRY => Property::SessionExpiry(reader.u32()?),
        id::AUTHENTICATION_METHOD => Property::AuthenticationMethod(reader.text()?),
        id::AUTHENTICATION_DATA => Property::AuthenticationData(reader.binary()?),
        id::REQUEST_PROBLEM => Property::RequestProblem(flag(id, reader)?),
        id::WILL_DELAY => Property::WillDelay(reader.u32()?),
        id::REQUEST_RESPONSE => Property::RequestResponse(flag(id, reader)?),
        id::REASON_STRING => Property::ReasonString(reader.text()?),
        id::RECEIVE_MAX => Property::ReceiveMax(not_zero(id, reader.u16()?)?),
        id::TOPIC_ALIAS_MAX => Property::TopicAliasMax(reader.u16()?),
        // Zero has a reason code of its own.
        id::TOPIC_ALIAS => Property::TopicAlias(reader.u16()?),
        id::USER => Property::User(reader.text()?, reader.text()?),
        id::PACKET_BYTES_MAX => Property::PacketBytesMax(not_zero(id, reader.u32()?)?),
        _ => return Err(PacketFault::PropertyNotAllowed { id: id.into() }),
    })
}

fn flag(id: u8, reader: &mut Reader<'_>) -> Result<bool, PacketFault> {
    match reader.octet()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(PacketFault::PropertyValue { id }),
    }
}

fn not_zero<N: Default + PartialEq>(id: u8, value: N) -> Result<N, PacketFault> {
    match value == N::default() {
        true => Err(PacketFault::PropertyValue { id }),
        false => Ok(value),
    }
}

/// Appends one property.
pub(super) fn put(into: &mut BytesMut, property: Property<'_>) {
    match property {
        Property::PayloadFormat(is_text) => put_octet(into, id::PAYLOAD_FORMAT, is_text.into()),
        Property::MessageExpiry(seconds) => put_u32(into, id::MESSAGE_EXPIRY, seconds),
        Property::ContentType(text) => put_text(into, id::CONTENT_TYPE, text),
        Property::ResponseTopic(text) => put_text(into, id::RESPONSE_TOPIC, text),
        Property::Correlation(octets) => put_binary(into, id::CORRELATION, octets),
        Property::SubscriptionId(number) => {
            into.put_u8(id::SUBSCRIPTION_ID);
            octets::put_varint(into, number);
        }
        Property::SessionExpiry(seconds) => put_u32(into, id::SESSION_EXPIRY, seconds),
        Property::AuthenticationMethod(text) => put_text(into, id::AUTHENTICATION_METHOD, text),
        Property::AuthenticationData(octets) => put_binary(into, id::AUTHENTICATION_DATA, octets),
        Property::RequestProblem(is_wanted) => {
            put_octet(into, id::REQUEST_PROBLEM, is_wanted.into())
        }
        Property::WillDelay(seconds) => put_u32(into, id::WILL_DELAY, seconds),
        Property::RequestResponse(is_wanted) => {
            put_octet(into, id::REQUEST_RESPONSE, is_wanted.into());
        }
        Property::ReasonString(text) => put_text(into, id::REASON_STRING, text),
        Property::ReceiveMax(number) => put_u16(into, id::RECEIVE_MAX, number),
        Property::TopicAliasMax(number) => put_u16(into, id::TOPIC_ALIAS_MAX, number),
        Property::TopicAlias(number) => put_u16(into, id::TOPIC_ALIAS, number),
        Property::User(name, value) => {
            put_text(into, id::USER, name);
            octets::put_text(into, value);
        }
        Property::PacketBytesMax(octets) => put_u32(into, id::PACKET_BYTES_MAX, octets),
    }
}

pub(super) fn put_octet(into: &mut BytesMut, id: u8, value: u8) {
    into.put_u8(id);
    into.put_u8(value);
}

pub(super) fn put_u16(into: &mut BytesMut, id: u8, value: u16) {
    into.put_u8(id);
    into.put_u16(value);
}

pub(super) fn put_text(into: &mut BytesMut, id: u8, text: &str) {
    into.put_u8(id);
    octets::put_text(into, text);
}

fn put_u32(into: &mut BytesMut, id: u8, value: u32) {
    into.put_u8(id);
    into.put_u32(value);
}

fn put_binary(into: &mut BytesMut, id: u8, octets: &[u8]) {
    into.put_u8(id);
    octets::put_binary(into, octets);
}

/// User properties of one packet: an empty one takes five octets there, and sixty-four here.
const USER_PROPERTIES_MAX: usize = 128;
