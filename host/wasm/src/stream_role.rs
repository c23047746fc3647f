//! What a role for calls of many messages is to `entry/stream.rs`: how its function is called.

use crate::{
    bindings::Failure, capability::stream::StreamEnds, exports::Functions, instance::Instance,
};

/// A role for calls of many messages.
pub(crate) trait StreamRole: Functions {
    /// Enters the guest, which is told of the call by what was put into its store, and runs it until the
    /// reply has ended.
    fn enter(
        instance: &mut Instance,
        service: &str,
        method: &str,
        ends: StreamEnds,
    ) -> impl Future<Output = wasmtime::Result<Result<(), Failure>>> + Send;
}
