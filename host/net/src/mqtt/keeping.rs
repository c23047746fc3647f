//! A session as it is kept.

use std::time::{Duration, UNIX_EPOCH};

use postern_core::mqtt::{KeptState, ReceivedStage};
use postern_system::clock;

use super::{StoredSession, session::Session};

/// A session as it is kept.
pub(super) fn stored(
    session: &Session,
    kept: &KeptState,
    expiry_s: u32,
    has_ended: bool,
) -> StoredSession {
    let ended_at = has_ended.then(|| clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default());
    let is_taken = |stage: &ReceivedStage| *stage != ReceivedStage::Taking;
    let received = kept.received.iter().filter(|(_, stage)| is_taken(stage));
    let subscriptions = session.subscriptions.lock();
    StoredSession {
        client_id: session.client_id.clone(),
        expiry_s,
        ended_at_ms: ended_at.map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX)),
        subscriptions: subscriptions.iter().map(|(f, o)| (f.clone(), *o)).collect(),
        received: received.map(|(id, _)| *id).collect(),
        released: kept.window.released(),
        taken_receipt: kept.taken_receipt,
        will: session.will(),
    }
}

/// Number of the first publication with QoS 2 of a session that begins: higher than any of one that its
/// client had before. In microseconds, as no client publishes more than one in each for long.
pub(super) fn first_receipt() -> u64 {
    let wall = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_micros()).unwrap_or(0)
}

/// How long a stored session is kept from here on; none for ever. One whose connection the gateway's end
/// has cut begins anew.
pub(super) fn left_of(stored: &StoredSession) -> Option<Duration> {
    if stored.expiry_s == u32::MAX {
        return None;
    }
    let expiry = Duration::from_secs(stored.expiry_s.into());
    let Some(ended_at_ms) = stored.ended_at_ms else {
        return Some(expiry);
    };
    Some(expiry.saturating_sub(gone_since(ended_at_ms)))
}

/// How long a will waits from here on, where one is owed.
pub(super) fn will_left_of(stored: &StoredSession) -> Option<Duration> {
    let delay = Duration::from_secs(stored.will.as_ref()?.delay_s.into());
    let gone = stored.ended_at_ms.map_or(Duration::ZERO, gone_since);
    Some(delay.saturating_sub(gone))
}

fn gone_since(ended_at_ms: u64) -> Duration {
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(ended_at_ms))
}
