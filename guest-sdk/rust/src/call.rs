//! The call that is being answered. An instance serves one call at a time, so no handle is needed.

use std::time::Duration;

use crate::{failure::Failure, host, stream};

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

/// What HTTP says of a call beside headers and body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// `GET`, `POST`, ...
    pub method: String,
    /// `http` or `https`; empty where the request did not say.
    pub scheme: String,
    /// Host and port as the client named them; empty where it named none.
    pub authority: String,
    /// As the client sent it, percent-encoded.
    pub path: String,
    /// What follows the first `?` of the target.
    pub query: Option<String>,
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// One message, or none.
    #[default]
    Message,
    /// Whole units, one after the other.
    Messages,
    /// One body in pieces, whose ends mean nothing.
    Octets,
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

/// What HTTP says of the call; `None` where it did not come by HTTP, here or at a gateway before. Names
/// of headers are then found in any case.
#[must_use]
pub fn http() -> Option<Http> {
    host::http()
}

/// What the body of the request is, as it came. For a unary method a message always: octets were
/// collected for it.
#[must_use]
pub fn request_kind() -> BodyKind {
    host::request_kind()
}

/// What follows the body of the request, in a streaming method once its last message was taken.
#[must_use]
pub fn trailers() -> Vec<(String, Vec<u8>)> {
    host::trailers()
}

/// Sets the status that a client is answered with that came by HTTP; 200 unless set. The call has
/// succeeded all the same: a failure has the status of its kind. 204 and 304 have no content.
///
/// # Errors
/// `invalid-argument` when it is not 200 to 599, `failed-precondition` once a message was sent.
pub fn set_status(status: u16) -> Result<(), Failure> {
    host::set_status(status)
}

/// Says that what is sent are pieces of one body, which goes to the client as it is, and not messages.
///
/// # Errors
/// `failed-precondition` in a unary method, or once a message was sent.
pub fn set_octets() -> Result<(), Failure> {
    host::set_octets()?;
    stream::set_replies_octets(true);
    Ok(())
}

/// Adds a header that follows the reply's last message, of a unary method its only one. Over HTTP/1.1
/// those arrive that the reply's header `trailer` names. A failure has them among its headers.
///
/// # Errors
/// As [`add_header`], but also after a message was sent.
pub fn add_trailer(name: &str, value: &str) -> Result<(), Failure> {
    host::add_trailer(name, value)
}

/// As [`add_trailer`], for a value that is not text. Carried as [`add_binary_header`] says.
///
/// # Errors
/// As [`add_trailer`].
pub fn add_binary_trailer(name: &str, value: &[u8]) -> Result<(), Failure> {
    host::add_binary_trailer(name, value)
}

/// Adds a header to the reply, beside those of the same name. Every name is the plugin's own: no
/// protocol takes it for another. What was added stays when the method fails.
///
/// # Errors
/// `invalid-argument` when the key is not 1 to 255 octets, or when all headers together pass 65,535;
/// `failed-precondition` once a message was sent.
pub fn add_header(name: &str, value: &str) -> Result<(), Failure> {
    host::add_header(name, value)
}

/// As [`add_header`], for a value that is not text. HTTP carries octets of 0x20 and above but 0x7f, and
/// tabs.
///
/// # Errors
/// As [`add_header`].
pub fn add_binary_header(name: &str, value: &[u8]) -> Result<(), Failure> {
    host::add_binary_header(name, value)
}

/// # Errors
/// As [`add_trailer`].
#[deprecated(note = "it adds: use `add_trailer`")]
pub fn set_trailer(name: &str, value: &str) -> Result<(), Failure> {
    host::add_trailer(name, value)
}

/// # Errors
/// As [`add_header`].
#[deprecated(note = "it adds: use `add_header`")]
pub fn set_header(name: &str, value: &str) -> Result<(), Failure> {
    host::add_header(name, value)
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
