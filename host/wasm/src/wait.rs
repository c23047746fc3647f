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

    use tokio::sync::oneshot;

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

    #[test]
    fn what_is_done_is_given_however_late() {
        let ready = poll(before(Some(clock::now()), async { 7 }));
        assert_eq!(ready, Poll::Ready(Some((7, Duration::ZERO))));
    }

    #[test]
    fn says_how_long_it_has_waited() {
        let (sender, receiver) = oneshot::channel();
        let start = clock::now();
        let mut waits = pin!(before(Some(start + HOUR), receiver));
        assert!(poll(waits.as_mut()).is_pending());
        sender.send(7).unwrap();
        let Poll::Ready(Some((given, waited))) = poll(waits) else {
            panic!("it is done")
        };
        assert_eq!(given, Ok(7));
        assert!((Duration::ZERO..=clock::since(start)).contains(&waited));
    }
}
