//! Messages that leave: as many as the broker takes, long topics as numbers.

use std::time::Instant;

use postern_core::{Text, mqtt::MqttVersion};

use super::{ClientSession, SessionEvent, Unsettled};
use crate::mqtt_client::{
    fault::BrokerFault,
    message::{BrokerMessage, SentAlias},
    outgoing::OutgoingStage,
    written,
};

impl ClientSession {
    /// Sends what is not on this connection yet, as far as the broker takes it.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        while self.is_connected()
            && self.outgoing.n_sent() < self.in_flight_max()
            && let Some(id) = self.outgoing.next_unsent()
        {
            self.outgoing.on_sent(id, now);
            let Some(entry) = self.outgoing.get(id) else {
                continue;
            };
            if entry.stage == OutgoingStage::Released {
                if let Ok(packet) = written::pubrel(self.config.version, id, true) {
                    self.send(now, packet);
                }
                continue;
            }
            let (message, is_dup) = (entry.message.clone(), entry.is_dup);
            if let Err(unsettled) = self.send_message(now, Some(id), &message, is_dup) {
                let ticket = self.outgoing.discard(id).and_then(|entry| entry.ticket);
                let outcome = Err(unsettled);
                let told = ticket.map(|ticket| SessionEvent::Settled { ticket, outcome });
                self.events.extend(told);
            }
        }
    }

    pub(super) fn send_message(
        &mut self,
        now: Instant,
        packet_id: Option<u16>,
        message: &BrokerMessage,
        is_dup: bool,
    ) -> Result<(), Unsettled> {
        let unwritable = |fault: BrokerFault| Unsettled::Unwritable(fault.to_string());
        let packet = match self.config.version {
            MqttVersion::V3 => message.to_v3(packet_id, is_dup).map_err(unwritable)?,
            MqttVersion::V5 => {
                let mut message = message.clone();
                message.is_retained &= self.greeting.takes_retained;
                let alias = self.alias_of(&message.topic);
                message
                    .to_v5(packet_id, is_dup, alias)
                    .map_err(unwritable)?
            }
        };
        let limit = self.greeting.packet_bytes_max;
        if u32::try_from(packet.len()).is_ok_and(|found| found > limit) {
            let found = packet.len();
            return Err(Unsettled::TooLong { found, limit });
        }
        if self.config.version == MqttVersion::V5 {
            self.remember_alias(&message.topic);
        }
        self.send(now, packet);
        Ok(())
    }

    /// The number under which a topic goes, while there are any left.
    fn alias_of(&self, topic: &Text) -> Option<SentAlias> {
        if let Some(alias) = self.aliases_out.get(topic) {
            let (alias, is_known) = (*alias, true);
            return Some(SentAlias { alias, is_known });
        }
        let alias = self.next_alias()?;
        let is_known = false;
        Some(SentAlias { alias, is_known })
    }

    fn next_alias(&self) -> Option<u16> {
        let limit = self
            .greeting
            .topic_aliases_max
            .min(self.config.topic_aliases_max);
        let n_used = u16::try_from(self.aliases_out.len()).unwrap_or(u16::MAX);
        (n_used < limit).then(|| n_used + 1)
    }

    fn remember_alias(&mut self, topic: &Text) {
        if self.aliases_out.contains_key(topic) {
            return;
        }
        if let Some(alias) = self.next_alias() {
            self.aliases_out.insert(topic.clone(), alias);
        }
    }
}
