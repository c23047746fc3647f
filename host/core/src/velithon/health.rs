//! The endpoint `health`, which is reserved: a server answers it before it looks for handlers, and a client
//! calls it right after its first connection and every ten seconds then.

use std::time::Duration;

use bytes::Bytes;

use super::failure::error_of_response;
use crate::{
    error::{Blame, Error},
    json,
};

/// Its name.
pub const HEALTH: &str = "health";

/// The body of the answer at `unix_time`, since 1970.
#[must_use]
pub fn health_body(unix_time: Duration) -> Bytes {
    let (seconds, micros) = (unix_time.as_secs(), unix_time.subsec_micros());
    format!("{{\"status\":\"healthy\",\"timestamp\":{seconds}.{micros:06}}}").into()
}

/// Whether the answer says that its server is well.
///
/// # Errors
/// `unavailable` where it says anything else.
pub fn check_health(response: &[u8]) -> Result<(), Error> {
    if let Some(error) = error_of_response(response, HEALTH) {
        return Err(error);
    }
    let status = json::member(response, "status").and_then(json::string);
    match status.as_deref() {
        None | Some("healthy") => Ok(()),
        Some(status) => {
            let message = format!("the instance says of itself that it is {status:?}");
            Err(Error::unavailable(Blame::Upstream, message))
        }
    }
}
