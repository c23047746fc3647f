//! Shapes of the roles beside handlers: `balancer`, the interceptors, `frame-extension`,
//! `authenticator`, `authorizer`, `event-handler`.

use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc};

use super::Failure;

pub(crate) const REQUEST: &str = "postern:gateway/request@0.1.0";
pub(crate) const RESPONSE: &str = "postern:gateway/response@0.1.0";
pub(crate) const FRAME: &str = "postern:gateway/frame@0.1.0";
pub(crate) const CANDIDATES: &str = "postern:gateway/candidates@0.1.0";
pub(crate) const EVENTS: &str = "postern:gateway/events@0.1.0";

pub(crate) type Nothing = Result<(), Failure>;

pub(crate) type UpdateParams = (Vec<Candidate>,);
pub(crate) type PickParams = (u64,);
pub(crate) type PickResult = (Option<u32>,);
pub(crate) type DoneParams = (u32, CallOutcome, u64);
pub(crate) type OnRequestResult = (Result<Action, Failure>,);
pub(crate) type ShouldHandleParams = (FrameHead,);
pub(crate) type HandleFrameResult = (Result<Verdict, Failure>,);
pub(crate) type AuthenticateParams = (Credentials,);
pub(crate) type AuthenticateResult = (Result<Option<Identity>, Failure>,);
/// Topic, content type, payload.
pub(crate) type OnEventParams<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// `balancer.update`.
pub(crate) type Update = TypedFunc<UpdateParams, ()>;
/// `balancer.pick`.
pub(crate) type Pick = TypedFunc<PickParams, PickResult>;
/// `balancer.done`.
pub(crate) type Done = TypedFunc<DoneParams, ()>;
/// `request-interceptor.on-request`.
pub(crate) type OnRequest = TypedFunc<(), OnRequestResult>;
/// `response-interceptor.on-response`.
pub(crate) type OnResponse = TypedFunc<(), (Nothing,)>;
/// `frame-extension.should-handle`.
pub(crate) type ShouldHandle = TypedFunc<ShouldHandleParams, (bool,)>;
/// `frame-extension.handle-frame`.
pub(crate) type HandleFrame = TypedFunc<(), HandleFrameResult>;
/// `authenticator.authenticate`.
pub(crate) type Authenticate = TypedFunc<AuthenticateParams, AuthenticateResult>;
type OnEvent<'a> = TypedFunc<OnEventParams<'a>, (Nothing,)>;

stored! {
    /// `event-handler.on-event` of one instance.
    OnEventFunc: OnEvent
}

/// `balancer.instance`.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    pub(crate) weight: u32,
    pub(crate) zone: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) metadata: Vec<(String, String)>,
}

/// `balancer.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum CallOutcome {
    #[component(name = "success")]
    Success,
    #[component(name = "failure")]
    Failure,
    #[component(name = "timeout")]
    Timeout,
}

/// `interceptor.action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum Action {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "answer")]
    Answer,
}

/// `frame-extension.frame-head`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct FrameHead {
    pub(crate) kind: FrameKind,
    pub(crate) direction: Direction,
    #[component(name = "flag-bits")]
    pub(crate) flag_bits: u8,
    #[component(name = "header-bytes")]
    pub(crate) header_bytes: u32,
    #[component(name = "payload-bytes")]
    pub(crate) payload_bytes: u32,
}

/// `frame-extension.frame-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum FrameKind {
    #[component(name = "hello")]
    Hello,
    #[component(name = "welcome")]
    Welcome,
    #[component(name = "data")]
    Data,
    #[component(name = "ping")]
    Ping,
    #[component(name = "pong")]
    Pong,
    #[component(name = "bye")]
    Bye,
    #[component(name = "ack")]
    Ack,
    #[component(name = "err")]
    Err,
}

/// `frame-extension.direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Direction {
    #[component(name = "inbound")]
    Inbound,
    #[component(name = "outbound")]
    Outbound,
}

/// `frame-extension.verdict`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum Verdict {
    #[component(name = "pass")]
    Pass,
    #[component(name = "drop")]
    Drop,
}

/// `authenticator.credentials`. Not `Debug`: the token is secret.
#[derive(Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Credentials {
    pub(crate) scheme: String,
    pub(crate) token: String,
}

/// `authenticator.identity`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) claims: Vec<(String, String)>,
    #[component(name = "valid-ms")]
    pub(crate) valid_ms: Option<u64>,
}
