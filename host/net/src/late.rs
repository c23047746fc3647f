//! Parts of a call's way that know whom they wait for, and are asked at its deadline.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use crate::driver;

/// What `future` gives; `None` when it is not done and is polled at `deadline` or later. Arms no
/// timer: whoever bounds the call polls it then (`postern_core::bounded`).
pub async fn before<T>(
    deadline: Option<Instant>,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let poll = |cx: &mut Context<'_>| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if deadline.is_some_and(|at| driver::now() >= at) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    };
    std::future::poll_fn(poll).await
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin, task::Waker, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn says_at_the_deadline_that_it_is_not_done_when_it_is_asked() {
        let second = Duration::from_secs(1);
        let waiting = pin!(pending::<()>());
        let mut waits = pin!(before(Some(driver::now() + second), waiting));
        let mut poll = || waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        tokio::time::advance(second).await;
        assert_eq!(poll(), Poll::Ready(None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_is_given_however_late() {
        let deadline = Some(driver::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(before(deadline, pin!(async { 7 })).await, Some(7));
    }
}
