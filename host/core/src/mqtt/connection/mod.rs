//! One connection after its CONNECT: what packets of the client mean, and what may be sent to it.
//!
//! ```text
//!            Packet ─▶ handle ─▶ MqttInput ─▶ whoever has rules, store and subscribers
//! on_published, on_released … ◀─────────────────┘
//!          OutgoingPublish ─▶ send ─▶ octets
//! ```
//! What is kept of a client beyond its connection is `KeptState`; it is given at the beginning and taken
//! at the end.

mod sending;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

pub use self::sending::SendOutcome;
use super::{
    AckKind, AckPacket, Disconnect, MqttVersion, Negotiated, OutgoingPublish, Packet, PacketBuffer,
    PacketFault, PublishPacket, Qos, Reason, Receipt, Subscribe, Unsubscribe, Window, encode_ack,
    encode_pingresp,
};
use crate::{event::durable::Position, text::Text};

/// The machine of one connection.
#[derive(Debug)]
pub struct MqttConnection {
    negotiated: Negotiated,
    had_session_expiry: bool,
    kept: KeptState,
    /// Publications with QoS 1 and 2 of the client that are being taken.
    n_taking: usize,
    /// By alias; an empty text where none was said.
    aliases_in: Vec<Text>,
    aliases_out: HashMap<Text, u16>,
    heard_at: Instant,
}

/// What is kept of a client beyond its connection.
#[derive(Debug, Default)]
pub struct KeptState {
    pub window: Window,
    /// Packet identifiers of QoS 2 that came and were not released.
    pub received: BTreeMap<u16, ReceivedStage>,
    /// Number of the last publication with QoS 2 that began, and of the last that is taken
    /// (`Receipt::number`).
    pub last_receipt: u64,
    pub taken_receipt: u64,
}

/// How far a publication of the client's with QoS 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceivedStage {
    /// Nobody has decided about it.
    Taking,
    /// It is taken, and its identifier is being kept.
    Taken,
    /// PUBREC was said.
    Answered,
}

/// What a packet asks for that the machine does not do by itself.
#[derive(Debug)]
pub enum MqttInput<'a> {
    Nothing,
    /// To be taken; `on_published` says what became of it.
    Publish(InboundPublish<'a>),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// The client has handled it for good: PUBACK, or a PUBREC that refuses.
    Acknowledged(OutgoingPublish),
    /// The client has it and will say PUBREC no more: to be kept before `on_received` says PUBREL.
    Received(u16, Option<OutgoingPublish>),
    /// PUBCOMP: the identifier need not be kept any longer.
    Completed(u16),
    /// PUBREL: the identifier is to be forgotten before `on_released` says PUBCOMP.
    Released(u16),
    Disconnected(Disconnect),
}

/// A publication of the client.
#[derive(Debug)]
pub struct InboundPublish<'a> {
    pub packet: PublishPacket<'a>,
    /// What its alias stands for, where the packet itself has no topic.
    pub alias_topic: Option<Text>,
}

impl KeptState {
    /// Of a session that begins: receipts up to `first_receipt` are of another one that its client had.
    #[must_use]
    pub fn new(first_receipt: u64) -> Self {
        Self {
            last_receipt: first_receipt,
            taken_receipt: first_receipt,
            ..Self::default()
        }
    }
}

impl InboundPublish<'_> {
    #[must_use]
    pub fn topic(&self) -> &str {
        self.alias_topic.as_deref().unwrap_or(self.packet.topic)
    }
}

impl MqttConnection {
    /// `had_session_expiry`: whether CONNECT asked for the session to be kept.
    #[must_use]
    pub fn new(
        now: Instant,
        negotiated: Negotiated,
        had_session_expiry: bool,
        kept: KeptState,
    ) -> Self {
        Self {
            negotiated,
            had_session_expiry,
            kept,
            n_taking: 0,
            aliases_in: Vec::new(),
            aliases_out: HashMap::new(),
            heard_at: now,
        }
    }

    #[must_use]
    pub const fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    #[must_use]
    pub const fn kept(&self) -> &KeptState {
        &self.kept
    }

    /// What outlives the connection.
    #[must_use]
    pub fn into_kept(mut self) -> KeptState {
        self.kept.window.on_disconnected();
        self.kept
            .received
            .retain(|_, stage| *stage != ReceivedStage::Taking);
        self.kept
    }

    /// Whether another publication may be read: what is being taken is bounded, of 3.1.1 as well, whose
    /// clients know no receive maximum.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.n_taking < usize::from(self.negotiated.receive_max)
    }

    /// # Errors
    /// Why the connection has to end.
    #[inline]
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        packet: Packet<'a>,
        out: &mut PacketBuffer,
    ) -> Result<MqttInput<'a>, PacketFault> {
        self.heard_at = now;
        match packet {
            Packet::Publish(packet) => self.on_publish(packet, out),
            Packet::Ack(ack) => Ok(self.on_ack(ack, out)),
            Packet::Subscribe(subscribe) => Ok(MqttInput::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(MqttInput::Unsubscribe(unsubscribe)),
            Packet::PingRequest => {
                encode_pingresp(out.tail());
                Ok(MqttInput::Nothing)
            }
            Packet::Disconnect(disconnect) => {
                let asks = disconnect
                    .session_expiry_s
                    .is_some_and(|seconds| seconds > 0);
                match asks && !self.had_session_expiry {
                    true => Err(PacketFault::SessionExpiry),
                    false => Ok(MqttInput::Disconnected(disconnect)),
                }
            }
            Packet::Auth => Err(PacketFault::AuthUnasked),
            Packet::Connect(_) => Err(PacketFault::ConnectTwice),
        }
    }

    #[inline]
    fn on_publish<'a>(
        &mut self,
        packet: PublishPacket<'a>,
        out: &mut PacketBuffer,
    ) -> Result<MqttInput<'a>, PacketFault> {
        let limit = self.negotiated.qos_max;
        if packet.qos > limit {
            let (qos, limit) = (packet.qos.bits(), limit.bits());
            return Err(PacketFault::Qos { qos, limit });
        }
        if packet.is_retained && !self.negotiated.has_retain {
            return Err(PacketFault::Retain);
        }
        let alias_topic = match packet.alias {
            Some(alias) => self.resolve(alias, packet.topic)?,
            None => None,
        };
        if let (Qos::ExactlyOnce, Some(id)) = (packet.qos, packet.id) {
            match self.kept.received.get(&id) {
                // It is taken; the client has not read that.
                Some(ReceivedStage::Answered) => {
                    self.acknowledge(AckKind::Pubrec, id, Reason::SUCCESS, None, out);
                    return Ok(MqttInput::Nothing);
                }
                Some(ReceivedStage::Taking | ReceivedStage::Taken) => {
                    return Ok(MqttInput::Nothing);
                }
                None => {}
            }
            self.check_receive_max()?;
            self.kept.received.insert(id, ReceivedStage::Taking);
        }
        self.n_taking += usize::from(packet.id.is_some());
        Ok(MqttInput::Publish(InboundPublish {
            packet,
            alias_topic,
        }))
    }

    /// What `alias` stands for, where the packet does not say it itself.
    fn resolve(&mut self, alias: u16, topic: &str) -> Result<Option<Text>, PacketFault> {
        let limit = self.negotiated.topic_alias_in_max;
        if alias == 0 || alias > limit {
            return Err(PacketFault::TopicAlias { alias, limit });
        }
        let idx = usize::from(alias) - 1;
        if topic.is_empty() {
            let known = self.aliases_in.get(idx).filter(|topic| !topic.is_empty());
            let known = known.ok_or(PacketFault::TopicAliasUnknown { alias })?;
            return Ok(Some(known.clone()));
        }
        if self.aliases_in.len() <= idx {
            self.aliases_in.resize(idx + 1, Text::default());
        }
        if let Some(slot) = self.aliases_in.get_mut(idx)
            && slot.as_str() != topic
        {
            *slot = topic.into();
        }
        Ok(None)
    }

    /// QoS 2 of a client of MQTT 5 that has the most that it may. QoS 1 is held back by `may_read`.
    fn check_receive_max(&self) -> Result<(), PacketFault> {
        let limit = self.negotiated.receive_max;
        let is_full = self.kept.received.len() >= limit.into();
        match is_full && self.negotiated.version == MqttVersion::V5 {
            true => Err(PacketFault::ReceiveMax { limit }),
            false => Ok(()),
        }
    }

    fn on_ack<'a>(&mut self, ack: AckPacket, out: &mut PacketBuffer) -> MqttInput<'a> {
        let window = &mut self.kept.window;
        match ack.kind {
            AckKind::Puback => {
                let known = window.on_puback(ack.id);
                known.map_or(MqttInput::Nothing, MqttInput::Acknowledged)
            }
            AckKind::Pubrec if ack.reason.is_failure() => {
                let known = window.on_refused(ack.id);
                known.map_or(MqttInput::Nothing, MqttInput::Acknowledged)
            }
            AckKind::Pubrec => match window.on_pubrec(ack.id) {
                Ok(outgoing) => MqttInput::Received(ack.id, outgoing),
                Err(()) => {
                    let reason = Reason::PACKET_ID_NOT_FOUND;
                    self.acknowledge(AckKind::Pubrel, ack.id, reason, None, out);
                    MqttInput::Nothing
                }
            },
            AckKind::Pubcomp => match window.on_pubcomp(ack.id) {
                true => MqttInput::Completed(ack.id),
                false => MqttInput::Nothing,
            },
            AckKind::Pubrel => match self.kept.received.get(&ack.id) {
                Some(ReceivedStage::Answered) => MqttInput::Released(ack.id),
                // Nothing was answered yet that could be released.
                Some(ReceivedStage::Taking | ReceivedStage::Taken) => MqttInput::Nothing,
                None => {
                    let reason = Reason::PACKET_ID_NOT_FOUND;
                    self.acknowledge(AckKind::Pubcomp, ack.id, reason, None, out);
                    MqttInput::Nothing
                }
            },
        }
    }

    /// What became of a publication with QoS 1 or 2. False where the connection has to end, because
    /// 3.1.1 cannot be told of a failure that is not the client's.
    #[must_use]
    pub fn on_published(
        &mut self,
        id: u16,
        qos: Qos,
        reason: Reason,
        problem: Option<&str>,
        out: &mut PacketBuffer,
    ) -> bool {
        self.n_taking = self.n_taking.saturating_sub(1);
        let (mut reason, is_v3) = (reason, self.negotiated.version == MqttVersion::V3);
        if is_v3 && reason.is_failure() {
            // What may not be published is acknowledged all the same (3.1.1 section 3.3.5).
            if !matches!(reason, Reason::NOT_AUTHORIZED | Reason::TOPIC_NAME_INVALID) {
                self.kept.received.remove(&id);
                return false;
            }
            reason = Reason::SUCCESS;
        }
        let kind = match qos {
            Qos::AtMostOnce => return true,
            Qos::AtLeastOnce => AckKind::Puback,
            Qos::ExactlyOnce => AckKind::Pubrec,
        };
        if qos == Qos::ExactlyOnce {
            match reason.is_failure() {
                true => self.kept.received.remove(&id),
                false => self.kept.received.insert(id, ReceivedStage::Answered),
            };
        }
        self.acknowledge(kind, id, reason, problem, out);
        true
    }

    /// A publication of the client's with QoS 2 is taken; what is kept of the session from here on says so.
    pub fn on_taken(&mut self, id: u16, receipt: Option<Receipt>) {
        self.kept.received.insert(id, ReceivedStage::Taken);
        if let Some(receipt) = receipt {
            self.kept.taken_receipt = receipt.number;
        }
    }

    /// Of the next publication with QoS 2. `first` is the number where none has begun: higher than any of
    /// a session that the client had before.
    pub fn next_receipt(&mut self, packet_id: u16, first: u64) -> Receipt {
        self.kept.last_receipt = self.kept.last_receipt.max(first).saturating_add(1);
        Receipt {
            number: self.kept.last_receipt,
            packet_id,
        }
    }

    /// The client has what lies at `position` of its queue, which comes again: the queue was not told.
    pub fn on_repeated(&mut self, position: Position) {
        self.kept.window.on_repeated(position);
    }

    /// Says PUBREL: the client's PUBREC is kept.
    pub fn on_received(&mut self, id: u16, out: &mut PacketBuffer) {
        self.acknowledge(AckKind::Pubrel, id, Reason::SUCCESS, None, out);
    }

    /// Forgets an identifier of the client, before that is kept.
    pub fn release(&mut self, id: u16) {
        self.kept.received.remove(&id);
    }

    /// Says PUBCOMP: that the identifier is forgotten is kept.
    pub fn on_released(&mut self, id: u16, out: &mut PacketBuffer) {
        self.acknowledge(AckKind::Pubcomp, id, Reason::SUCCESS, None, out);
    }

    fn acknowledge(
        &self,
        kind: AckKind,
        id: u16,
        reason: Reason,
        problem: Option<&str>,
        out: &mut PacketBuffer,
    ) {
        let ack = AckPacket { kind, id, reason };
        let problem = problem.filter(|problem| self.may_explain(problem));
        encode_ack(out.tail(), self.negotiated.version, ack, problem);
    }

    /// Whether the client wants to be told, in a packet that it takes.
    #[must_use]
    pub fn may_explain(&self, problem: &str) -> bool {
        let limit = usize::try_from(self.negotiated.packet_bytes_out_max).unwrap_or(usize::MAX);
        self.negotiated.wants_problems && problem.len() + EXPLAINED_BYTES <= limit
    }

    /// When silence ends the connection: one and a half times the keep alive (section 3.1.2.10).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = self.negotiated.keep_alive?;
        self.heard_at.checked_add(keep_alive + keep_alive / 2)
    }

    /// # Errors
    /// `KeepAlive` when the time has come.
    pub fn handle_timeout(&self, now: Instant) -> Result<(), PacketFault> {
        match self.poll_timeout().is_some_and(|at| at <= now) {
            true => Err(PacketFault::KeepAlive {
                seconds: self.keep_alive_s(),
            }),
            false => Ok(()),
        }
    }

    fn keep_alive_s(&self) -> u32 {
        let seconds = self.negotiated.keep_alive.map_or(0, |time| time.as_secs());
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// Of a packet beside what it explains: type, length, identifier, reason, section.
const EXPLAINED_BYTES: usize = 16;
