//! Calls other services through the gateway. The manifest grants them by name:
//! `[grants] services = ["calculator"]`.
//!
//! ```
//! # use postern_guest::{client, fake::Host, Octets};
//! # let host = Host::new();
//! # host.answer("calculator", "Add", |_| Ok(Octets::from("5.0")));
//! let sum: f64 = client::call("calculator", "Add", &[2.0, 3.0])?;
//! # assert_eq!(sum, 5.0);
//! # Ok::<(), postern_guest::Failure>(())
//! ```

use std::time::Duration;

use crate::{
    body::{Decode, Encode},
    failure::Failure,
    host,
};

/// A call to another service, to be sent.
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    service: &'a str,
    method: &'a str,
    headers: Vec<(String, String)>,
    timeout_ms: Option<u64>,
}

/// Calls `service`/`method` within what is left of this call's own deadline.
///
/// # Errors
/// `permission-denied` without a grant, `not-found` for an unknown service, `data-loss` when the
/// reply is not an `O`, and whatever the service fails with.
pub fn call<O: Decode>(service: &str, method: &str, input: impl Encode) -> Result<O, Failure> {
    request(service, method).send(input)
}

/// A call with headers or a timeout of its own.
pub fn request<'a>(service: &'a str, method: &'a str) -> Request<'a> {
    Request {
        service,
        method,
        headers: Vec::new(),
        timeout_ms: None,
    }
}

impl Request<'_> {
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Shortens what is left of this call's own deadline; never extends it. In whole milliseconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            timeout_ms: Some(timeout_ms),
            ..self
        }
    }

    /// Sends it and waits for the reply. Blocks only this instance.
    ///
    /// # Errors
    /// As [`call`].
    pub fn send<O: Decode>(self, input: impl Encode) -> Result<O, Failure> {
        let Self {
            service,
            method,
            headers,
            timeout_ms,
        } = self;
        let reply = host::client_call(service, method, &input.encode()?, headers, timeout_ms)?;
        O::decode(reply).map_err(|failure| {
            Failure::data_loss(format!(
                "reply of `{service}/{method}`: {}",
                failure.message
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Octets, fake::Host};

    #[test]
    fn sends_headers_and_timeout_and_reads_the_reply() {
        let host = Host::new();
        host.answer("calculator", "Add", |call| {
            assert_eq!(call.body, Octets::from("[1,2]"));
            assert_eq!(call.headers, [("x-a".to_owned(), "b".to_owned())]);
            assert_eq!(call.timeout, Some(Duration::from_millis(250)));
            Ok(Octets::from("3"))
        });
        let timeout = Duration::from_millis(250);
        let sum = request("calculator", "Add")
            .header("x-a", "b")
            .timeout(timeout)
            .send([1, 2]);
        assert_eq!(sum, Ok(3));
    }

    #[test]
    fn a_reply_of_another_shape_is_data_loss() {
        let host = Host::new();
        host.answer("calculator", "Add", |_| Ok(Octets::from("\"three\"")));
        let failure = call::<u8>("calculator", "Add", ()).unwrap_err();
        assert_eq!(failure.kind, Kind::DataLoss);
        assert!(
            failure
                .message
                .starts_with("reply of `calculator/Add`: message is not a valid `u8`")
        );
    }

    #[test]
    fn a_service_that_was_not_granted_is_denied() {
        let _host = Host::new();
        let failure = call::<u8>("payroll", "Pay", ()).unwrap_err();
        assert_eq!(failure.kind, Kind::PermissionDenied);
    }
}
