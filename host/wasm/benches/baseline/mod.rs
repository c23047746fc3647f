//! A component entered by wasmtime alone: what an entry costs with nothing of ours around it.

use wasmtime::{
    Config, Engine, Store,
    component::{
        Component, ComponentNamedList, ComponentType, Instance, Lift, Linker, Lower, TypedFunc,
    },
};

/// The interfaces of interceptors.
pub(crate) const REQUEST: &str = "postern:gateway/request-interceptor@0.1.0";
pub(crate) const RESPONSE: &str = "postern:gateway/response-interceptor@0.1.0";

/// A component in a store of its own.
pub(crate) struct Baseline {
    component: Component,
    instance: Instance,
    pub(crate) store: Store<()>,
}

/// `types.kind`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum Kind {
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

/// `types.failure`.
#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "only its shape matters")]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    details: Option<String>,
}

/// `request-interceptor.action`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
pub(crate) enum Action {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "answer")]
    Answer,
}

/// What `on-request` gives.
pub(crate) type Requested = (Result<Action, Failure>,);

/// What `on-response` gives.
pub(crate) type Responded = (Result<(), Failure>,);

impl Baseline {
    pub(crate) fn new(component: &[u8]) -> Self {
        let mut config = Config::new();
        config.concurrency_support(false).epoch_interruption(true);
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::new(&engine, component).expect("a component");
        let mut linker = Linker::new(&engine);
        linker
            .define_unknown_imports_as_traps(&component)
            .expect("any import can trap");
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = linker
            .instantiate(&mut store, &component)
            .expect("an instance");
        Self {
            component,
            instance,
            store,
        }
    }

    /// The function `name` of `interface`.
    pub(crate) fn func<P, R>(&mut self, interface: &str, name: &str) -> TypedFunc<P, R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let interface = self
            .component
            .get_export_index(None, interface)
            .expect("the interface");
        let func = self
            .component
            .get_export_index(Some(&interface), name)
            .expect("the function");
        self.instance
            .get_typed_func(&mut self.store, func)
            .expect("of that type")
    }
}
