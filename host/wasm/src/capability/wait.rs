//! Waiting on behalf of a guest: only the guest's fiber blocks, and never past its end.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use crate::trap::Stop;

/// Waits for `future` until `end`; gives what came and how long it took. What is ready at once costs
/// neither a look at the clock nor a timer.
pub(super) async fn until<T>(
    end: Option<Instant>,
    stop: Stop,
    future: impl Future<Output = T>,
) -> Result<(T, Duration), Stop> {
    let mut future = pin!(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
    if let Poll::Ready(output) = first.await {
        return Ok((output, Duration::ZERO));
    }
    let start = Instant::now();
    let output = match end {
        Some(end) => tokio::time::timeout_at(end.into(), future)
            .await
            .map_err(|_| stop)?,
        None => future.await,
    };
    Ok((output, start.elapsed()))
}
