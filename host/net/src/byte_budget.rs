//! One bound for the octets of messages that are held: bodies and frames that have not arrived
//! whole, and replies that their peer has not taken. Per connection, and over all connections of a
//! gateway.
//!
//! ```text
//! ByteBudget (gateway) ◀── ConnectionBytes (connection) ◀── HeldBytes (message)
//! held over FREE of each    held ≤ connection max            given back when dropped
//! ```
//! The first `FREE` octets of a connection are not counted for the gateway, so that short messages
//! touch nothing that connections share. What a gateway holds is therefore at most its bound and
//! `FREE` for each connection.
//!
//! **Invariant:** no lock but that of one call's own number. The gateway's number is the sum of what
//! each connection holds over `FREE`: every change of a connection's number knows the value before it, so the changes add up.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use postern_core::{Blame, Error, Kind, Retry};

/// What all connections of a gateway may hold together.
#[derive(Debug)]
pub struct ByteBudget {
    bytes_max: AtomicUsize,
    /// Below zero for a moment where one thread gives back what another is about to count.
    held: AtomicIsize,
    n_refused: AtomicU64,
}

/// What one connection holds. Clones share it.
#[derive(Debug, Clone)]
pub struct ConnectionBytes(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    budget: Arc<ByteBudget>,
    bytes_max: usize,
    held: AtomicUsize,
    /// Of `held`, what bodies take that are being collected.
    kept: AtomicUsize,
}

/// Octets that count as held until this is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    connection: ConnectionBytes,
    n_bytes: usize,
}

/// What whoever collects a body keeps of it until its call is over. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Kept(Arc<Mutex<KeptBytes>>);

#[derive(Debug)]
struct KeptBytes(HeldBytes);

/// Which bound has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ByteBudgetError {
    /// The peer has sent too much at once, or takes nothing of what it is sent.
    #[error(
        "the connection holds {held} octets of messages; {wanted} more exceed its limit of {limit}"
    )]
    Connection {
        held: usize,
        wanted: usize,
        limit: usize,
    },
    #[error(
        "the gateway holds {held} octets of messages; {wanted} more exceed its limit of {limit}"
    )]
    Gateway {
        held: usize,
        wanted: usize,
        limit: usize,
    },
}

impl ByteBudget {
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
            held: AtomicIsize::new(0),
            n_refused: AtomicU64::new(0),
        }
    }

    /// A budget that never refuses: for clients and tests.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Changes the bound. What is held beyond it stays held; only more is refused.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// A new connection, which may hold `bytes_max` octets by itself.
    #[must_use]
    pub fn connection(self: &Arc<Self>, bytes_max: usize) -> ConnectionBytes {
        ConnectionBytes(Arc::new(Connection {
            budget: Arc::clone(self),
            bytes_max,
            held: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
        }))
    }

    /// Octets held at present, without the first `FREE` of each connection.
    #[must_use]
    pub fn held(&self) -> usize {
        usize::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn change(&self, before: usize, after: usize) {
        let change = over_free(after).wrapping_sub(over_free(before));
        if change != 0 {
            self.held.fetch_add(change.cast_signed(), Ordering::Relaxed);
        }
    }

    /// Messages that found no room, in a connection's share or in all.
    #[must_use]
    pub fn n_refused(&self) -> u64 {
        self.n_refused.load(Ordering::Relaxed)
    }
}

impl ConnectionBytes {
    /// Counts `n_bytes` as held.
    ///
    /// # Errors
    /// Where the connection's share or the gateway's budget has no room for them.
    pub fn hold(&self, n_bytes: usize) -> Result<HeldBytes, ByteBudgetError> {
        self.take(n_bytes)?;
        Ok(HeldBytes {
            connection: self.clone(),
            n_bytes,
        })
    }

    /// Octets that this connection holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Of those, what bodies take that are being collected: they grow until they have arrived whole.
    pub(crate) fn kept(&self) -> usize {
        self.0.kept.load(Ordering::Relaxed)
    }

    fn take(&self, n_bytes: usize) -> Result<(), ByteBudgetError> {
        let taken = self.try_take(n_bytes);
        if taken.is_err() {
            self.0.budget.n_refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn try_take(&self, n_bytes: usize) -> Result<(), ByteBudgetError> {
        let Connection {
            budget,
            bytes_max,
            held,
            ..
        } = &*self.0;
        let add = |held: usize| held.checked_add(n_bytes).filter(|sum| sum <= bytes_max);
        let before = held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|held| ByteBudgetError::Connection {
                held,
                wanted: n_bytes,
                limit: *bytes_max,
            })?;
        let shared = (over_free(before + n_bytes) - over_free(before)).cast_signed();
        if shared == 0 {
            return Ok(());
        }
        let limit = budget.bytes_max.load(Ordering::Relaxed);
        let room = isize::try_from(limit).unwrap_or(isize::MAX);
        let add = |held: isize| held.checked_add(shared).filter(|sum| *sum <= room);
        let taken = budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.map(|_| ()).map_err(|total| {
            // Others of this connection may have come and gone meanwhile: what counts for the
            // gateway is what this change and its undoing, seen alone, have moved.
            budget.change(before, before + n_bytes);
            self.give_back(n_bytes);
            ByteBudgetError::Gateway {
                held: usize::try_from(total).unwrap_or(0),
                wanted: n_bytes,
                limit,
            }
        })
    }

    fn give_back(&self, n_bytes: usize) {
        let before = self.0.held.fetch_sub(n_bytes, Ordering::Relaxed);
        self.0.budget.change(before, before - n_bytes);
    }
}

impl HeldBytes {
    /// Counts `n_bytes` more.
    ///
    /// # Errors
    /// As `ConnectionBytes::hold`; what was held before stays held.
    pub fn grow(&mut self, n_bytes: usize) -> Result<(), ByteBudgetError> {
        self.connection.take(n_bytes)?;
        self.n_bytes += n_bytes;
        Ok(())
    }

    /// Gives back all but `n_bytes`; holds no more than before.
    pub fn shrink_to(&mut self, n_bytes: usize) {
        let surplus = self.n_bytes.saturating_sub(n_bytes);
        if surplus > 0 {
            self.n_bytes -= surplus;
            self.connection.give_back(surplus);
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.n_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n_bytes == 0
    }

    /// `octets` that give back what is held for them when the last of their clones and slices is
    /// gone, whoever has it by then: a writer's queue, for instance.
    #[must_use]
    pub fn attach_to(self, octets: Bytes) -> Bytes {
        Bytes::from_owner(Attached {
            octets,
            _held: self,
        })
    }
}

impl Kept {
    pub(crate) fn new(held: HeldBytes) -> Self {
        let kept = &held.connection.0.kept;
        kept.fetch_add(held.n_bytes, Ordering::Relaxed);
        Self(Arc::new(Mutex::new(KeptBytes(held))))
    }

    /// Counts `n_bytes` more.
    ///
    /// # Errors
    /// As `ConnectionBytes::hold`.
    pub(crate) fn grow(&self, n_bytes: usize) -> Result<(), Error> {
        // A number that a panicking thread was changing is one all the same.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let KeptBytes(held) = &mut *kept;
        held.grow(n_bytes)?;
        let kept = &held.connection.0.kept;
        kept.fetch_add(n_bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for KeptBytes {
    fn drop(&mut self) {
        let Self(held) = self;
        let kept = &held.connection.0.kept;
        kept.fetch_sub(held.n_bytes, Ordering::Relaxed);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        if self.n_bytes > 0 {
            self.connection.give_back(self.n_bytes);
        }
    }
}

struct Attached {
    octets: Bytes,
    _held: HeldBytes,
}

impl AsRef<[u8]> for Attached {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}

impl From<ByteBudgetError> for Error {
    /// A connection over its share is told that it asks too much; a gateway that is full is told of
    /// as unavailable. Both say when to come again.
    fn from(error: ByteBudgetError) -> Self {
        let (kind, blame) = match error {
            ByteBudgetError::Connection { .. } => (Kind::ResourceExhausted, Blame::Client),
            ByteBudgetError::Gateway { .. } => (Kind::Unavailable, Blame::Gateway),
        };
        Self::new(kind, blame, error.to_string()).with_retry(Retry::After(RETRY_AFTER))
    }
}

/// What counts for the gateway of a connection that holds `held`.
fn over_free(held: usize) -> usize {
    held.saturating_sub(FREE)
}

/// Octets of each connection that do not count for the gateway: as much as the kernel's buffers of
/// a socket hold anyway, and many short messages.
const FREE: usize = 16 * 1024;
/// When to come again: messages of the largest size pass in about this time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 4 * FREE;

    fn budget() -> Arc<ByteBudget> {
        Arc::new(ByteBudget::new(FULL))
    }

    #[test]
    fn holds_up_to_the_share_of_a_connection_and_not_one_octet_more() {
        let budget = budget();
        let connection = budget.connection(100);
        let mut held = connection.hold(99).expect("room");
        held.grow(1).expect("room for one");
        let refused = ByteBudgetError::Connection {
            held: 100,
            wanted: 1,
            limit: 100,
        };
        assert_eq!(held.grow(1), Err(refused));
        assert_eq!(connection.hold(1).err(), Some(refused));
        assert_eq!((connection.held(), budget.n_refused()), (100, 2));
        drop(held);
        assert_eq!(connection.held(), 0);
    }

    #[test]
    fn holds_up_to_the_bound_of_all_connections_and_not_one_octet_more() {
        let budget = budget();
        let (one, other) = (budget.connection(usize::MAX), budget.connection(usize::MAX));
        let first = one.hold(FREE + FULL - 1).expect("room");
        let mut second = other.hold(FREE).expect("free");
        assert_eq!(budget.held(), FULL - 1);
        second.grow(1).expect("room for one");
        let refused = ByteBudgetError::Gateway {
            held: FULL,
            wanted: 1,
            limit: FULL,
        };
        assert_eq!(second.grow(1), Err(refused));
        assert_eq!(other.held(), FREE + 1, "what was refused is not held");
        drop(first);
        assert_eq!(budget.held(), 1);
        second.shrink_to(10);
        assert_eq!((budget.held(), other.held(), second.len()), (0, 10, 10));
    }

    #[test]
    fn a_smaller_bound_refuses_more_and_keeps_what_is_held() {
        let budget = budget();
        let connection = budget.connection(usize::MAX);
        let held = connection.hold(FREE + 10).expect("room");
        budget.set_bytes_max(5);
        assert!(connection.hold(1).is_err());
        drop(held);
        assert!(connection.hold(FREE + 5).is_ok());
        assert!(connection.hold(FREE + 6).is_err());
    }

    #[test]
    fn attached_octets_count_until_their_last_slice_is_gone() {
        let budget = budget();
        let connection = budget.connection(usize::MAX);
        let octets = Bytes::from(vec![7; 100]);
        let octets = connection.hold(100).expect("room").attach_to(octets);
        let slice = octets.slice(98..);
        drop(octets);
        assert_eq!((connection.held(), &slice[..]), (100, &[7, 7][..]));
        drop(slice);
        assert_eq!(connection.held(), 0);
    }

    #[test]
    fn threads_leave_nothing_behind() {
        let budget = budget();
        let connection = budget.connection(3 * FREE);
        std::thread::scope(|scope| {
            for n_bytes in [FREE / 2, FREE, FREE + 1, 2 * FREE] {
                let connections = [connection.clone(), budget.connection(usize::MAX)];
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        if let Ok(mut held) = connections[turn % 2].hold(n_bytes) {
                            let _ = held.grow(FREE);
                            held.shrink_to(n_bytes / 2);
                        }
                    }
                });
            }
        });
        assert_eq!((connection.held(), budget.held()), (0, 0));
    }

    #[test]
    fn both_refusals_say_when_to_come_again() {
        let connection = ByteBudgetError::Connection {
            held: 1,
            wanted: 2,
            limit: 2,
        };
        let error = Error::from(connection);
        assert_eq!(
            (error.kind.http(), error.retry),
            (429, Retry::After(RETRY_AFTER))
        );
        let gateway = ByteBudgetError::Gateway {
            held: 1,
            wanted: 2,
            limit: 2,
        };
        let error = Error::from(gateway);
        assert_eq!(
            (error.kind.http(), error.retry),
            (503, Retry::After(RETRY_AFTER))
        );
    }
}
