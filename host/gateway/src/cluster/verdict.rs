//! What the end of a try says about the instance that it was made to.
//!
//! | the try ended with | verdict | breaker | ejector | load | health |
//! |---|---|---|---|---|---|
//! | a reply | success | success | success | answer | success |
//! | a forwarded request's response of 429 or 500 to 599 | as the error that its status means | | | | |
//! | an error that the caller is to blame for | caller's fault | none | success | answer | success |
//! | a status UNKNOWN of gRPC, which applications make of their own failures | the same | | | | |
//! | `unavailable`, `internal`, `unknown`, `data-loss` | failure | failure | error | error | failure |
//! | no answer within a telling time | timeout | failure | error | error | failure |
//! | `resource-exhausted` | full | none | none | error | none |
//! | an error of the gateway itself, or dropped | nothing | none | none | none | none |
//!
//! An instance that is full is well: taking it out would fill the others. An error without a fault
//! of anybody (`not-found`, `aborted`) is the caller's, whoever is blamed: the instance answered.
//!
//! A time is telling when it is the policy's own or at least `TELLING_MIN`. What a caller allowed
//! less says nothing, or callers in a hurry could take instances out for everybody.

use std::time::Duration;

use postern_core::{
    Blame, Error, HttpStatus, Kind, Reply, Retry, Symptom, resilience::BulkheadOutcome,
};

/// See the table at the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    CallerFault,
    Failure,
    Timeout,
    Full,
    Nothing,
}

impl Verdict {
    /// `had`: the time that the try had; `is_own`: it was the policy's own.
    #[must_use]
    pub(crate) fn of(error: &Error, had: Duration, is_own: bool) -> Self {
        match (error.blame, error.kind) {
            (Blame::Client, _) => Self::CallerFault,
            (Blame::Gateway, _) => Self::Nothing,
            // Another instance would be asked in vain.
            (Blame::Guest | Blame::Upstream, _) if error.is_too_large => Self::CallerFault,
            (Blame::Guest | Blame::Upstream, _) if error.is_of_application => Self::CallerFault,
            (Blame::Guest | Blame::Upstream, kind) => match kind.symptom() {
                Symptom::Healthy => Self::CallerFault,
                Symptom::Broken | Symptom::Absent => Self::Failure,
                Symptom::Late => Self::of_silence(had, is_own),
                Symptom::Full => Self::Full,
            },
        }
    }

    /// No answer came in the time that the try had.
    #[must_use]
    pub(crate) fn of_silence(had: Duration, is_own: bool) -> Self {
        if is_own || had >= TELLING_MIN {
            Self::Timeout
        } else {
            Self::Nothing
        }
    }

    /// Whether the instance is to blame.
    #[must_use]
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Timeout)
    }

    /// Whether the instance answered as one that is well does.
    #[must_use]
    pub(crate) const fn is_answer(self) -> bool {
        matches!(self, Self::Success | Self::CallerFault)
    }
}

/// Whether an error of that kind is somebody's failure, and not an answer.
pub(super) fn is_fault(kind: Kind) -> bool {
    kind.symptom() != Symptom::Healthy
}

/// The status of a forwarded request's response, where it tells of the upstream. The response is the
/// client's all the same, unless another try gives a better one.
pub(super) fn fault_of(reply: &Reply) -> Option<u16> {
    let status = reply.status.map(HttpStatus::number)?;
    (status >= 500 || status == TOO_MANY).then_some(status)
}

/// The error that such a status means.
pub(super) fn error_of(status: u16) -> Error {
    let message = format!("the upstream answered with {status}");
    let error = Error::new(Kind::from_http(status), Blame::Upstream, message);
    error.with_retry(Retry::IfIdempotent)
}

/// RFC 6585 section 4.
const TOO_MANY: u16 = 429;
/// What every healthy instance answers in.
const TELLING_MIN: Duration = Duration::from_secs(1);

/// What the end of a call says about how many may be under way.
pub(super) fn load_of(error: &Error) -> BulkheadOutcome {
    let is_answer = error.is_too_large || error.is_of_application || !is_fault(error.kind);
    if is_answer || error.blame == Blame::Client {
        BulkheadOutcome::Served
    } else if error.kind.symptom().is_transient() {
        BulkheadOutcome::Overloaded
    } else {
        BulkheadOutcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, blame: Blame, expected: Verdict) {
        let error = Error::new(kind, blame, "x");
        assert_eq!(Verdict::of(&error, TELLING_MIN, false), expected, "{kind}");
    }

    #[test]
    fn only_faults_of_the_instance_count_against_it() {
        for blame in [Blame::Guest, Blame::Upstream] {
            check(Kind::Internal, blame, Verdict::Failure);
            check(Kind::Unavailable, blame, Verdict::Failure);
            check(Kind::DeadlineExceeded, blame, Verdict::Timeout);
            check(Kind::ResourceExhausted, blame, Verdict::Full);
            check(Kind::NotFound, blame, Verdict::CallerFault);
        }
        let large = Error::too_long(5, 4, "calls.body-bytes-max", Blame::Guest);
        assert_eq!(
            Verdict::of(&large, TELLING_MIN, false),
            Verdict::CallerFault
        );
        let own = Error::new(Kind::Unknown, Blame::Upstream, "x").with_application();
        assert_eq!(Verdict::of(&own, TELLING_MIN, false), Verdict::CallerFault);
        assert_eq!(load_of(&own), BulkheadOutcome::Served);
        check(Kind::Unknown, Blame::Upstream, Verdict::Failure);
        check(Kind::Internal, Blame::Client, Verdict::CallerFault);
        check(Kind::Unavailable, Blame::Gateway, Verdict::Nothing);
    }

    #[test]
    fn a_caller_in_a_hurry_proves_nothing() {
        let short = TELLING_MIN - Duration::from_nanos(1);
        assert_eq!(Verdict::of_silence(short, false), Verdict::Nothing);
        assert_eq!(Verdict::of_silence(TELLING_MIN, false), Verdict::Timeout);
        assert_eq!(Verdict::of_silence(short, true), Verdict::Timeout);
    }
}
