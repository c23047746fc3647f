//! What an interceptor is working on: a call and its outcome. Changes are kept apart from what was given,
//! so that a guest that traps in the middle has changed nothing.

use bytes::Bytes;
use postern_core::{Body, Call, Error, Headers, Kind, Reply, extension::CallOutcome};

use crate::{
    bindings::Failure,
    convert::{self, failure},
};

/// What a call has come to and what an interceptor makes of it; the call itself is the ambient one.
#[derive(Default)]
pub(crate) struct Exchange {
    /// There once the call has ended.
    outcome: Option<CallOutcome>,
    /// There once something was changed: most interceptors look on.
    changes: Option<Box<Changes>>,
}

/// What a guest has put in place of what was there.
#[derive(Debug, Default)]
pub(crate) struct Replacement {
    headers: Option<Headers>,
    payload: Option<Bytes>,
}

#[derive(Debug, Default)]
struct Changes {
    request: Replacement,
    response: Replacement,
}

/// Which half of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Request,
    Response,
}

impl Exchange {
    /// Of a call that has ended. What stands beside a failure goes no further: who is asked here sees none
    /// of it, and could not take it away.
    pub(crate) fn ended(outcome: CallOutcome) -> Self {
        let outcome = outcome.map_err(|error| Error {
            headers: None,
            ..error
        });
        Self {
            outcome: Some(outcome),
            changes: None,
        }
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        match self.outcome.as_ref()? {
            // A payload that was set has made an answer of it.
            Err(error) if !self.answers() => Some(convert::shown(error)),
            Ok(_) | Err(_) => None,
        }
    }

    /// The headers of `half` as they stand. `given` are those that the request came with.
    pub(crate) fn headers<'a>(&'a self, half: Half, given: &'a Headers) -> Option<&'a Headers> {
        let given = match half {
            Half::Request => Some(given),
            Half::Response => self.reply().map(|reply| &reply.headers),
        };
        self.changed(half)
            .and_then(|change| change.headers.as_ref())
            .or(given)
    }

    /// Puts `headers` in place of those of `half`.
    pub(crate) fn set_headers(&mut self, half: Half, headers: Headers) -> Result<(), Failure> {
        self.check_open(half)?;
        if half == Half::Response && self.failure().is_some() {
            let message = "a failure has no headers; set a payload first";
            return Err(failure(Kind::FailedPrecondition, message));
        }
        self.change(half).headers = Some(headers);
        Ok(())
    }

    /// The message of `half`, for the guest to copy. `given` is the body of the request.
    pub(crate) fn payload(&self, half: Half, given: Option<&Body>) -> Result<Bytes, Failure> {
        let change = self.changed(half);
        if let Some(payload) = change.and_then(|change| change.payload.as_ref()) {
            return Ok(payload.clone());
        }
        if half == Half::Request {
            self.check_open(half)?;
        }
        match self.body(half, given) {
            Some(Body::One(message)) => Ok(message.clone()),
            Some(Body::Empty) | None => Ok(Bytes::new()),
            Some(Body::Messages(_) | Body::Octets(_)) => Err(streamed(half)),
        }
    }

    /// Puts `payload` in place of the message of `half`. `given` is the body of the request.
    pub(crate) fn set_payload(
        &mut self,
        half: Half,
        payload: Bytes,
        given: Option<&Body>,
    ) -> Result<(), Failure> {
        self.check_open(half)?;
        if self.body(half, given).is_some_and(Body::is_stream) {
            return Err(streamed(half));
        }
        self.change(half).payload = Some(payload);
        Ok(())
    }

    /// The outcome as it was given.
    pub(crate) fn into_outcome(self) -> CallOutcome {
        self.outcome
            .unwrap_or_else(|| Err(Error::internal("the outcome of the call is lost")))
    }

    /// Makes the changes of the request.
    pub(crate) fn change_request(self, call: &mut Call) {
        let Some(changes) = self.changes else { return };
        let Replacement { headers, payload } = changes.request;
        if let Some(headers) = headers {
            call.headers = headers;
        }
        if let Some(payload) = payload {
            call.body = Body::One(payload);
        }
    }

    /// What was set as the answer.
    pub(crate) fn answer(self) -> Reply {
        let Replacement { headers, payload } = self.changes.unwrap_or_default().response;
        Reply::new(
            headers.unwrap_or_default(),
            payload.map_or(Body::Empty, Body::One),
        )
    }

    /// The outcome with what was changed.
    pub(crate) fn changed_outcome(mut self) -> CallOutcome {
        let Some(changes) = self.changes.take() else {
            return self.into_outcome();
        };
        let Replacement { headers, payload } = changes.response;
        match (self.into_outcome(), payload) {
            (Ok(reply), payload) => Ok(Reply {
                headers: headers.unwrap_or(reply.headers),
                body: payload.map_or(reply.body, Body::One),
                status: reply.status,
            }),
            (Err(_), Some(payload)) => {
                Ok(Reply::new(headers.unwrap_or_default(), Body::One(payload)))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn reply(&self) -> Option<&Reply> {
        self.outcome.as_ref()?.as_ref().ok()
    }

    /// The body of `half` as it was given.
    fn body<'a>(&'a self, half: Half, given: Option<&'a Body>) -> Option<&'a Body> {
        match half {
            Half::Request => given,
            Half::Response => self.reply().map(|reply| &reply.body),
        }
    }

    /// Whether a payload was set in place of the outcome's.
    fn answers(&self) -> bool {
        let change = self.changed(Half::Response);
        change.is_some_and(|change| change.payload.is_some())
    }

    fn changed(&self, half: Half) -> Option<&Replacement> {
        let changes = self.changes.as_ref()?;
        Some(match half {
            Half::Request => &changes.request,
            Half::Response => &changes.response,
        })
    }

    fn change(&mut self, half: Half) -> &mut Replacement {
        let changes = self.changes.get_or_insert_default();
        match half {
            Half::Request => &mut changes.request,
            Half::Response => &mut changes.response,
        }
    }

    /// A request can be looked at and changed until its call has ended.
    fn check_open(&self, half: Half) -> Result<(), Failure> {
        if half == Half::Request && self.outcome.is_some() {
            let message = "the call has ended; its request is gone";
            return Err(failure(Kind::FailedPrecondition, message));
        }
        Ok(())
    }
}

fn streamed(half: Half) -> Failure {
    let what = match half {
        Half::Request => "request",
        Half::Response => "reply",
    };
    let message = format!("the {what} is a stream; its messages do not pass an interceptor");
    failure(Kind::FailedPrecondition, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_becomes_an_answer_by_its_payload_only() {
        let mut exchange = Exchange::ended(Err(Error::not_found("no user 7")));
        assert!(exchange.failure().is_some());
        assert!(
            exchange
                .set_headers(Half::Response, Headers::new())
                .is_err()
        );
        exchange
            .set_payload(Half::Response, "x".into(), None)
            .unwrap();
        assert!(exchange.failure().is_none());
        exchange
            .set_headers(Half::Response, Headers::new())
            .unwrap();
        assert!(exchange.changed_outcome().is_ok());
    }

    #[test]
    fn a_request_is_closed_once_the_call_has_ended() {
        let mut exchange = Exchange::ended(Ok(Reply::one("x")));
        let body = Body::One("x".into());
        assert!(exchange.payload(Half::Request, Some(&body)).is_err());
        let set = exchange.set_payload(Half::Request, "y".into(), Some(&body));
        assert!(set.is_err());
        assert!(exchange.set_headers(Half::Request, Headers::new()).is_err());
    }

    #[test]
    fn an_unchanged_message_keeps_its_octets() {
        let body = Bytes::from(vec![7; 100]);
        let mut call = Call::unary("users", "find", body.clone());
        let mut exchange = Exchange::default();
        exchange.set_headers(Half::Request, Headers::new()).unwrap();
        exchange.change_request(&mut call);
        let Body::One(after) = call.body else {
            panic!("one message in, one message out");
        };
        assert_eq!(after.as_ptr(), body.as_ptr());
    }
}
