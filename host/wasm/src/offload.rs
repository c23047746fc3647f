//! Guests as futures: each is polled where its caller is until it computes for too long in one go,
//! then on the threads for guests; and it ends when its generation's calls are cut off.
//!
//! A guest on a fiber can be moved between any two polls, so nothing is begun anew. A guest that
//! computes returns from its poll at the next tick of the epoch.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use postern_core::{BoxFuture, Error, Text};
use postern_system::clock;
use tokio::{runtime::Handle, sync::futures::OwnedNotified};

use crate::{
    cpu::CpuMeter,
    executor::{self, Spawned},
    placement::{IN_PLACE_MAX, Placement, Placements},
    processor_time::{self, CountedPoll},
    state::Guest,
};

/// What a guest is entered for, as its placement is remembered.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    service: Text,
    method: Text,
    /// Whether what it computes is processor time of the guest's.
    enters: bool,
}

/// A guest at work.
struct Offload<T> {
    stage: Stage<T>,
    placement: Placement,
    purpose: Purpose,
    guest: Arc<Guest>,
    /// What it has computed; goes with it to the threads for guests.
    cpu: CpuMeter,
    /// There once it has had to wait.
    told: Option<Pin<Box<OwnedNotified>>>,
    on_cut: fn(Error) -> T,
}

enum Stage<T> {
    Here(BoxFuture<T>),
    There(Spawned<T>),
    Ended,
}

/// A guest on the threads for guests, and the longest time that it computed in one go.
struct Timed<T> {
    work: BoxFuture<T>,
    cpu: CpuMeter,
    longest: Duration,
    purpose: Purpose,
    guest: Arc<Guest>,
}

impl Purpose {
    /// A call of a method.
    pub(crate) const fn call(service: Text, method: Text) -> Self {
        Self {
            service,
            method,
            enters: true,
        }
    }

    /// What is no call of a method; services have names, so this one has none.
    pub(crate) const fn role(role: &'static str) -> Self {
        Self::call(Text::from_static(""), Text::from_static(role))
    }

    /// What is done for a call before its guest is entered.
    pub(crate) fn before_entry(self) -> Self {
        Self {
            enters: false,
            ..self
        }
    }

    /// Counts a poll that has held its thread for `took`.
    fn count(&self, guest: &Guest, poll: CountedPoll, took: Duration, computed: Option<Duration>) {
        if self.enters {
            let computed = poll.end(processor_time::of(took, computed));
            guest.stats.on_computed(computed);
        } else {
            poll.end(Duration::ZERO);
        }
    }

    fn placement(&self, guest: &Guest) -> Placement {
        self.placements(guest).of(&self.service, &self.method)
    }

    fn placements<'g>(&self, guest: &'g Guest) -> &'g Placements {
        if self.service.is_empty() {
            &guest.role_placements
        } else {
            &guest.placements
        }
    }
}

/// Runs `work`, which enters an instance of `guest`'s generation. `on_cut` makes what its caller gets
/// when it is cut off.
pub(crate) fn run<T: Send + 'static>(
    guest: &Arc<Guest>,
    purpose: Purpose,
    on_cut: fn(Error) -> T,
    work: BoxFuture<T>,
) -> BoxFuture<T> {
    let placement = purpose.placement(guest);
    run_at(placement, guest, purpose, on_cut, work)
}

/// As `run`, where it is known where to begin.
pub(crate) fn run_at<T: Send + 'static>(
    placement: Placement,
    guest: &Arc<Guest>,
    purpose: Purpose,
    on_cut: fn(Error) -> T,
    work: BoxFuture<T>,
) -> BoxFuture<T> {
    Box::pin(Offload {
        stage: Stage::Here(work),
        placement,
        purpose,
        guest: Arc::clone(guest),
        cpu: CpuMeter::new(),
        told: None,
        on_cut,
    })
}

impl<T: Send + 'static> Offload<T> {
    /// Polls the guest on this thread, if it is here.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let Stage::Here(work) = &mut self.stage else {
            return Poll::Pending;
        };
        let is_measured = self.placement == Placement::Measured;
        let before = is_measured.then(executor::thread_time);
        let (start, counted) = (clock::now(), CountedPoll::begin());
        let polled = self.cpu.during(|| work.as_mut().poll(cx));
        let took = clock::since(start);
        self.cpu.charge(took.min(IN_PLACE_MAX));
        let is_long = took > IN_PLACE_MAX;
        let computed = before.map(|before| executor::thread_time().saturating_sub(before));
        self.purpose.count(&self.guest, counted, took, computed);
        if is_long || is_measured {
            let placements = self.purpose.placements(&self.guest);
            placements.on_in_place(&self.purpose.service, &self.purpose.method, took, computed);
        }
        if is_long && polled.is_pending() {
            self.leave();
        }
        polled
    }

    /// Goes to the threads for guests. Outside of a runtime, whose timers a guest may need, it stays.
    fn leave(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Here(work) => {
                let timed = Timed {
                    work,
                    cpu: std::mem::replace(&mut self.cpu, CpuMeter::new()),
                    longest: Duration::ZERO,
                    purpose: self.purpose.clone(),
                    guest: Arc::clone(&self.guest),
                };
                let executor = &self.guest.executor;
                self.stage = Stage::There(executor.spawn(runtime, Box::pin(timed)));
            }
            other @ (Stage::There(_) | Stage::Ended) => self.stage = other,
        }
    }

    /// Whether the calls of the generation are cut off.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let guest = &self.guest;
        let told = self
            .told
            .get_or_insert_with(|| Box::pin(guest.drain.told()));
        if told.as_mut().poll(cx).is_pending() && !guest.drain.is_cut() {
            return Poll::Pending;
        }
        let error = guest.drain.error(&guest.plugin);
        self.stage = Stage::Ended;
        Poll::Ready((self.on_cut)(error))
    }
}

impl<T: Send + 'static> Future for Offload<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.placement == Placement::Offloaded && matches!(self.stage, Stage::Here(_)) {
            self.leave();
        }
        let mut polled = self.poll_here(cx);
        if polled.is_pending()
            && let Stage::There(work) = &mut self.stage
        {
            polled = Pin::new(work).poll(cx);
        }
        match polled {
            Poll::Ready(output) => {
                self.stage = Stage::Ended;
                Poll::Ready(output)
            }
            Poll::Pending => self.poll_cut(cx),
        }
    }
}

impl<T> Future for Timed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let (before, counted) = (executor::thread_time(), CountedPoll::begin());
        let this = &mut *self;
        let polled = this.cpu.during(|| this.work.as_mut().poll(cx));
        let computed = executor::thread_time().saturating_sub(before);
        self.cpu.charge(computed);
        self.purpose
            .count(&self.guest, counted, computed, Some(computed));
        self.longest = self.longest.max(computed);
        if polled.is_ready() {
            let placements = self.purpose.placements(&self.guest);
            placements.on_computed(&self.purpose.service, &self.purpose.method, self.longest);
        }
        polled
    }
}
