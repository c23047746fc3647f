//! Messages of the broker that are not acknowledged yet.
//!
//! ```text
//! QoS 1: PUBLISH ─▶ judged ─▶ PUBACK
//! QoS 2: PUBLISH ─▶ judged ─▶ PUBREC ─▶ taken ─▶ PUBREL ─▶ PUBCOMP
//! ```
//! A message is acknowledged once this side has taken it, or refused it for good. One that comes again
//! under its identifier meanwhile is the same one; what was judged while there was no connection is
//! answered when it comes again.

use std::collections::BTreeMap;

use postern_core::mqtt::{Qos, Reason};

/// Which message a judgement is about. One of another session than the present one means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageToken {
    epoch: u64,
    packet_id: u16,
}

/// What is to be done with a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OnPublish {
    /// It is to be judged.
    Judge(MessageToken),
    /// It is being judged, or its answer was sent again.
    Known,
    /// It is answered with this.
    Answer { qos: Qos, reason: Reason },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Open {
        qos: Qos,
    },
    /// QoS 2: the broker is to release it.
    Taken {
        reason: Reason,
    },
}

#[derive(Debug, Clone, Copy)]
struct Received {
    judgement: Judgement,
    /// Whether it came on this connection.
    is_here: bool,
}

/// All of them, by their packet identifiers.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    entries: BTreeMap<u16, Received>,
    epoch: u64,
}

impl Incoming {
    /// A PUBLISH has come. How many may be here is not counted: whoever reads stops reading while enough
    /// are being judged, because mosquitto 2.0 goes beyond the receive maximum when a session resumes.
    pub(super) fn on_publish(&mut self, packet_id: u16, qos: Qos) -> OnPublish {
        let Some(known) = self.entries.get_mut(&packet_id) else {
            let received = Received {
                judgement: Judgement::Open { qos },
                is_here: true,
            };
            self.entries.insert(packet_id, received);
            return OnPublish::Judge(self.token(packet_id));
        };
        known.is_here = true;
        match known.judgement {
            Judgement::Open { .. } => OnPublish::Known,
            Judgement::Taken { reason } => OnPublish::Answer {
                qos: Qos::ExactlyOnce,
                reason,
            },
        }
    }

    /// A message was judged. Gives its identifier and QoS where the broker is to be told now.
    pub(super) fn on_judged(
        &mut self,
        token: MessageToken,
        reason: Reason,
        is_connected: bool,
    ) -> Option<(u16, Qos)> {
        if token.epoch != self.epoch {
            return None;
        }
        let received = self.entries.get_mut(&token.packet_id)?;
        let Judgement::Open { qos } = received.judgement else {
            return None;
        };
        let is_told = is_connected && received.is_here;
        let is_over = qos == Qos::AtLeastOnce || (is_told && reason.is_failure());
        if is_over {
            self.entries.remove(&token.packet_id);
        } else {
            received.judgement = Judgement::Taken { reason };
        }
        is_told.then_some((token.packet_id, qos))
    }

    /// The broker will not send it again. Says whether it was known.
    pub(super) fn on_release(&mut self, packet_id: u16) -> bool {
        let received = self.entries.get(&packet_id);
        let is_taken = received.is_some_and(|one| matches!(one.judgement, Judgement::Taken { .. }));
        if is_taken {
            self.entries.remove(&packet_id);
        }
        is_taken
    }

    /// Messages that the broker was to be told of and cannot be.
    pub(super) fn on_lost(&mut self) {
        for received in self.entries.values_mut() {
            received.is_here = false;
        }
    }

    /// The broker knows nothing of the connection before: its identifiers mean other messages.
    pub(super) fn begin_anew(&mut self) {
        self.entries.clear();
        self.epoch += 1;
    }

    /// A refusal of QoS 2 that the broker is told of now ends the exchange.
    pub(super) fn on_answered(&mut self, packet_id: u16, reason: Reason) {
        if reason.is_failure() {
            self.entries.remove(&packet_id);
        }
    }

    const fn token(&self, packet_id: u16) -> MessageToken {
        MessageToken {
            epoch: self.epoch,
            packet_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(incoming: &mut Incoming, packet_id: u16, qos: Qos) -> MessageToken {
        let OnPublish::Judge(token) = incoming.on_publish(packet_id, qos) else {
            panic!("{packet_id} is to be judged");
        };
        token
    }

    #[test]
    fn a_message_that_comes_again_while_it_is_judged_is_the_same() {
        let mut incoming = Incoming::default();
        let token = judged(&mut incoming, 1, Qos::AtLeastOnce);
        incoming.on_lost();
        assert_eq!(incoming.on_judged(token, Reason::SUCCESS, false), None);
        // QoS 1: the broker sends it again, and it counts again.
        let token = judged(&mut incoming, 1, Qos::AtLeastOnce);
        incoming.on_lost();
        let again = incoming.on_publish(1, Qos::AtLeastOnce);
        assert_eq!(again, OnPublish::Known);
        let told = incoming.on_judged(token, Reason::SUCCESS, true);
        assert_eq!(told, Some((1, Qos::AtLeastOnce)));
    }

    #[test]
    fn a_message_of_qos_2_counts_once_however_often_it_comes() {
        let mut incoming = Incoming::default();
        let token = judged(&mut incoming, 1, Qos::ExactlyOnce);
        incoming.on_lost();
        assert_eq!(incoming.on_judged(token, Reason::SUCCESS, false), None);
        let answer = OnPublish::Answer {
            qos: Qos::ExactlyOnce,
            reason: Reason::SUCCESS,
        };
        assert_eq!(incoming.on_publish(1, Qos::ExactlyOnce), answer);
        assert_eq!(incoming.on_publish(1, Qos::ExactlyOnce), answer);
        assert!(incoming.on_release(1));
        assert!(!incoming.on_release(1));
        judged(&mut incoming, 1, Qos::ExactlyOnce);
    }

    #[test]
    fn what_was_judged_of_a_session_that_is_gone_means_nothing() {
        let mut incoming = Incoming::default();
        let before = judged(&mut incoming, 1, Qos::ExactlyOnce);
        incoming.begin_anew();
        let after = judged(&mut incoming, 1, Qos::ExactlyOnce);
        assert_eq!(incoming.on_judged(before, Reason::SUCCESS, true), None);
        let told = incoming.on_judged(after, Reason::SUCCESS, true);
        assert_eq!(told, Some((1, Qos::ExactlyOnce)));
    }
}
