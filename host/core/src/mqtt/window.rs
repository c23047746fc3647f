//! Publications with QoS 1 and 2 that a client was sent and has not acknowledged to the end.
//!
//! ```text
//! QoS 1: Sent ─ PUBACK ─▶ gone
//! QoS 2: Sent ─ PUBREC ─▶ Released ─ PUBCOMP ─▶ gone
//! ```
//! What lies in a session's stored queue has its packet identifier by its position, so that it has the same
//! one when it is sent again after a crash of the gateway, and the client knows it for a repetition. What
//! lies in the queue of a share has any: it may come to another member.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{OutgoingPublish, Qos, ShareKey};
use crate::event::durable::Position;

/// In the order of sending, by packet identifier.
#[derive(Debug, Default)]
pub struct Window {
    in_flight: HashMap<u16, InFlight>,
    /// Of those, what was sent over an earlier connection and not yet over this one.
    unsent: VecDeque<u16>,
    /// What the client has, also once it has completed it, and the queue may not know of.
    had: BTreeSet<Position>,
    last_id: u16,
    last_number: u64,
}

#[derive(Debug)]
struct InFlight {
    /// In the order of sending.
    number: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Sent(OutgoingPublish),
    /// With its position, where it had one and that is known.
    Released(Option<Position>),
}

/// What is to be sent again.
#[derive(Debug)]
pub(super) enum Repeated<'a> {
    Publish(u16, &'a OutgoingPublish),
    Pubrel(u16),
}

impl Window {
    /// One with what a client had when the gateway ended, as `released` gave it.
    #[must_use]
    pub fn with_released(released: &[(u16, Option<Position>)]) -> Self {
        let mut window = Self::default();
        for (id, position) in released {
            window.had.extend(*position);
            if *id != COMPLETED_ID {
                window.insert(*id, Stage::Released(*position));
                window.unsent.push_back(*id);
            }
        }
        while window.had.len() > HAD_MAX {
            window.had.pop_first();
        }
        window
    }

    /// The identifier that `outgoing` is to be sent with; none while another has it.
    pub(super) fn id_for(&mut self, outgoing: &OutgoingPublish) -> Option<u16> {
        if let Some(position) = outgoing.own_position() {
            let id = id_of(position);
            return (!self.in_flight.contains_key(&id)).then_some(id);
        }
        // Fewer are in flight than there are identifiers.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains_key(&self.last_id) {
                return Some(self.last_id);
            }
        }
    }

    pub(super) fn on_sent(&mut self, id: u16, outgoing: OutgoingPublish) {
        self.insert(id, Stage::Sent(outgoing));
    }

    fn insert(&mut self, id: u16, stage: Stage) {
        self.last_number += 1;
        let number = self.last_number;
        self.in_flight.insert(id, InFlight { number, stage });
    }

    pub(super) fn on_puback(&mut self, id: u16) -> Option<OutgoingPublish> {
        self.remove_sent(id, Qos::AtLeastOnce)
    }

    /// A PUBREC that refuses.
    pub(super) fn on_refused(&mut self, id: u16) -> Option<OutgoingPublish> {
        self.remove_sent(id, Qos::ExactlyOnce)
    }

    /// What was sent, or nothing where it was released before; an error where it is not known.
    pub(super) fn on_pubrec(&mut self, id: u16) -> Result<Option<OutgoingPublish>, ()> {
        let in_flight = self.in_flight.get_mut(&id).ok_or(())?;
        let position = match &in_flight.stage {
            Stage::Sent(outgoing) if outgoing.qos == Qos::ExactlyOnce => outgoing.own_position(),
            Stage::Sent(_) => return Err(()),
            Stage::Released(_) => return Ok(None),
        };
        match std::mem::replace(&mut in_flight.stage, Stage::Released(position)) {
            Stage::Sent(outgoing) => Ok(Some(outgoing)),
            Stage::Released(_) => Ok(None),
        }
    }

    pub(super) fn on_pubcomp(&mut self, id: u16) -> bool {
        let is_released = matches!(
            self.in_flight.get(&id),
            Some(InFlight {
                stage: Stage::Released(_),
                ..
            })
        );
        is_released && self.in_flight.remove(&id).is_some()
    }

    fn remove_sent(&mut self, id: u16, qos: Qos) -> Option<OutgoingPublish> {
        match &self.in_flight.get(&id)?.stage {
            Stage::Sent(outgoing) if outgoing.qos == qos => {}
            Stage::Sent(_) | Stage::Released(_) => return None,
        }
        match self.in_flight.remove(&id)?.stage {
            Stage::Sent(outgoing) => Some(outgoing),
            Stage::Released(_) => None,
        }
    }

    /// Those that count against the client's receive maximum.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.in_flight.len() - self.unsent.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Identifiers that the client has and has not completed, and where they lie in the stored queue;
    /// `COMPLETED_ID` of what it has completed and the queue may not know of.
    #[must_use]
    pub fn released(&self) -> Vec<(u16, Option<Position>)> {
        let released = self
            .in_flight
            .iter()
            .filter_map(|(id, in_flight)| match &in_flight.stage {
                Stage::Released(position) => Some((*id, *position)),
                Stage::Sent(_) => None,
            });
        let mut released: Vec<_> = released.collect();
        let open: BTreeSet<_> = released.iter().filter_map(|(_, at)| *at).collect();
        let completed = self.had.difference(&open);
        released.extend(completed.map(|position| (COMPLETED_ID, Some(*position))));
        released.sort_unstable();
        released
    }

    /// How what lies at `position` stands: none where the client was not sent it.
    #[must_use]
    pub fn standing(&self, position: Position) -> Option<WindowStanding> {
        if self.had.contains(&position) {
            return Some(WindowStanding::Released);
        }
        match &self.in_flight.get(&id_of(position))?.stage {
            Stage::Sent(outgoing) if outgoing.own_position() == Some(position) => {
                Some(WindowStanding::Sent)
            }
            Stage::Sent(_) => None,
            Stage::Released(known) => {
                let is_same = *known == Some(position);
                is_same.then_some(WindowStanding::Released)
            }
        }
    }

    /// The client has what lies at `position`, of which the queue was not told: it comes from there again.
    pub(super) fn on_repeated(&mut self, position: Position) {
        self.had.insert(position);
    }

    /// The connection has ended. What lies in a stored queue comes from there again, to another member
    /// where it is a share's; everything else is sent again over the next connection, as is what a share
    /// has given with QoS 2 (section 4.8.2).
    pub fn on_disconnected(&mut self) {
        self.in_flight
            .retain(|_, in_flight| match &mut in_flight.stage {
                Stage::Sent(outgoing) => {
                    outgoing.is_duplicate = true;
                    let is_share_of_qos_2 =
                        outgoing.share.is_some() && outgoing.qos == Qos::ExactlyOnce;
                    outgoing.position.is_none() || is_share_of_qos_2
                }
                Stage::Released(_) => true,
            });
        let mut ids: Vec<_> = self
            .in_flight
            .iter()
            .map(|(id, one)| (one.number, *id))
            .collect();
        ids.sort_unstable();
        self.unsent = ids.into_iter().map(|(_, id)| id).collect();
    }

    /// What lies in the stored queues of shares and was sent, and is not released.
    #[must_use]
    pub fn shared_positions(&self) -> Vec<(ShareKey, Position)> {
        let sent = self.in_flight.values().filter_map(|one| match &one.stage {
            Stage::Sent(outgoing) => Some((outgoing.share?, outgoing.position?)),
            Stage::Released(_) => None,
        });
        sent.collect()
    }

    /// Takes out what came by shared subscriptions that are in memory, and the client cannot have completed.
    pub fn take_shared(&mut self) -> Vec<OutgoingPublish> {
        let is_shared = |in_flight: &InFlight| match &in_flight.stage {
            // What was sent with QoS 2 stays with its session (section 4.8.2).
            Stage::Sent(outgoing) => outgoing.share.is_some() && outgoing.qos == Qos::AtLeastOnce,
            Stage::Released(_) => false,
        };
        let ids = self.in_flight.iter().filter(|(_, one)| is_shared(one));
        let mut ids: Vec<_> = ids.map(|(id, one)| (one.number, *id)).collect();
        ids.sort_unstable();
        self.unsent
            .retain(|id| !ids.iter().any(|(_, shared)| shared == id));
        let taken = ids
            .into_iter()
            .filter_map(|(_, id)| self.in_flight.remove(&id));
        taken
            .filter_map(|in_flight| match in_flight.stage {
                Stage::Sent(outgoing) => Some(outgoing),
                Stage::Released(_) => None,
            })
            .collect()
    }

    /// What is to be sent again next.
    pub(super) fn poll_repeated(&mut self) -> Option<Repeated<'_>> {
        while let Some(id) = self.unsent.pop_front() {
            if self.in_flight.contains_key(&id) {
                return match &self.in_flight.get(&id)?.stage {
                    Stage::Sent(outgoing) => Some(Repeated::Publish(id, outgoing)),
                    Stage::Released(_) => Some(Repeated::Pubrel(id)),
                };
            }
        }
        self.unsent = VecDeque::new();
        None
    }

    /// It cannot be sent to this client at all.
    pub(super) fn forget(&mut self, id: u16) {
        self.in_flight.remove(&id);
    }
}

/// How what lies at a position of a stored queue stands with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowStanding {
    Sent,
    /// The client has it: it is to be acknowledged, not sent.
    Released,
}

/// No packet has this identifier.
pub const COMPLETED_ID: u16 = 0;
/// Positions that are remembered over a restart, the newest: more than clients have under way.
const HAD_MAX: usize = 4096;

/// 1 to 65,535, over and over.
fn id_of(position: Position) -> u16 {
    let id = position.0.saturating_sub(1) % u64::from(u16::MAX) + 1;
    u16::try_from(id).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::mqtt::{Publication, ShareKey, TopicName};

    fn outgoing(qos: Qos) -> OutgoingPublish {
        let topic = TopicName::new("a").expect("a name");
        OutgoingPublish::new(Arc::new(Publication::new(topic, Bytes::new(), qos)), qos)
    }

    fn send(window: &mut Window, outgoing: OutgoingPublish) -> u16 {
        let id = window.id_for(&outgoing).expect("a free identifier");
        window.on_sent(id, outgoing);
        id
    }

    fn repeated(window: &mut Window) -> Vec<(u16, bool)> {
        let mut found = Vec::new();
        while let Some(one) = window.poll_repeated() {
            found.push(match one {
                Repeated::Publish(id, outgoing) => (id, outgoing.is_duplicate),
                Repeated::Pubrel(id) => (id, false),
            });
        }
        found
    }

    #[test]
    fn each_qos_has_its_own_acknowledgements() {
        let mut window = Window::default();
        let one = send(&mut window, outgoing(Qos::AtLeastOnce));
        let two = send(&mut window, outgoing(Qos::ExactlyOnce));
        assert!(window.on_puback(two).is_none() && window.on_pubrec(one).is_err());
        assert!(!window.on_pubcomp(two));
        assert!(window.on_puback(one).is_some() && window.on_puback(one).is_none());
        assert!(matches!(window.on_pubrec(two), Ok(Some(_))));
        assert!(matches!(window.on_pubrec(two), Ok(None)));
        assert_eq!(window.released(), [(two, None)]);
        assert!(window.on_pubcomp(two) && window.is_empty());
    }

    #[test]
    fn identifiers_are_free_ones_and_never_zero() {
        let mut window = Window {
            last_id: u16::MAX - 1,
            ..Window::default()
        };
        window.insert(1, Stage::Released(None));
        assert_eq!(send(&mut window, outgoing(Qos::AtLeastOnce)), u16::MAX);
        assert_eq!(send(&mut window, outgoing(Qos::AtLeastOnce)), 2);
    }

    #[test]
    fn what_is_stored_has_its_identifier_by_its_position() {
        let at = |position| OutgoingPublish {
            position: Some(Position(position)),
            ..outgoing(Qos::ExactlyOnce)
        };
        let mut window = Window::default();
        assert_eq!(send(&mut window, at(65_536)), 1);
        assert_eq!(window.id_for(&at(1)), None, "another has it");
        assert_eq!(
            window.standing(Position(65_536)),
            Some(WindowStanding::Sent)
        );
        assert_eq!(window.standing(Position(1)), None);
        assert!(window.on_pubrec(1).is_ok());
        assert_eq!(
            window.standing(Position(65_536)),
            Some(WindowStanding::Released)
        );
        let mut restored = Window::with_released(&[(7, Some(Position(7)))]);
        assert!(restored.on_pubcomp(7));
        assert_eq!(
            restored.standing(Position(7)),
            Some(WindowStanding::Released),
            "the queue may not know that it is complete"
        );
        assert_eq!(restored.standing(Position(65_542)), None);
        let completed = [(COMPLETED_ID, Some(Position(7)))];
        assert_eq!(restored.released(), completed, "nor over the next kill");
        let mut again = Window::with_released(&completed);
        assert!(again.is_empty() && repeated(&mut again).is_empty());
        assert_eq!(again.standing(Position(7)), Some(WindowStanding::Released));
    }

    #[test]
    fn the_next_connection_repeats_what_is_not_stored_in_its_order() {
        let mut window = Window::default();
        let first = send(&mut window, outgoing(Qos::ExactlyOnce));
        let stored = OutgoingPublish {
            position: Some(Position(100)),
            ..outgoing(Qos::AtLeastOnce)
        };
        send(&mut window, stored);
        let last = send(&mut window, outgoing(Qos::AtLeastOnce));
        assert!(window.on_pubrec(first).is_ok());
        window.on_disconnected();
        assert_eq!(window.n_open(), 0);
        assert_eq!(repeated(&mut window), [(first, false), (last, true)]);
        assert_eq!(window.n_open(), 2);
    }

    #[test]
    fn what_was_released_before_a_crash_is_released_again() {
        let mut window = Window::with_released(&[(9, None), (7, None)]);
        assert_eq!(window.n_open(), 0);
        assert_eq!(repeated(&mut window), [(9, false), (7, false)]);
        assert!(window.on_pubcomp(7) && window.on_pubcomp(9) && window.is_empty());
    }

    #[test]
    fn what_a_stored_share_gave_with_qos_2_stays_and_has_any_identifier() {
        let shared = |qos| OutgoingPublish {
            position: Some(Position(9)),
            share: Some(ShareKey(1)),
            ..outgoing(qos)
        };
        let mut window = Window::default();
        assert_eq!(send(&mut window, shared(Qos::AtLeastOnce)), 1);
        assert_eq!(send(&mut window, shared(Qos::ExactlyOnce)), 2);
        assert_eq!(window.standing(Position(9)), None, "its own was not sent");
        window.on_disconnected();
        assert!(window.take_shared().is_empty());
        assert_eq!(window.shared_positions(), [(ShareKey(1), Position(9))]);
        assert_eq!(repeated(&mut window), [(2, true)]);
        assert!(window.on_pubrec(2).is_ok());
        assert_eq!(window.released(), [(2, None)]);
        assert!(window.shared_positions().is_empty());
    }

    #[test]
    fn what_the_queue_was_not_told_of_is_known_when_it_comes_again() {
        let mut window = Window::default();
        assert_eq!(window.standing(Position(3)), None);
        window.on_repeated(Position(3));
        assert_eq!(window.standing(Position(3)), Some(WindowStanding::Released));
    }

    #[test]
    fn what_is_shared_goes_to_another_unless_it_was_sent_with_qos_2() {
        let shared = |qos| OutgoingPublish {
            share: Some(ShareKey(1)),
            ..outgoing(qos)
        };
        let mut window = Window::default();
        send(&mut window, shared(Qos::AtLeastOnce));
        let kept = send(&mut window, shared(Qos::ExactlyOnce));
        let own = send(&mut window, outgoing(Qos::AtLeastOnce));
        window.on_disconnected();
        assert_eq!(window.take_shared().len(), 1);
        assert_eq!(repeated(&mut window), [(kept, true), (own, true)]);
    }
}
