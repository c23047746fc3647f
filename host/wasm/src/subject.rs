//! What a role beside handlers is working on: the call and its outcome, a frame, or the members of
//! a service. Changes are kept apart from what was given, so that a guest that traps half way has
//! changed nothing.

use bytes::Bytes;
use postern_core::{Body, Call, Error, Headers, Kind, Reply, extension::Outcome, wire::Frame};

use crate::{
    bindings::Failure,
    convert::{self, failure},
};

/// What imports of one role are about.
pub(crate) enum Subject {
    Exchange(Exchange),
    Frame(Framed),
    Candidates(Candidates),
}

/// What a call has come to and what an interceptor makes of it; the call itself is the ambient one.
#[derive(Default)]
pub(crate) struct Exchange {
    /// There once the call has ended.
    outcome: Option<Outcome>,
    /// There once something was changed: most interceptors look on.
    changes: Option<Box<Changes>>,
}

#[derive(Debug, Default)]
struct Changes {
    request: Change,
    response: Change,
}

/// A frame, seen by a frame extension.
pub(crate) struct Framed {
    frame: Frame,
    change: Change,
}

/// What a balancer may know of the members while it picks.
pub(crate) struct Candidates {
    /// One bit for each of the first 64 members, the first in the lowest bit.
    first: u64,
    /// The same for those behind them; sets are seldom that large, and a small one is not allocated.
    rest: Vec<u64>,
    pub(crate) random: u64,
}

/// What a guest has put in place of what was there.
#[derive(Debug, Default)]
pub(crate) struct Change {
    headers: Option<Headers>,
    payload: Option<Bytes>,
}

/// Which half of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Request,
    Response,
}

impl Exchange {
    /// Of a call that has ended.
    pub(crate) const fn ended(outcome: Outcome) -> Self {
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
    pub(crate) fn into_outcome(self) -> Outcome {
        self.outcome
            .unwrap_or_else(|| Err(Error::internal("the outcome of the call is lost")))
    }

    /// Makes the changes of the request.
    pub(crate) fn change_request(self, call: &mut Call) {
        let Some(changes) = self.changes else { return };
        let Change { headers, payload } = changes.request;
        if let Some(headers) = headers {
            call.headers = headers;
        }
        if let Some(payload) = payload {
            call.body = Body::One(payload);
        }
    }

    /// What was set as the answer.
    pub(crate) fn answer(self) -> Reply {
        let Change { headers, payload } = self.changes.unwrap_or_default().response;
        Reply::new(
            headers.unwrap_or_default(),
            payload.map_or(Body::Empty, Body::One),
        )
    }

    /// The outcome with what was changed.
    pub(crate) fn changed_outcome(mut self) -> Outcome {
        let Some(changes) = self.changes.take() else {
            return self.into_outcome();
        };
        let Change { headers, payload } = changes.response;
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

    fn changed(&self, half: Half) -> Option<&Change> {
        let changes = self.changes.as_ref()?;
        Some(match half {
            Half::Request => &changes.request,
            Half::Response => &changes.response,
        })
    }

    fn change(&mut self, half: Half) -> &mut Change {
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

impl Framed {
    pub(crate) fn new(frame: Frame) -> Self {
        Self {
            frame,
            change: Change::default(),
        }
    }

    pub(crate) fn headers(&self) -> &Headers {
        self.change.headers.as_ref().unwrap_or(&self.frame.headers)
    }

    pub(crate) fn set_headers(&mut self, headers: Headers) {
        self.change.headers = Some(headers);
    }

    pub(crate) fn payload(&self) -> &Bytes {
        self.change.payload.as_ref().unwrap_or(&self.frame.payload)
    }

    pub(crate) fn set_payload(&mut self, payload: Bytes) {
        self.change.payload = Some(payload);
    }

    /// The frame as it was given.
    pub(crate) fn into_given(self) -> Frame {
        self.frame
    }

    /// The frame with what was changed.
    pub(crate) fn into_changed(self) -> Frame {
        let Self { frame, change } = self;
        Frame {
            headers: change.headers.unwrap_or(frame.headers),
            payload: change.payload.unwrap_or(frame.payload),
            ..frame
        }
    }
}

impl Candidates {
    /// Asks `may` about each of `n_members`.
    pub(crate) fn new(n_members: usize, random: u64, may: &dyn Fn(usize) -> bool) -> Self {
        let word = |word_idx: usize| {
            let members = word_idx * 64..n_members.min(word_idx * 64 + 64);
            members
                .filter(|index| may(*index))
                .fold(0, |word, index| word | 1 << (index % 64))
        };
        Self {
            first: word(0),
            rest: (1..n_members.div_ceil(64)).map(word).collect(),
            random,
        }
    }

    pub(crate) fn is_usable(&self, index: u32) -> bool {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let word = match (index / 64).checked_sub(1) {
            None => self.first,
            Some(word_idx) => self.rest.get(word_idx).copied().unwrap_or_default(),
        };
        word >> (index % 64) & 1 == 1
    }
}

/// Headers with `name` standing once, with `value`.
pub(crate) fn with_header(headers: &Headers, name: &str, value: &str) -> Result<Headers, Failure> {
    if name.is_empty() {
        let message = "header name of 0 octets is not within 1 to 255";
        return Err(failure(Kind::InvalidArgument, message));
    }
    let mut changed = without_header(headers, name);
    let pushed = changed.push(name, value);
    pushed.map_err(|error| failure(Kind::InvalidArgument, error.to_string()))?;
    Ok(changed)
}

/// Headers without those of that name.
pub(crate) fn without_header(headers: &Headers, name: &str) -> Headers {
    headers.without_key(name.as_bytes())
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

    #[test]
    fn usable_is_told_at_the_edges_of_words_and_of_the_set() {
        let candidates = Candidates::new(65, 0, &|index| index != 63);
        assert!(candidates.is_usable(0) && candidates.is_usable(64));
        assert!(!candidates.is_usable(63));
        assert!(!candidates.is_usable(65) && !candidates.is_usable(u32::MAX));
    }

    #[test]
    fn a_header_that_is_set_stands_once() {
        let mut headers = Headers::new();
        headers.push("a", "1").unwrap();
        headers.push("b", "2").unwrap();
        headers.push("a", "3").unwrap();
        let changed = with_header(&headers, "a", "4").unwrap();
        let all: Vec<_> = changed
            .iter()
            .map(|(key, value)| (key, value.into_owned()))
            .collect();
        assert_eq!(all, [(&b"b"[..], b"2".to_vec()), (b"a", b"4".to_vec())]);
        assert!(with_header(&headers, "", "4").is_err());
        assert!(with_header(&headers, &"k".repeat(256), "4").is_err());
    }
}
