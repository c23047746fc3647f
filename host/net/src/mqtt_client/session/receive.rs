//! What a packet of the broker does to a session.

use std::time::{Duration, Instant};

use postern_core::mqtt::{Qos, Reason};

use super::{ClientSession, SessionEvent, SessionPhase, Unsettled};
use crate::mqtt_client::{
    fault::BrokerFault,
    incoming::OnPublish,
    message::BrokerMessage,
    outgoing::OutgoingStage,
    packet::{BrokerGreeting, BrokerPacket},
    written,
};

impl ClientSession {
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        packet: BrokerPacket,
    ) -> Result<(), BrokerFault> {
        let is_greeting = matches!(packet, BrokerPacket::Connack(_));
        if is_greeting == self.is_connected() {
            let kind = packet.kind();
            return Err(BrokerFault::Unexpected { kind });
        }
        match packet {
            BrokerPacket::Connack(greeting) => self.on_connack(now, greeting),
            BrokerPacket::Publish {
                message,
                packet_id,
                alias,
            } => self.on_publish(now, message, packet_id, alias),
            BrokerPacket::Puback { packet_id, code } => {
                self.on_settled(packet_id, Qos::AtLeastOnce, Reason(code))?;
                self.send_waiting(now);
                Ok(())
            }
            BrokerPacket::Pubrec { packet_id, code } if Reason(code).is_failure() => {
                self.on_settled(packet_id, Qos::ExactlyOnce, Reason(code))?;
                self.send_waiting(now);
                Ok(())
            }
            BrokerPacket::Pubrec { packet_id, .. } => {
                let is_known = self.outgoing.release(packet_id);
                let packet = written::pubrel(self.config.version, packet_id, is_known)?;
                self.send(now, packet);
                Ok(())
            }
            BrokerPacket::Pubrel { packet_id } => {
                let is_known = self.incoming.on_release(packet_id);
                let packet = written::pubcomp(self.config.version, packet_id, is_known)?;
                self.send(now, packet);
                Ok(())
            }
            BrokerPacket::Pubcomp { packet_id, .. } => {
                let entry = self.outgoing.get(packet_id);
                if entry.is_none_or(|entry| entry.stage != OutgoingStage::Released) {
                    return Err(BrokerFault::Unasked { packet_id });
                }
                self.on_settled(packet_id, Qos::ExactlyOnce, Reason::SUCCESS)?;
                self.send_waiting(now);
                Ok(())
            }
            BrokerPacket::Suback { packet_id, codes } => {
                let Some((ticket, _)) = self.asked.remove(&packet_id) else {
                    return Err(BrokerFault::Unasked { packet_id });
                };
                let told = ticket.map(|ticket| SessionEvent::Subscribed { ticket, codes });
                self.events.extend(told);
                Ok(())
            }
            BrokerPacket::Unsuback { packet_id } => match self.asked.remove(&packet_id) {
                Some(_) => Ok(()),
                None => Err(BrokerFault::Unasked { packet_id }),
            },
            BrokerPacket::Pingresp => {
                self.pinged_at = None;
                Ok(())
            }
            BrokerPacket::Disconnect { code } => Err(BrokerFault::Disconnected { code }),
        }
    }

    fn on_connack(&mut self, now: Instant, greeting: BrokerGreeting) -> Result<(), BrokerFault> {
        if greeting.code != 0 {
            let code = greeting.code;
            return Err(BrokerFault::Refused { code });
        }
        let has_session = greeting.has_session && !self.config.is_clean;
        if let Some(seconds) = greeting.keep_alive_s {
            self.keep_alive = Duration::from_secs(seconds.into());
        }
        self.greeting = greeting;
        self.phase = SessionPhase::Connected;
        if !has_session {
            self.outgoing.begin_anew();
            self.incoming.begin_anew();
        }
        self.events
            .push_back(SessionEvent::Connected { has_session });
        self.send_waiting(now);
        Ok(())
    }

    fn on_publish(
        &mut self,
        now: Instant,
        mut message: BrokerMessage,
        packet_id: Option<u16>,
        alias: Option<u16>,
    ) -> Result<(), BrokerFault> {
        if let Some(alias) = alias {
            let limit = self.config.topic_aliases_max;
            let fault = BrokerFault::Alias { alias, limit };
            if alias == 0 || alias > limit {
                return Err(fault);
            }
            if message.topic.is_empty() {
                message.topic = self.aliases_in.get(&alias).cloned().ok_or(fault)?;
            } else {
                self.aliases_in.insert(alias, message.topic.clone());
            }
        } else if message.topic.is_empty() {
            let limit = self.config.topic_aliases_max;
            return Err(BrokerFault::Alias { alias: 0, limit });
        }
        let Some(packet_id) = packet_id else {
            let token = None;
            self.events
                .push_back(SessionEvent::Message { message, token });
            return Ok(());
        };
        match self.incoming.on_publish(packet_id, message.qos) {
            OnPublish::Judge(token) => {
                let token = Some(token);
                self.events
                    .push_back(SessionEvent::Message { message, token });
                Ok(())
            }
            OnPublish::Known => Ok(()),
            OnPublish::Answer { qos, reason } => {
                self.incoming.on_answered(packet_id, reason);
                self.answer(now, packet_id, qos, reason)
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        now: Instant,
        packet_id: u16,
        qos: Qos,
        reason: Reason,
    ) -> Result<(), BrokerFault> {
        let version = self.config.version;
        let packet = match qos {
            Qos::AtMostOnce => return Ok(()),
            Qos::AtLeastOnce => written::puback(version, packet_id, reason)?,
            Qos::ExactlyOnce => written::pubrec(version, packet_id, reason)?,
        };
        self.send(now, packet);
        Ok(())
    }

    fn on_settled(&mut self, packet_id: u16, qos: Qos, reason: Reason) -> Result<(), BrokerFault> {
        let settled = self.outgoing.remove(packet_id, qos);
        let settled = settled.ok_or(BrokerFault::Unasked { packet_id })?;
        if let Some(ticket) = settled.ticket {
            let outcome = match reason.is_failure() {
                false => Ok(()),
                true => Err(Unsettled::Refused(reason)),
            };
            self.events
                .push_back(SessionEvent::Settled { ticket, outcome });
        }
        Ok(())
    }
}
