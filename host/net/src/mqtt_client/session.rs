//! What one client knows of its exchange with its broker, over all connections. Pure: octets and time
//! go in, octets and events come out.
//!
//! ```text
//!          connect            CONNACK                DISCONNECT, fault, end of the stream
//! Idle ─────────────▶ Greeting ─────────▶ Connected ─────────────────────────────────────▶ Idle
//! ```
//! Messages under way outlive the connection: see `outgoing.rs` and `incoming.rs`.

mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use postern_core::{
    Text,
    mqtt::{Qos, Reason},
};

use super::{
    config::{BrokerClientConfig, BrokerPassword},
    fault::BrokerFault,
    incoming::{Incoming, MessageToken},
    message::BrokerMessage,
    outgoing::{OnLost, Outgoing, Ticket},
    packet::{self, BrokerGreeting},
    written::{self, BrokerSubscription},
};

/// What the owner of a session is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SessionEvent {
    /// The broker has taken the connection, and kept the session or not.
    Connected { has_session: bool },
    /// A message; to be judged where it has a token.
    Message {
        message: BrokerMessage,
        token: Option<MessageToken>,
    },
    /// A message of this side was acknowledged, or will not be.
    Settled {
        ticket: Ticket,
        outcome: Result<(), Unsettled>,
    },
    /// A code for each filter that was asked for.
    Subscribed { ticket: Ticket, codes: Vec<u8> },
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsettled {
    #[error("the broker refuses the message: {0}")]
    Refused(Reason),
    #[error("a message of {found} octets exceeds the broker's limit of {limit}")]
    TooLong { found: usize, limit: u32 },
    #[error("the connection broke before the acknowledgement")]
    Lost,
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionPhase {
    Idle,
    Greeting,
    Connected,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct ClientSession {
    config: BrokerClientConfig,
    phase: SessionPhase,
    greeting: BrokerGreeting,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Topics by the broker's numbers, on this connection.
    aliases_in: HashMap<u16, Text>,
    aliases_out: HashMap<Text, u16>,
    /// SUBSCRIBE and UNSUBSCRIBE that are not acknowledged; on this connection.
    asked: BTreeMap<u16, (Option<Ticket>, Instant)>,
    transmit: VecDeque<Bytes>,
    events: VecDeque<SessionEvent>,
    /// In force on this connection; zero where it is off.
    keep_alive: Duration,
    sent_at: Instant,
    received_at: Instant,
    pinged_at: Option<Instant>,
    /// Whether what the broker sends is read: what is not read cannot be late.
    is_reading: bool,
}

impl ClientSession {
    /// `first_id` as of `Outgoing::new`.
    pub(super) fn new(config: BrokerClientConfig, first_id: u16, now: Instant) -> Self {
        Self {
            keep_alive: config.keep_alive,
            config,
            phase: SessionPhase::Idle,
            greeting: BrokerGreeting::default(),
            outgoing: Outgoing::new(first_id),
            incoming: Incoming::default(),
            aliases_in: HashMap::new(),
            aliases_out: HashMap::new(),
            asked: BTreeMap::new(),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            sent_at: now,
            received_at: now,
            pinged_at: None,
            is_reading: true,
        }
    }

    /// The password of connections from here on.
    pub(super) fn set_password(&mut self, password: BrokerPassword) {
        self.config.password = Some(password);
    }

    /// A connection begins.
    pub(super) fn connect(&mut self, now: Instant, is_bridge: bool) -> Result<(), BrokerFault> {
        let packet = written::connect(&self.config, is_bridge)?;
        self.phase = SessionPhase::Greeting;
        self.greeting = BrokerGreeting::default();
        self.keep_alive = self.config.keep_alive;
        self.received_at = now;
        self.is_reading = true;
        self.send(now, packet);
        Ok(())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.phase == SessionPhase::Connected
    }

    /// Whether one more message may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.is_connected() && self.outgoing.len() < self.in_flight_max()
    }

    /// Messages that are not acknowledged.
    pub(super) fn n_in_flight(&self) -> usize {
        self.outgoing.len()
    }

    /// Takes whole packets off `input`.
    pub(super) fn handle_bytes(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
    ) -> Result<(), BrokerFault> {
        while let Some(packet) = packet::take(input, self.config.packet_bytes_max)? {
            self.received_at = now;
            let packet = packet.read(self.config.version)?;
            self.handle_packet(now, packet)?;
        }
        Ok(())
    }

    /// Publishes a message. With QoS 1 and 2 only where there is room.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        ticket: Ticket,
        mut message: BrokerMessage,
        on_lost: OnLost,
    ) {
        message.qos = message.qos.min(self.greeting.qos_max);
        if message.qos == Qos::AtMostOnce {
            let outcome = self.send_message(now, None, &message, false);
            self.events
                .push_back(SessionEvent::Settled { ticket, outcome });
            return;
        }
        let asked = &self.asked;
        let Some(id) = self.outgoing.free_id(|id| asked.contains_key(&id)) else {
            let outcome = Err(Unsettled::Lost);
            self.events
                .push_back(SessionEvent::Settled { ticket, outcome });
            return;
        };
        self.outgoing.push(id, ticket, message, on_lost);
        self.send_waiting(now);
    }

    /// Asks for messages. The answer is an event where there is a ticket.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        ticket: Option<Ticket>,
        subscriptions: &[BrokerSubscription],
    ) -> Result<(), BrokerFault> {
        let Some(id) = self.id_to_ask(now, ticket) else {
            return Ok(());
        };
        let is_persistent = !self.config.is_clean;
        let version = self.config.version;
        let packet = written::subscribe(version, id, subscriptions, is_persistent)?;
        self.send(now, packet);
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        now: Instant,
        filters: &[Text],
    ) -> Result<(), BrokerFault> {
        let Some(id) = self.id_to_ask(now, None) else {
            return Ok(());
        };
        let packet = written::unsubscribe(self.config.version, id, filters)?;
        self.send(now, packet);
        Ok(())
    }

    /// A message with a token was taken, or refused for good.
    pub(super) fn on_judged(
        &mut self,
        now: Instant,
        token: MessageToken,
        reason: Reason,
    ) -> Result<(), BrokerFault> {
        let is_connected = self.is_connected();
        match self.incoming.on_judged(token, reason, is_connected) {
            Some((id, qos)) => self.answer(now, id, qos, reason),
            None => Ok(()),
        }
    }

    /// The next octets for the broker.
    pub(super) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.pop_front()
    }

    pub(super) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When something is to be done or is late, and what.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if !self.is_connected() {
            return None;
        }
        let late = self.is_reading.then(|| {
            let pinged = self.pinged_at.map(|at| (at, "ping unanswered"));
            let asked = self.asked.values().map(|(_, at)| *at).min();
            let waits = self.outgoing.waits_since().into_iter().chain(asked).min();
            let waits = waits.map(|at| (at, "acknowledgement late"));
            let both = pinged.into_iter().chain(waits);
            let timeout = self.config.ack_timeout;
            both.map(move |(at, what)| (at + timeout, what)).min()
        });
        let is_pinged = self.pinged_at.is_some() || self.keep_alive.is_zero();
        let ping = (!is_pinged).then(|| {
            let quiet_since = self.sent_at.min(self.received_at);
            (quiet_since + self.keep_alive, "keep-alive")
        });
        late.flatten().into_iter().chain(ping).min()
    }

    /// # Errors
    /// Where the broker is late.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), BrokerFault> {
        let Some((at, what)) = self.poll_timeout().filter(|(at, _)| *at <= now) else {
            return Ok(());
        };
        tracing::trace!(what, late = ?now.saturating_duration_since(at), "timer of a broker's client");
        let seconds = self.config.ack_timeout.as_secs();
        match what {
            "keep-alive" => {
                self.pinged_at = Some(now);
                self.send(now, written::pingreq());
                Ok(())
            }
            "ping unanswered" => Err(BrokerFault::PingLate { seconds }),
            _ => Err(BrokerFault::AckLate { seconds }),
        }
    }

    /// Whether what the broker sends is read.
    pub(super) fn set_reading(&mut self, now: Instant, is_reading: bool) {
        if is_reading && !self.is_reading {
            self.outgoing.wait_anew(now);
            self.pinged_at = self.pinged_at.map(|_| now);
            self.asked.values_mut().for_each(|(_, at)| *at = now);
        }
        self.is_reading = is_reading;
    }

    /// Says goodbye, for `fault` where there is one. What is under way stays so.
    pub(super) fn disconnect(&mut self, now: Instant, fault: Option<&BrokerFault>) {
        let reason = fault.map(BrokerFault::told);
        let is_told = match reason {
            None => self.phase != SessionPhase::Idle,
            // Before CONNACK nothing may be said.
            Some(reason) => reason.is_some() && self.is_connected(),
        };
        let packet = written::disconnect(self.config.version, reason.flatten());
        if let Some(packet) = packet.filter(|_| is_told) {
            self.send(now, packet);
        }
    }

    /// The connection has ended.
    pub(super) fn on_lost(&mut self) {
        self.phase = SessionPhase::Idle;
        self.aliases_in.clear();
        self.aliases_out.clear();
        self.transmit.clear();
        self.pinged_at = None;
        self.incoming.on_lost();
        let asked = std::mem::take(&mut self.asked).into_values();
        let asked = asked.filter_map(|(ticket, _)| ticket);
        let failed = self.outgoing.on_lost().into_iter().chain(asked);
        let settled = failed.map(|ticket| SessionEvent::Settled {
            ticket,
            outcome: Err(Unsettled::Lost),
        });
        self.events.extend(settled);
    }

    fn id_to_ask(&mut self, now: Instant, ticket: Option<Ticket>) -> Option<u16> {
        let asked = &self.asked;
        let id = self.outgoing.free_id(|id| asked.contains_key(&id))?;
        self.asked.insert(id, (ticket, now));
        Some(id)
    }

    fn in_flight_max(&self) -> usize {
        let most = self.greeting.receive_maximum.min(self.config.in_flight_max);
        usize::from(most.max(1))
    }

    fn send(&mut self, now: Instant, packet: Bytes) {
        self.sent_at = now;
        self.transmit.push_back(packet);
    }
}
