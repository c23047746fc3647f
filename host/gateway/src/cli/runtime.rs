//! The asynchronous runtime of a command.

use super::failure::CommandFailure;

/// Runs `future` to its end on a runtime of its own.
pub(super) fn block_on<T>(
    future: impl Future<Output = Result<T, CommandFailure>>,
) -> Result<T, CommandFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| CommandFailure::new(format!("no runtime: {error}")))?;
    let result = runtime.block_on(future);
    // A task that blocks, such as a compiler that runs, must not hold up the end.
    runtime.shutdown_background();
    result
}
