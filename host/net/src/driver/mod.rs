//! Drives the pure machines of `postern_core::wire` with octets and time. What follows from a
//! message is the business of `server` and `client`; both stand on the parts here.

mod alarm;
mod held;
mod line;
mod socket;

use postern_core::wire::SessionId;
use postern_system::random;

pub use self::alarm::Alarm;
pub(crate) use self::{
    held::Held,
    line::{Line, LineError, OutputRoom, count_violation, now},
    socket::Socket,
};

/// Nobody outside can foresee it.
pub(crate) fn random_session_id() -> SessionId {
    SessionId(random::secret())
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
