//! Enters plugins as the gateway does, one method per role.

use std::time::Duration;

use crate::{
    balancer::{Balancer, Candidates},
    body::{Encode, Octets},
    event::{Event, EventHandler},
    failure::Failure,
    fake::{
        exchange::{Crossings, Half, Headers},
        host::Host,
        state::{self, Published},
    },
    frame::{Direction, Frame, FrameExtension, FrameHead, FrameKind, Verdict},
    interceptor::{Action, Reply, Request, RequestInterceptor, Response, ResponseInterceptor},
};

/// A frame for [`Host::on_frame`], and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeFrame {
    pub kind: FrameKind,
    pub direction: Direction,
    pub flag_bits: u8,
    pub headers: Headers,
    pub payload: Octets,
}

/// What a frame extension did with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// It did not want to see it.
    Untouched,
    Passed(WholeFrame),
    Dropped,
}

impl Host {
    /// Sets the call on its way; its headers are those of [`Host::header`].
    pub fn request(&self, service: &str, method: &str, payload: impl Into<Octets>) -> &Self {
        let payload = payload.into();
        state::with(|state| {
            service.clone_into(&mut state.subject.service);
            method.clone_into(&mut state.subject.method);
            state.subject.request.payload = payload;
        });
        self
    }

    /// Makes request and reply streams, whose messages no interceptor sees.
    pub fn streaming(&self) -> &Self {
        state::with(|state| state.subject.streaming = true);
        self
    }

    /// Says how long the call took, for `on_response`.
    pub fn elapsed(&self, elapsed: Duration) -> &Self {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        state::with(|state| state.subject.elapsed_micros = micros);
        self
    }

    /// Shows an interceptor the call. What it changed is in [`Host::request_headers`] and
    /// [`Host::request_payload`].
    ///
    /// # Errors
    /// What it refuses the call with.
    pub fn on_request(&self, plugin: &mut impl RequestInterceptor) -> Result<Action, Failure> {
        state::with(|state| {
            state.subject.ended = false;
            state.subject.request.headers = state.request_headers.clone();
        });
        plugin.on_request(&mut Request::of_call())
    }

    /// Shows an interceptor what the call came to; returns what the caller gets.
    ///
    /// # Errors
    /// The failure that the caller gets.
    pub fn on_response(
        &self,
        plugin: &mut impl ResponseInterceptor,
        outcome: Result<Reply, Failure>,
    ) -> Result<Reply, Failure> {
        let (reply, failed) = match outcome {
            Ok(reply) => (reply, None),
            Err(failure) => (Reply::default(), Some(failure)),
        };
        let headers = reply.headers.into_iter();
        let half = Half {
            headers: headers
                .map(|(name, value)| (name, value.into_bytes()))
                .collect(),
            payload: reply.payload,
        };
        state::with(|state| {
            state.subject.ended = true;
            state.subject.request.headers = state.request_headers.clone();
            state.subject.response = half;
            state.subject.failed = failed;
        });
        plugin.on_response(&Request::of_call(), &mut Response::of_call())?;
        state::with(|state| match state.subject.failed.clone() {
            Some(failure) => Err(failure),
            None => Ok(Reply::from(&state.subject.response)),
        })
    }

    /// Shows a frame extension a frame.
    ///
    /// # Errors
    /// What it refuses the frame with.
    pub fn on_frame(
        &self,
        plugin: &mut impl FrameExtension,
        frame: WholeFrame,
    ) -> Result<Handled, Failure> {
        if !plugin.should_handle(&frame.head()) {
            return Ok(Handled::Untouched);
        }
        let half = Half {
            headers: frame.headers,
            payload: frame.payload,
        };
        state::with(|state| state.subject.frame = half);
        if plugin.handle_frame(&mut Frame::in_hand())? == Verdict::Drop {
            return Ok(Handled::Dropped);
        }
        let Half { headers, payload } = state::with(|state| state.subject.frame.clone());
        Ok(Handled::Passed(WholeFrame {
            headers,
            payload,
            ..frame
        }))
    }

    /// Says which instances may be picked. All may unless this is said.
    pub fn usable(&self, indices: impl IntoIterator<Item = usize>) -> &Self {
        let usable = indices.into_iter().collect();
        state::with(|state| state.subject.usable = Some(usable));
        self
    }

    /// Asks a balancer, with a random number that follows from the one before.
    pub fn pick(&self, plugin: &mut impl Balancer, key: u64) -> Option<usize> {
        state::with(|state| state.subject.random = next_random(state.subject.random));
        plugin.pick(key, &Candidates::of_pick())
    }

    /// Tells a plugin of an event.
    ///
    /// # Errors
    /// What it fails with.
    pub fn on_event(
        &self,
        plugin: &mut impl EventHandler,
        topic: &str,
        value: impl Encode,
    ) -> Result<(), Failure> {
        plugin.on_event(Event {
            topic: topic.to_owned(),
            content_type: Some("application/json".to_owned()),
            payload: Octets(value.encode()?),
        })
    }

    /// Says one of the principal's claims.
    pub fn claim(&self, name: &str, value: &str) -> &Self {
        state::with(|state| state.claims.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// Grants the plugin a topic to publish under, with so many subscribers.
    pub fn topic(&self, topic: &str, n_subscribers: u32) -> &Self {
        state::with(|state| state.topics.insert(topic.to_owned(), n_subscribers));
        self
    }

    /// The events that the plugin published so far.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        state::with(|state| state.published.clone())
    }

    /// The request's headers as the interceptor left them.
    #[must_use]
    pub fn request_headers(&self) -> Headers {
        state::with(|state| state.subject.request.headers.clone())
    }

    /// The request's message as the interceptor left it.
    #[must_use]
    pub fn request_payload(&self) -> Octets {
        state::with(|state| state.subject.request.payload.clone())
    }

    /// How often payloads crossed so far, of requests, responses and frames.
    #[must_use]
    pub fn crossings(&self) -> Crossings {
        state::with(|state| state.subject.crossings)
    }
}

impl WholeFrame {
    /// A frame without headers and flags.
    #[must_use]
    pub fn new(kind: FrameKind, direction: Direction, payload: impl Into<Octets>) -> Self {
        Self {
            kind,
            direction,
            flag_bits: 0,
            headers: Vec::new(),
            payload: payload.into(),
        }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// As an extension is asked about it. A header has one octet for the length of its name and one
    /// for that of its value.
    fn head(&self) -> FrameHead {
        let bytes = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
        let headers = self.headers.iter().map(|(k, v)| 2 + k.len() + v.len());
        FrameHead {
            kind: self.kind,
            direction: self.direction,
            flag_bits: self.flag_bits,
            header_bytes: bytes(headers.sum()),
            payload_bytes: bytes(self.payload.len()),
        }
    }
}

impl From<&Half> for Reply {
    fn from(half: &Half) -> Self {
        let text = |octets: &Vec<u8>| String::from_utf8_lossy(octets).into_owned();
        let headers = half.headers.iter();
        Self {
            headers: headers
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            payload: half.payload.clone(),
        }
    }
}

/// SplitMix64's step and mix, in one: the same picks in every run.
const fn next_random(before: u64) -> u64 {
    let state = before.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
