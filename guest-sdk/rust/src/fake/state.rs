//! What the fake host knows, one per thread.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use crate::{
    body::Octets,
    call::{BodyKind, Http, Peer, Principal},
    directory::ServiceInstance,
    failure::Failure,
    fake::{
        capabilities::Metrics,
        exchange::{Headers, Subject},
    },
    log::Level,
};

/// One line that the plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

/// One call that the plugin made through `client`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCall {
    pub service: String,
    pub method: String,
    pub body: Octets,
    pub headers: Vec<(String, String)>,
    /// As the plugin asked for, in whole milliseconds.
    pub timeout: Option<Duration>,
}

/// One event that the plugin published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub topic: String,
    pub content_type: Option<String>,
    pub payload: Octets,
}

pub(crate) type Answer = Rc<dyn Fn(&ClientCall) -> Result<Octets, Failure>>;

/// The whole of it. `Default` is a host that grants nothing and holds nothing.
pub(crate) struct State {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) kv: BTreeMap<String, Vec<u8>>,
    pub(crate) kv_failure: Option<Failure>,
    pub(crate) answers: BTreeMap<(String, String), Answer>,
    pub(crate) client_calls: Vec<ClientCall>,
    pub(crate) lines: Vec<Line>,
    pub(crate) level: Level,
    pub(crate) request_headers: Vec<(String, Vec<u8>)>,
    pub(crate) http: Option<Http>,
    pub(crate) request_kind: BodyKind,
    pub(crate) request_trailers: Vec<(String, Vec<u8>)>,
    pub(crate) reply_headers: Headers,
    pub(crate) reply_status: Option<u16>,
    pub(crate) reply_trailers: Headers,
    pub(crate) replies_octets: bool,
    /// A streaming method is being called.
    pub(crate) is_streaming: bool,
    pub(crate) peer: Peer,
    pub(crate) principal: Option<Principal>,
    pub(crate) claims: BTreeMap<String, String>,
    pub(crate) remaining_ms: u64,
    pub(crate) correlation_id: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) incoming: VecDeque<Result<Vec<u8>, Failure>>,
    pub(crate) outgoing: Vec<Octets>,
    /// Why the request of an asynchronous stream has ended before its end.
    pub(crate) request_failure: Option<Failure>,
    /// After how many messages its caller leaves.
    pub(crate) leaves_after: Option<usize>,
    /// Topics that the plugin may publish under, and how many subscribers each has.
    pub(crate) topics: BTreeMap<String, u32>,
    pub(crate) published: Vec<Published>,
    pub(crate) metrics: Metrics,
    /// Who answers for the services that the plugin may look up.
    pub(crate) services: BTreeMap<String, Vec<ServiceInstance>>,
    pub(crate) subject: Subject,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Works on this thread's host. `body` must not call the host itself.
pub(crate) fn with<R>(body: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(body)
}

impl Default for State {
    fn default() -> Self {
        Self {
            config: BTreeMap::new(),
            kv: BTreeMap::new(),
            kv_failure: None,
            answers: BTreeMap::new(),
            client_calls: Vec::new(),
            lines: Vec::new(),
            level: Level::Trace,
            request_headers: Vec::new(),
            http: None,
            request_kind: BodyKind::Message,
            request_trailers: Vec::new(),
            reply_headers: Vec::new(),
            reply_status: None,
            reply_trailers: Vec::new(),
            replies_octets: false,
            is_streaming: false,
            peer: Peer {
                transport: "memory".to_owned(),
                address: None,
            },
            principal: None,
            claims: BTreeMap::new(),
            remaining_ms: REMAINING_MS,
            correlation_id: "1".to_owned(),
            traceparent: None,
            incoming: VecDeque::new(),
            outgoing: Vec::new(),
            request_failure: None,
            leaves_after: None,
            topics: BTreeMap::new(),
            published: Vec::new(),
            metrics: Metrics::default(),
            services: BTreeMap::new(),
            subject: Subject::default(),
        }
    }
}

/// A plugin's default time per call.
const REMAINING_MS: u64 = 1000;
