//! Drives the pure machines of `postern_core::wire` with octets and time. What follows from a
//! message is the business of `server` and `client`; both stand on the parts here.

mod alarm;
mod held;
mod line;
mod socket;

use std::hash::{BuildHasher, RandomState};

use postern_core::wire::SessionId;

pub use self::alarm::Alarm;
pub(crate) use self::{
    held::Held,
    line::{Line, LineError, OutputRoom, now},
    socket::Socket,
};

/// 64 bits that nobody outside can foresee: SipHash of nothing, under keys which the standard
/// library draws from the operating system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// 128 bits that nobody outside can foresee.
pub(crate) fn random_session_id() -> SessionId {
    SessionId(u128::from(random()) << 64 | u128::from(random()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn session_ids_differ() {
        let ids: BTreeSet<_> = (0..1000).map(|_| random_session_id()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
