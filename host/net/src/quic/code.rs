//! The application codes of CONNECTION_CLOSE, RESET_STREAM and STOP_SENDING (RFC 9000, section 20.2).
//!
//! | code | on | meaning |
//! |---|---|---|
//! | 0x00 | connection, stream | nothing is wrong: the session is over, no more is wanted of a call |
//! | 0x01 | connection | this end shuts down |
//! | 0x02 | connection | the peer broke the protocol of the session |
//! | 0x03 | connection | nothing came for too long |
//! | 0x04 | connection | the peer does not take what it is sent |
//! | 0x05 | connection | there is no room for what the peer sends |
//! | 0x06 | connection | draining took too long |
//! | 0x100 + n | stream | the call failed; n is the gRPC number of the error's kind |

use postern_core::{Kind, wire::CloseReason};
use quinn::VarInt;

/// No more is wanted, and nothing is wrong.
pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0);

/// The code of the kind with gRPC number 0, which there is not.
const KINDS: u32 = 0x100;

/// What closes the connection of a session that ended for `reason`.
pub(super) fn of_close(reason: &CloseReason) -> VarInt {
    VarInt::from_u32(match reason {
        CloseReason::Requested
        | CloseReason::PeerBye
        | CloseReason::LinkEnded
        | CloseReason::PeerError { .. } => 0x00,
        CloseReason::Shutdown => 0x01,
        CloseReason::Violation(_) => 0x02,
        CloseReason::Idle { .. } => 0x03,
        CloseReason::SlowReader { .. } => 0x04,
        CloseReason::ResourceExhausted(_) => 0x05,
        CloseReason::DrainTimeout { .. } => 0x06,
    })
}

/// What ends the stream of a call that failed with an error of that kind.
pub(super) fn of_kind(kind: Kind) -> VarInt {
    VarInt::from_u32(KINDS + u32::from(kind.grpc()))
}

/// The kind that a peer ended a call's stream with; none where nothing is wrong, or where the code is
/// not of this table.
pub(super) fn kind_of(code: VarInt) -> Option<Kind> {
    let number = code.into_inner().checked_sub(u64::from(KINDS))?;
    Kind::from_grpc(u8::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_from_its_code() {
        for kind in Kind::ALL {
            assert_eq!(kind_of(of_kind(kind)), Some(kind));
        }
        assert_eq!(of_kind(Kind::NotFound).into_inner(), 0x105);
        for code in [0, 0x100, 0x111, 0x205] {
            assert_eq!(kind_of(VarInt::from_u32(code)), None, "{code:#x}");
        }
        assert_eq!(kind_of(VarInt::MAX), None);
    }

    #[test]
    fn an_end_in_order_has_another_code_than_a_violation() {
        let after = std::time::Duration::from_secs(1);
        let check = |reason, code| assert_eq!(of_close(&reason).into_inner(), code);
        check(CloseReason::PeerBye, 0);
        check(CloseReason::Shutdown, 1);
        check(CloseReason::Idle { after }, 3);
        check(CloseReason::ResourceExhausted("full".into()), 5);
    }
}
