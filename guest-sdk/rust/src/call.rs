//! The call that is being answered. An instance serves one call at a time, so no handle is needed.

use std::time::Duration;

use crate::{failure::Failure, host};

/// Who is at the other end of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// `tcp`, `udp`, `http`, `memory` or `plugin`.
    pub transport: String,
    /// `address:port`, where the transport has one.
    pub address: Option<String>,
}

/// Who calls, as an authenticator established it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub roles: Vec<String>,
}

/// The first value of a request header; absent also when it is not UTF-8.
#[must_use]
pub fn header(name: &str) -> Option<String> {
    host::header(name)
}

/// All request headers in order, duplicates included.
#[must_use]
pub fn headers() -> Vec<(String, Vec<u8>)> {
    host::headers()
}

/// Adds a header to the reply.
///
/// # Errors
/// `invalid-argument` when the key is not 1 to 255 octets, or when all headers together pass 65,535.
pub fn set_header(name: &str, value: &str) -> Result<(), Failure> {
    host::set_header(name, value)
}

/// Who is at the other end of the session.
#[must_use]
pub fn peer() -> Peer {
    host::peer()
}

/// Who calls; `None` where no authenticator has said so.
#[must_use]
pub fn principal() -> Option<Principal> {
    host::principal()
}

/// One of the principal's claims: what an authenticator says about it beside name and roles.
#[must_use]
pub fn claim(name: &str) -> Option<String> {
    host::claim(name)
}

/// How long the caller still waits, in whole milliseconds.
#[must_use]
pub fn remaining() -> Duration {
    Duration::from_millis(host::remaining_ms())
}

/// Chosen by the caller, unique among what is in flight on its session.
#[must_use]
pub fn correlation_id() -> String {
    host::correlation_id()
}

/// W3C trace context of this call.
#[must_use]
pub fn traceparent() -> Option<String> {
    host::traceparent()
}
