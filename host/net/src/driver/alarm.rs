//! One timer for a driver whose next deadline moves with every frame.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::bounded::Timer;
use tokio::time::Sleep;

/// Sleeps until the earliest deadline it was told. A deadline that moves back, as idle timers do
/// with every frame, costs nothing: the timer fires once too early and is set again.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether it would ring later than at `deadline`.
    pub(crate) fn is_late(&self, deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            return false;
        };
        let set = self.sleep.as_ref().map(|sleep| sleep.deadline());
        set.is_none_or(|set| deadline < set)
    }

    /// Ready when `deadline` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                self.sleep = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Timer for Alarm {
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.poll(cx, Some(deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_last_deadline_it_was_told() {
        let begin = now();
        let mut alarm = Alarm::new();
        poll_fn(|cx| {
            assert!(alarm.poll(cx, Some(begin + ms(10))).is_pending());
            assert!(alarm.poll(cx, Some(begin + ms(50))).is_pending());
            assert!(alarm.poll(cx, None).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| alarm.poll(cx, Some(begin + ms(30)))).await;
        assert_eq!(now() - begin, ms(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_rings_at_once() {
        let begin = now();
        tokio::time::advance(ms(5)).await;
        poll_fn(|cx| Alarm::new().poll(cx, Some(begin))).await;
        assert_eq!(now() - begin, ms(5));
    }
}
