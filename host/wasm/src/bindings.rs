//! The Rust side of the package in `wit`: names of interfaces, types that cross, shapes of exports.
//!
//! Written by hand rather than generated, because requests are lowered from borrowed data and most
//! imports answer without building what they do not need. wasmtime compares every shape with the
//! component's own when it links and when it looks an export up, so a slip here is a refusal at
//! deploy and never a wrong read.

use postern_core::Kind;
use wasmtime::component::{ComponentType, Lift, Lower, StreamReader, TypedFunc};

/// A function of one instance that borrows what it is called with: kept without a type, because a
/// stored `TypedFunc` fixes the lifetime of what it borrows.
macro_rules! stored {
    ($(#[$doc:meta])* $name:ident: $typed:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(wasmtime::component::Func);

        impl $name {
            /// Takes `func` if it has the shape.
            pub(crate) fn new(
                func: wasmtime::component::Func,
                store: impl wasmtime::AsContext,
            ) -> wasmtime::Result<Self> {
                let _: $typed<'static> = func.typed(store)?;
                Ok(Self(func))
            }

            #[expect(unsafe_code, reason = "nobody else gives a function another lifetime")]
            pub(crate) fn typed<'a>(self) -> $typed<'a> {
                // SAFETY: the function's type must be that of `$typed`. `new` has compared them, and
                // lifetimes do not take part in the comparison.
                unsafe { $typed::new_unchecked(self.0) }
            }
        }
    };
}

pub(crate) mod extension;

/// Version of WASI 0.2 under which wasmtime links its interfaces.
pub(crate) const WASI_VERSION: &str = "0.2.12";
/// Package of every interface that is ours.
pub(crate) const PACKAGE: &str = "postern:gateway";
/// Major and minor version that this host speaks; any patch of it fits.
pub(crate) const VERSION: &str = "0.1";

pub(crate) const CALL: &str = "postern:gateway/call@0.1.0";
pub(crate) const ASYNC_CALL: &str = "postern:gateway/async-call@0.1.0";
pub(crate) const LOG: &str = "postern:gateway/log@0.1.0";
pub(crate) const CONFIG: &str = "postern:gateway/config@0.1.0";
pub(crate) const KV: &str = "postern:gateway/kv@0.1.0";
pub(crate) const CLIENT: &str = "postern:gateway/client@0.1.0";
pub(crate) const METRICS: &str = "postern:gateway/metrics@0.1.0";
pub(crate) const DIRECTORY: &str = "postern:gateway/directory@0.1.0";

/// What `handler.handle` answers. Its octets become `Bytes` without a copy.
pub(crate) type HandleResult = Result<Vec<u8>, Failure>;
pub(crate) type HandleParams<'a> = (&'a str, &'a str, &'a [u8]);
/// What `text-handler.handle-text` answers.
pub(crate) type HandleTextResult = Result<String, Failure>;
pub(crate) type HandleTextParams<'a> = (&'a str, &'a str, &'a str);
pub(crate) type HandleBatchParams<'a> = (&'a str, &'a str, &'a [u8], &'a [u32]);
pub(crate) type HandleStreamParams<'a> = (&'a str, &'a str);
type Handle<'a> = TypedFunc<HandleParams<'a>, (HandleResult,)>;
type HandleText<'a> = TypedFunc<HandleTextParams<'a>, (HandleTextResult,)>;
type HandleBatch<'a> = TypedFunc<HandleBatchParams<'a>, (Vec<HandleResult>,)>;
type HandleStream<'a> = TypedFunc<HandleStreamParams<'a>, (Result<(), Failure>,)>;
/// `async-stream-handler.handle-async`: it is called with what outlives the call.
pub(crate) type HandleAsync =
    TypedFunc<(String, String, StreamReader<u8>), (Result<StreamReader<u8>, Failure>,)>;
/// `health.check`.
pub(crate) type Check = TypedFunc<(), (Report,)>;
/// `describe.services`.
pub(crate) type Services = TypedFunc<(), (Vec<Service>,)>;
/// `schemas.schemas`: names of types and their schemas.
pub(crate) type Schemas = TypedFunc<(), (Vec<(String, String)>,)>;

stored! {
    /// `handler.handle` of one instance.
    HandleFunc: Handle
}
stored! {
    /// `text-handler.handle-text` of one instance.
    HandleTextFunc: HandleText
}
stored! {
    /// `batch-handler.handle-batch` of one instance.
    HandleBatchFunc: HandleBatch
}
stored! {
    /// `stream-handler.handle-stream` of one instance, or `authorizer.authorize`.
    HandleStreamFunc: HandleStream
}

/// `types.failure`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
    pub(crate) details: Option<String>,
}

/// `types.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum FailureKind {
    #[component(name = "cancelled")]
    Cancelled,
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "deadline-exceeded")]
    DeadlineExceeded,
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "already-exists")]
    AlreadyExists,
    #[component(name = "permission-denied")]
    PermissionDenied,
    #[component(name = "resource-exhausted")]
    ResourceExhausted,
    #[component(name = "failed-precondition")]
    FailedPrecondition,
    #[component(name = "aborted")]
    Aborted,
    #[component(name = "out-of-range")]
    OutOfRange,
    #[component(name = "unimplemented")]
    Unimplemented,
    #[component(name = "internal")]
    Internal,
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "data-loss")]
    DataLoss,
    #[component(name = "unauthenticated")]
    Unauthenticated,
}

/// `call.peer`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Peer {
    pub(crate) transport: &'static str,
    pub(crate) address: Option<String>,
}

/// `call.http`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
}

/// `call.request-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum BodyKind {
    #[component(name = "message")]
    Message,
    #[component(name = "messages")]
    Messages,
    #[component(name = "octets")]
    Octets,
}

/// `call.principal`.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// `client.options`.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Options {
    pub(crate) headers: Vec<(String, String)>,
    #[component(name = "timeout-ms")]
    pub(crate) timeout_ms: Option<u64>,
}

/// `health.report`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Report {
    pub(crate) status: Status,
    pub(crate) message: Option<String>,
}

/// `health.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum Status {
    #[component(name = "serving")]
    Serving,
    #[component(name = "degraded")]
    Degraded,
    #[component(name = "not-serving")]
    NotServing,
}

/// `describe.service`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) summary: String,
    pub(crate) methods: Vec<Method>,
}

/// `describe.method`.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) kind: CallKind,
    pub(crate) request: String,
    pub(crate) response: String,
    pub(crate) idempotent: bool,
}

/// `describe.call-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum CallKind {
    #[component(name = "unary")]
    Unary,
    #[component(name = "client-stream")]
    ClientStream,
    #[component(name = "server-stream")]
    ServerStream,
    #[component(name = "bidirectional")]
    Bidirectional,
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        impl From<Kind> for FailureKind {
            fn from(kind: Kind) -> Self {
                match kind { $(Kind::$kind => Self::$kind),* }
            }
        }

        impl From<FailureKind> for Kind {
            fn from(kind: FailureKind) -> Self {
                match kind { $(FailureKind::$kind => Self::$kind),* }
            }
        }
    };
}

kinds!(
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
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_both_conversions() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from(FailureKind::from(kind)), kind);
        }
    }
}
