//! Publications to the client.

use std::time::Instant;

use super::MqttConnection;
use crate::{
    mqtt::{
        AckKind, AckPacket, MqttVersion, OutgoingPublish, PacketBuffer, PublishHead, Qos, Reason,
        encode_ack, encode_publish_head, publish_bytes, window::Repeated,
    },
    text::Text,
};

/// What became of a publication for the client.
#[derive(Debug)]
pub enum SendOutcome {
    Sent,
    /// It has expired, or is larger than what the client takes: it counts as handled.
    Dropped(OutgoingPublish),
    /// As many as the client takes are on their way, or its packet identifier is: to be tried again
    /// after an acknowledgement.
    Full(OutgoingPublish),
}

impl MqttConnection {
    /// Whether there is room for a publication with QoS 1 or 2.
    #[must_use]
    pub fn has_window(&self) -> bool {
        self.kept.window.n_open() < usize::from(self.negotiated.in_flight_max)
    }

    /// Appends what an earlier connection has sent and the client has not acknowledged, as far as there
    /// is room.
    pub fn resend(&mut self, now: Instant, out: &mut PacketBuffer) {
        while self.has_window() {
            let negotiated = self.negotiated;
            let forgotten = match self.kept.window.poll_repeated() {
                None => return,
                Some(Repeated::Pubrel(id)) => {
                    let (kind, reason) = (AckKind::Pubrel, Reason::SUCCESS);
                    encode_ack(
                        out.tail(),
                        negotiated.version,
                        AckPacket { kind, id, reason },
                        None,
                    );
                    None
                }
                Some(Repeated::Publish(id, outgoing)) => {
                    let head = head(negotiated.version, now, outgoing, id);
                    let is_fit = publish_bytes(&head) <= bytes_max(negotiated.packet_bytes_out_max);
                    if is_fit {
                        encode_publish_head(out.tail(), &head);
                        out.push_payload(&outgoing.publication.payload);
                    }
                    (!is_fit).then_some(id)
                }
            };
            if let Some(id) = forgotten {
                self.kept.window.forget(id);
            }
        }
    }

    /// Appends a publication, where it may be sent now.
    #[inline]
    pub fn send(
        &mut self,
        now: Instant,
        outgoing: OutgoingPublish,
        out: &mut PacketBuffer,
    ) -> SendOutcome {
        if outgoing.publication.is_expired(now) {
            return SendOutcome::Dropped(outgoing);
        }
        let mut id = 0;
        if outgoing.qos != Qos::AtMostOnce {
            if !self.has_window() {
                return SendOutcome::Full(outgoing);
            }
            match self.kept.window.id_for(&outgoing) {
                Some(free) => id = free,
                None => return SendOutcome::Full(outgoing),
            }
        }
        let mut head = head(self.negotiated.version, now, &outgoing, id);
        let alias = match self.negotiated.topic_alias_out_max {
            0 => None,
            _ => self.alias_of(&outgoing.publication.topic.name),
        };
        if let Some((alias, is_known)) = alias {
            head.alias = Some(alias);
            if is_known {
                head.topic = "";
            }
        }
        if self.negotiated.packet_bytes_out_max != u32::MAX
            && publish_bytes(&head) > bytes_max(self.negotiated.packet_bytes_out_max)
        {
            return SendOutcome::Dropped(outgoing);
        }
        encode_publish_head(out.tail(), &head);
        out.push_payload(&outgoing.publication.payload);
        if let Some((alias, false)) = alias {
            let name = outgoing.publication.topic.name.clone();
            self.aliases_out.insert(name, alias);
        }
        if id != 0 {
            self.kept.window.on_sent(id, outgoing);
        }
        SendOutcome::Sent
    }

    /// The alias of a topic, and whether the client knows it. The first topics have them, for good: a
    /// topic that is sent once would only push out one that is sent often.
    fn alias_of(&self, topic: &Text) -> Option<(u16, bool)> {
        if topic.len() < ALIASED_BYTES_MIN {
            return None;
        }
        if let Some(alias) = self.aliases_out.get(topic) {
            return Some((*alias, true));
        }
        let next = u16::try_from(self.aliases_out.len() + 1).ok()?;
        (next <= self.negotiated.topic_alias_out_max).then_some((next, false))
    }
}

fn head(
    version: MqttVersion,
    now: Instant,
    outgoing: &OutgoingPublish,
    id: u16,
) -> PublishHead<'_> {
    let publication = &*outgoing.publication;
    let is_v5 = version == MqttVersion::V5;
    PublishHead {
        version,
        qos: outgoing.qos,
        is_duplicate: outgoing.is_duplicate && outgoing.qos != Qos::AtMostOnce,
        is_retained: outgoing.is_retained,
        topic: &publication.topic.name,
        id,
        alias: None,
        expiry_s: publication.expiry_s(now).filter(|_| is_v5),
        properties: publication.properties.as_deref().filter(|_| is_v5),
        subscription_ids: match &outgoing.subscription_ids {
            Some(ids) if is_v5 => ids,
            Some(_) | None => &[],
        },
        payload_bytes: publication.payload.len(),
    }
}

fn bytes_max(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A topic that is shorter takes no more than its alias.
const ALIASED_BYTES_MIN: usize = 4;
