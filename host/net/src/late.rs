//! Parts of a call's way that know whom they wait for, and are asked at its deadline.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::timeout;

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
    poll_fn(poll).await
}

/// What `future` gives, unless it takes longer than `limit`. Arms no timer for what is at hand, or is when
/// the task has moved whatever else it moves: it is asked twice before.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut has_waited = false;
    let at_hand = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if has_waited => Poll::Ready(None),
        Poll::Pending => {
            has_waited = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match at_hand.await {
        Some(value) => Some(value),
        // Few come here, and the timer is large.
        None => Box::pin(timeout(limit, future)).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, task::Waker};

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

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_within_its_time_is_none() {
        let second = Duration::from_secs(1);
        assert_eq!(within(Duration::ZERO, async { 7 }).await, Some(7));
        assert_eq!(
            within(Duration::ZERO, tokio::task::yield_now()).await,
            Some(())
        );
        assert_eq!(
            within(2 * second, tokio::time::sleep(second)).await,
            Some(())
        );
        assert_eq!(within(second, pending::<()>()).await, None);
    }
}
