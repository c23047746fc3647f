//! The kinds of errors and all that is said of them: name, gRPC number, HTTP status, whose fault one
//! is that a peer answered with, and what it tells of that peer. Every edge and every policy reads
//! this table and keeps none of its own; `host/docs/errors.md` shows it.

use std::fmt;

use super::Blame;

/// What went wrong, in the field's standard terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// What an error tells of the instance that answered with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symptom {
    /// It is well: the error is its answer, and others would give the same.
    Healthy,
    /// It is broken.
    Broken,
    /// It takes no calls at present.
    Absent,
    /// It did not answer in time.
    Late,
    /// It is full, and well otherwise.
    Full,
}

/// One row of the table.
struct Facts {
    name: &'static str,
    grpc: u8,
    http: u16,
    peer_blame: Blame,
    symptom: Symptom,
    /// The HTTP statuses that mean this kind where nothing else names one.
    statuses: &'static [u16],
}

impl Kind {
    /// Every kind, in the order of its gRPC number.
    pub const ALL: [Self; 16] = [
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The table. 499 is nginx's "client closed request".
    #[rustfmt::skip]
    const fn facts(self) -> Facts {
        use Blame::{Client, Upstream};
        use Symptom::{Absent, Broken, Full, Healthy, Late};
        match self {
            Self::Cancelled          => row("cancelled",            1, 499, Client,   Healthy, &[499]),
            Self::Unknown            => row("unknown",              2, 500, Upstream, Broken,  &[]),
            Self::InvalidArgument    => row("invalid-argument",     3, 400, Client,   Healthy, &[400]),
            Self::DeadlineExceeded   => row("deadline-exceeded",    4, 504, Upstream, Late,    &[408, 504]),
            Self::NotFound           => row("not-found",            5, 404, Client,   Healthy, &[404, 410]),
            Self::AlreadyExists      => row("already-exists",       6, 409, Client,   Healthy, &[]),
            Self::PermissionDenied   => row("permission-denied",    7, 403, Client,   Healthy, &[403]),
            Self::ResourceExhausted  => row("resource-exhausted",   8, 429, Upstream, Full,    &[413, 429]),
            Self::FailedPrecondition => row("failed-precondition",  9, 400, Client,   Healthy, &[412]),
            Self::Aborted            => row("aborted",             10, 409, Client,   Healthy, &[409]),
            Self::OutOfRange         => row("out-of-range",        11, 400, Client,   Healthy, &[416]),
            Self::Unimplemented      => row("unimplemented",       12, 501, Upstream, Healthy, &[405, 501]),
            Self::Internal           => row("internal",            13, 500, Upstream, Broken,  &[500]),
            Self::Unavailable        => row("unavailable",         14, 503, Upstream, Absent,  &[502, 503]),
            Self::DataLoss           => row("data-loss",           15, 500, Upstream, Broken,  &[]),
            Self::Unauthenticated    => row("unauthenticated",     16, 401, Client,   Healthy, &[401]),
        }
    }

    /// The name on every wire and in every log: `not-found`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The gRPC status number (1 to 16).
    #[must_use]
    pub const fn grpc(self) -> u8 {
        self.facts().grpc
    }

    /// The HTTP status number.
    #[must_use]
    pub const fn http(self) -> u16 {
        self.facts().http
    }

    /// Whose fault an error of this kind is when a peer answers with it: what the caller asked for,
    /// or the peer.
    #[must_use]
    pub const fn peer_blame(self) -> Blame {
        self.facts().peer_blame
    }

    /// What an error of this kind tells of the instance that answered with it, unless the caller is
    /// to blame.
    #[must_use]
    pub const fn symptom(self) -> Symptom {
        self.facts().symptom
    }

    /// The kind of that name, as `name` spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of that gRPC status; 0 is no error.
    #[must_use]
    pub fn from_grpc(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.grpc() == number)
    }

    /// The kind that an HTTP status alone tells of. An unknown one means what the first of its class
    /// means (RFC 9110 section 15); what is no status of an error is `unknown`.
    #[must_use]
    pub fn from_http(status: u16) -> Self {
        let means = |kind: &Self| kind.facts().statuses.contains(&status);
        let known = Self::ALL.into_iter().find(means);
        known.unwrap_or(match status {
            400..=499 => Self::InvalidArgument,
            500..=599 => Self::Internal,
            _ => Self::Unknown,
        })
    }
}

impl Symptom {
    /// The name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Broken => "broken",
            Self::Absent => "absent",
            Self::Late => "late",
            Self::Full => "full",
        }
    }

    /// Whether another instance, or this one a moment later, may well answer.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Absent | Self::Late | Self::Full => true,
            Self::Healthy | Self::Broken => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const fn row(
    name: &'static str,
    grpc: u8,
    http: u16,
    peer_blame: Blame,
    symptom: Symptom,
    statuses: &'static [u16],
) -> Facts {
    Facts {
        name,
        grpc,
        http,
        peer_blame,
        symptom,
        statuses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique_and_found_again() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.grpc()), index + 1);
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(Kind::from_grpc(kind.grpc()), Some(kind));
        }
        assert_eq!((Kind::from_grpc(0), Kind::from_grpc(17)), (None, None));
    }

    #[test]
    fn a_status_means_one_kind_which_is_told_with_a_status_of_the_same_meaning() {
        let mut seen = Vec::new();
        for kind in Kind::ALL {
            for status in kind.facts().statuses {
                assert!(!seen.contains(status), "{status} means two kinds");
                seen.push(*status);
                assert_eq!(Kind::from_http(*status), kind, "{status}");
            }
            let heard = Kind::from_http(kind.http());
            assert_eq!(heard.http(), kind.http(), "{kind}");
            assert_eq!(heard.peer_blame(), kind.peer_blame(), "{kind}");
            assert_eq!(heard.symptom(), kind.symptom(), "{kind}");
        }
    }

    #[test]
    fn a_status_that_nobody_knows_means_what_its_class_means() {
        assert_eq!(Kind::from_http(418), Kind::InvalidArgument);
        assert_eq!(Kind::from_http(507), Kind::Internal);
        assert_eq!(Kind::from_http(302), Kind::Unknown);
        assert_eq!(Kind::from_http(0), Kind::Unknown);
    }

    #[test]
    fn who_is_well_is_not_to_blame_but_for_what_nobody_has_built() {
        for kind in Kind::ALL {
            let is_well = kind.symptom() == Symptom::Healthy;
            let is_expected = kind.peer_blame() == Blame::Client || kind == Kind::Unimplemented;
            assert_eq!(is_well, is_expected, "{kind}");
        }
    }
}
