//! Guests that do several things at one time: the event loop of their store as a future within the limits
//! of a guest.
//!
//! The loop cannot be asked for its time from within: a guest that computes, and an import that waits,
//! have the store to themselves. So it is bounded from outside, by whoever polls it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use postern_system::clock;
use tokio::time::Sleep;
use wasmtime::component::Accessor;

use crate::{progress::Progress, state::StoreState, trap::Stop};

/// For which ends of its call a guest waits, and for how long it has waited. Known to the ends, which lie in
/// the store, and to whoever polls its event loop.
#[derive(Debug, Default)]
pub(crate) struct EndWaits {
    inbound: AtomicBool,
    outbound: AtomicBool,
    /// Time that the guest has waited and was not given back.
    owed_micros: AtomicU64,
    /// Whether a part of a body has crossed since that was asked last.
    has_crossed: AtomicBool,
}

/// The bounds of one entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopBounds {
    /// When whoever waits for the reply stops waiting.
    pub(crate) deadline: Option<Instant>,
    /// For what the guest does itself between two parts of a body that cross.
    pub(crate) time_max: Duration,
}

impl EndWaits {
    /// Whether the guest waits for the next part of the request.
    pub(crate) fn set_inbound(&self, waits: bool) {
        self.inbound.store(waits, Relaxed);
    }

    /// Whether the guest waits until a part of the reply is taken.
    pub(crate) fn set_outbound(&self, waits: bool) {
        self.outbound.store(waits, Relaxed);
    }

    /// A part of a body has crossed, in or out: the guest has a full allowance until the next.
    pub(crate) fn on_crossing(&self, state: &mut StoreState) {
        self.give_back(state);
        state.on_message();
        self.has_crossed.store(true, Relaxed);
    }

    fn any(&self) -> bool {
        self.inbound.load(Relaxed) || self.outbound.load(Relaxed)
    }

    fn owe(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.owed_micros.fetch_add(micros, Relaxed);
    }

    fn give_back(&self, state: &mut StoreState) {
        let micros = self.owed_micros.swap(0, Relaxed);
        if micros > 0 {
            state.give_back(Duration::from_micros(micros));
        }
    }
}

/// Awaits within the event loop of a store. It is polled before the guest goes on, and gives the guest back
/// the time that it has waited until then.
pub(crate) async fn within<T>(
    accessor: &Accessor<StoreState>,
    waits: &EndWaits,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if waits.owed_micros.load(Relaxed) > 0 {
            accessor.with(|mut access| waits.give_back(access.get()));
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// Runs the event loop of a store until it is done.
///
/// # Errors
/// What the loop ends with; `Stop::Deadline` when it is polled after the deadline, `Stop::Time` when the
/// guest neither computes nor waits for an end of its call for longer than it may work.
pub(crate) async fn drive<T>(
    event_loop: impl Future<Output = wasmtime::Result<T>>,
    waits: &EndWaits,
    progress: &Progress,
    bounds: LoopBounds,
) -> wasmtime::Result<T> {
    let mut event_loop = pin!(event_loop);
    let mut idle = Idle::new(bounds);
    poll_fn(|cx| {
        idle.end(waits);
        progress.waits.store(false, Relaxed);
        match event_loop.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                let waits_for_end = waits.any();
                progress.waits.store(waits_for_end, Relaxed);
                if waits.has_crossed.swap(false, Relaxed) {
                    idle.renew();
                }
                idle.begin(waits_for_end, cx).map(|stop| Err(stop.into()))
            }
        }
    })
    .await
}

/// The time between two polls.
struct Idle {
    bounds: LoopBounds,
    /// When the guest's own time is over, as things stand.
    time_end: Instant,
    /// Since when the guest waits for an end of its call.
    since: Option<Instant>,
    /// Armed while the guest waits for something else, which may never come.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    fn new(bounds: LoopBounds) -> Self {
        Self {
            bounds,
            time_end: clock::now() + bounds.time_max,
            since: None,
            timer: None,
        }
    }

    /// A part of a body has crossed.
    fn renew(&mut self) {
        self.time_end = clock::now() + self.bounds.time_max;
    }

    /// Ready with why the guest must stop.
    fn begin(&mut self, waits_for_end: bool, cx: &mut Context<'_>) -> Poll<Stop> {
        let now = clock::now();
        if self.bounds.deadline.is_some_and(|deadline| now >= deadline) {
            return Poll::Ready(Stop::Deadline);
        }
        if waits_for_end {
            self.since = Some(now);
            return Poll::Pending;
        }
        let stop = Stop::Time {
            limit: self.bounds.time_max,
        };
        if now >= self.time_end {
            return Poll::Ready(stop);
        }
        let end = tokio::time::Instant::from_std(self.time_end);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| stop)
    }

    fn end(&mut self, waits: &EndWaits) {
        if let Some(since) = self.since.take() {
            let waited = clock::since(since);
            self.time_end += waited;
            waits.owe(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bounds(deadline: Option<Duration>) -> LoopBounds {
        LoopBounds {
            deadline: deadline.map(|after| clock::now() + after),
            time_max: SECOND,
        }
    }

    /// Why a guest that waits for what never comes is stopped.
    async fn stop(waits: &EndWaits, bounds: LoopBounds) -> Stop {
        let progress = Progress::default();
        let ended = drive(pending::<wasmtime::Result<()>>(), waits, &progress, bounds);
        *ended.await.unwrap_err().downcast_ref().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_waits_for_nothing_is_stopped_at_its_time() {
        let waits = EndWaits::default();
        let limit = SECOND;
        assert_eq!(stop(&waits, bounds(None)).await, Stop::Time { limit });
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_waits_for_an_end_goes_on_and_is_owed_the_time() {
        let waits = EndWaits::default();
        let progress = Progress::default();
        waits.set_inbound(true);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let work = async { Ok(receiver.await?) };
        let came = async {
            tokio::time::sleep(10 * SECOND).await;
            assert!(progress.waits.load(Relaxed));
            sender.send(7).unwrap();
        };
        let (result, ()) = tokio::join!(drive(work, &waits, &progress, bounds(None)), came);
        assert_eq!(result.unwrap(), 7);
        assert_eq!(waits.owed_micros.load(Relaxed), 10_000_000);
        assert!(!progress.waits.load(Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_whose_octets_cross_has_its_time_anew() {
        let (waits, progress) = (EndWaits::default(), Progress::default());
        // Four times three quarters of its time, each up to a part that crosses; then it waits for nothing.
        let work = async {
            for _ in 0..4 {
                tokio::time::sleep(SECOND * 3 / 4).await;
                waits.has_crossed.store(true, Relaxed);
            }
            pending::<wasmtime::Result<()>>().await
        };
        let begun = clock::now();
        let ended = drive(work, &waits, &progress, bounds(None)).await;
        let stop = *ended.unwrap_err().downcast_ref::<Stop>().unwrap();
        assert_eq!(stop, Stop::Time { limit: SECOND });
        assert_eq!(clock::since(begun), SECOND * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_is_polled_after_its_deadline_is_stopped() {
        let waits = EndWaits::default();
        waits.set_outbound(true);
        let bounds = bounds(Some(SECOND));
        // Nobody polls it at its deadline but who bounds the call.
        let bounded = tokio::time::timeout(2 * SECOND, stop(&waits, bounds));
        assert_eq!(bounded.await.unwrap(), Stop::Deadline);
    }
}
