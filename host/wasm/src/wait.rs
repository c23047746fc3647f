//! Waiting on behalf of a call or its guest, until the deadline of the call at most.
//!
//! No timer is armed for that deadline: whoever bounds the call polls it then
//! (`postern_core::bounded`), and what still waits looks at the clock.

use std::{
    pin::pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use postern_system::clock;

/// What `future` gives and how long that took; `None` when it is not done and is polled at `deadline` or
/// later. What is ready at once costs no look at the clock.
pub(crate) async fn before<T>(
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
    std::future::poll_fn(poll).await
}

#[cfg(test)]
mod tests {
    use std::{future::pending, task::Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn says_at_the_deadline_that_it_is_not_done_when_it_is_polled() {
        let second = Duration::from_secs(1);
        let mut waits = pin!(before(Some(clock::now() + second), pending::<()>()));
        let mut poll = || waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        tokio::time::advance(second).await;
        assert_eq!(poll(), Poll::Ready(None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_is_given_however_late_with_its_time() {
        let second = Duration::from_secs(1);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut waits = pin!(before(Some(clock::now() + second), receiver));
        let mut poll = || waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        tokio::time::advance(second * 2).await;
        sender.send(7).unwrap();
        assert_eq!(poll(), Poll::Ready(Some((Ok(7), second * 2))));
        assert_eq!(before(None, async { 7 }).await, Some((7, Duration::ZERO)));
    }
}
