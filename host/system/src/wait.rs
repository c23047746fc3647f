//! Waiting until a time, without a timer where none is needed.
//!
//! Parts of a call's way know whom they wait for, and are asked at its deadline: whoever bounds the call
//! polls it then (`postern_core::bounded`), and what still waits looks at the clock.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::clock;

/// What `future` gives and how long that took; `None` when it is not done and is polled at `deadline` or
/// later. What is ready at once costs no look at the clock. A large future is given pinned.
pub async fn before<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<(T, Duration)> {
    let mut future = pin!(future);
    let mut start = None;
    let poll = |cx: &mut Context<'_>| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            let waited = start.map_or(Duration::ZERO, clock::since);
            return Poll::Ready(Some((output, waited)));
        }
        let now = clock::now();
        start.get_or_insert(now);
        match deadline {
            Some(deadline) if now >= deadline => Poll::Ready(None),
            Some(_) | None => Poll::Pending,
        }
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

    const HOUR: Duration = Duration::from_secs(3600);

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn says_at_the_deadline_that_it_is_not_done_when_it_is_polled() {
        let now = clock::now();
        assert_eq!(poll(before(Some(now), pending::<()>())), Poll::Ready(None));
        assert!(poll(before(Some(now + HOUR), pending::<()>())).is_pending());
        assert!(poll(before(None, pending::<()>())).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_told_at_the_deadline_and_not_before() {
        let mut waits = pin!(before(Some(clock::now() + HOUR), pending::<()>()));
        assert!(poll(waits.as_mut()).is_pending());
        tokio::time::advance(HOUR).await;
        assert_eq!(poll(waits), Poll::Ready(None));
    }

    #[test]
    fn what_is_done_is_given_however_late() {
        let ready = poll(before(Some(clock::now()), async { 7 }));
        assert_eq!(ready, Poll::Ready(Some((7, Duration::ZERO))));
    }

    #[tokio::test(start_paused = true)]
    async fn says_how_long_it_has_waited() {
        let mut n_polls = 0;
        let second = poll_fn(|_| {
            n_polls += 1;
            if n_polls == 2 {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        });
        let mut waits = pin!(before(None, second));
        assert!(poll(waits.as_mut()).is_pending());
        tokio::time::advance(HOUR).await;
        assert_eq!(poll(waits), Poll::Ready(Some((7, HOUR))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_within_its_time_is_none() {
        const ZERO: Duration = Duration::ZERO;
        assert_eq!(within(ZERO, async { 7 }).await, Some(7));
        assert_eq!(within(ZERO, tokio::task::yield_now()).await, Some(()));
        assert_eq!(within(2 * HOUR, tokio::time::sleep(HOUR)).await, Some(()));
        assert_eq!(within(HOUR, pending::<()>()).await, None);
    }
}
