//! Threads for guests that compute: as many as there are cores, of lower priority than those that do
//! the input and output.
//!
//! One queue, first in, first out: a guest that yields at a tick of the epoch goes to its end, so all
//! get equal shares. A task is polled inside the runtime that it came from: timers, sockets and tasks
//! that a guest's host calls make belong to that runtime and its threads, only the polling is done here.
//!
//! ```text
//!           ┌──────────── wake ◄──────────┐
//!           ▼                             │
//! spawn ─► queued ─► running ─► pending ─►┴ idle          dropped by its owner in any state: the
//!           ▲           ▲ └► ready or panic: done         future is dropped at once, or after the poll
//!           │           └── polled by its owner: idle     that is under way
//!           └── woken while running
//! ```
//!
//! Who polls a task that waits polls its future, on the own thread: what waits is asked at its deadline by
//! whoever bounds the call, and has no timer of its own.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use postern_core::BoxFuture;
use rustix::{
    process::setpriority_process,
    thread::gettid,
    time::{ClockId, clock_gettime},
};
use tokio::{runtime::Handle, sync::oneshot};

/// Added to the niceness of these threads. The scheduler of Linux gives a thread of niceness 10 a
/// tenth of what one of niceness 0 gets (weights 110 and 1024), so a guest goes on when the threads
/// of input and output want every core, and does not delay them when they wake.
const NICENESS: i32 = 10;

/// The threads. Dropping it ends them.
pub(crate) struct Executor {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// What is ready to be polled.
#[derive(Default)]
struct Queue {
    ready: Mutex<VecDeque<Arc<Task>>>,
    /// Told of each task that comes, and of the end.
    changed: Condvar,
    is_closed: AtomicBool,
    /// Tasks that are ready or being polled.
    n_active: AtomicUsize,
}

struct Task {
    /// `None` once it has ended, or nobody wants it.
    future: Mutex<Option<BoxFuture<()>>>,
    state: AtomicU8,
    is_cancelled: AtomicBool,
    queue: Arc<Queue>,
    /// The runtime that it came from.
    runtime: Handle,
}

/// A future that is being polled on these threads. Dropping it drops the future.
pub(crate) struct Spawned<T> {
    task: Arc<Task>,
    output: oneshot::Receiver<Result<T, Box<dyn Any + Send>>>,
}

// States of a task.
const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// Running, and to be polled again.
const WOKEN: u8 = 3;

impl Executor {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let n_threads = thread::available_parallelism().map_or(1, usize::from);
        let queue = Arc::<Queue>::default();
        let mut executor = Self {
            queue: Arc::clone(&queue),
            threads: Vec::with_capacity(n_threads),
        };
        for number in 0..n_threads {
            let queue = Arc::clone(&queue);
            let name = format!("postern-guest-{number}");
            let thread = thread::Builder::new().name(name).spawn(move || {
                // Refused by a sandbox at most; the threads then have the priority of all others.
                if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
                    tracing::debug!(%error, "threads for guests keep the usual priority");
                }
                queue.run();
            })?;
            executor.threads.push(thread);
        }
        Ok(executor)
    }

    /// Says whether a guest computes here at present.
    pub(crate) fn is_busy(&self) -> impl Fn() -> bool + Send + 'static {
        let queue = Arc::clone(&self.queue);
        move || queue.n_active.load(Relaxed) > 0
    }

    /// Has `future` polled on these threads, inside the runtime `runtime`.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        runtime: Handle,
        future: BoxFuture<T>,
    ) -> Spawned<T> {
        let (sender, output) = oneshot::channel();
        let whole = async move {
            let told = match Contained(future).await {
                Ok(output) => sender.send(Ok(output)),
                Err(panicked) => sender.send(Err(panicked)),
            };
            // Whoever waited for it has gone.
            drop(told);
        };
        let task = Arc::new(Task {
            future: Mutex::new(Some(Box::pin(whole))),
            state: AtomicU8::new(QUEUED),
            is_cancelled: AtomicBool::new(false),
            queue: Arc::clone(&self.queue),
            runtime,
        });
        self.queue.push(Arc::clone(&task));
        Spawned { task, output }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.queue.is_closed.store(true, SeqCst);
        // Whoever looks at the flag holds the lock until it waits.
        drop(self.queue.ready.lock());
        self.queue.changed.notify_all();
        let own = thread::current().id();
        for thread in self.threads.drain(..) {
            // The last plugin may end on one of these threads.
            if thread.thread().id() != own {
                // Nothing is left to do about a panic there; its message has been printed.
                drop(thread.join());
            }
        }
    }
}

impl Queue {
    fn push(&self, task: Arc<Task>) {
        self.n_active.fetch_add(1, Relaxed);
        self.ready.lock().push_back(task);
        self.changed.notify_one();
    }

    /// One thread's work, until the end.
    fn run(&self) {
        while let Some(task) = self.pop() {
            task.run();
            self.n_active.fetch_sub(1, Relaxed);
            // Where the system puts off preemption until a thread calls it, this is when others go on.
            thread::yield_now();
        }
    }

    fn pop(&self) -> Option<Arc<Task>> {
        let mut ready = self.ready.lock();
        loop {
            if self.is_closed.load(SeqCst) {
                return None;
            }
            if let Some(task) = ready.pop_front() {
                return Some(task);
            }
            self.changed.wait(&mut ready);
        }
    }
}

impl Task {
    /// Polls it once, as one of these threads.
    fn run(self: Arc<Self>) {
        self.state.store(RUNNING, SeqCst);
        self.poll_future();
    }

    /// Polls it once on the thread of its owner, if it waits.
    fn run_here(self: &Arc<Self>) {
        let waits = self.state.compare_exchange(IDLE, RUNNING, SeqCst, SeqCst);
        if waits.is_ok() {
            Arc::clone(self).poll_future();
        }
    }

    fn poll_future(self: Arc<Self>) {
        let _inside = self.runtime.enter();
        let waker = Waker::from(Arc::clone(&self));
        {
            let mut future = self.future.lock();
            let Some(polled) = &mut *future else { return };
            match polled.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => {
                    *future = None;
                    return;
                }
                Poll::Pending => {}
            }
        }
        // After the lock: a canceller that did not get it has set this before.
        if self.is_cancelled.load(SeqCst) {
            self.drop_future();
            return;
        }
        let idle = self.state.compare_exchange(RUNNING, IDLE, SeqCst, SeqCst);
        if idle.is_err() {
            self.state.store(QUEUED, SeqCst);
            self.queue.push(Arc::clone(&self));
        }
    }

    /// Drops the future unless it is being polled; whoever polls it then does that.
    fn cancel(&self) {
        self.is_cancelled.store(true, SeqCst);
        if let Some(mut future) = self.future.try_lock() {
            let dropped = future.take();
            drop(future);
            drop_quietly(dropped);
        }
    }

    fn drop_future(&self) {
        let future = self.future.lock().take();
        drop_quietly(future);
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let next = |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        if self.state.fetch_update(SeqCst, SeqCst, next) == Ok(IDLE) {
            let queue = Arc::clone(&self.queue);
            queue.push(self);
        }
    }
}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut told = Pin::new(&mut self.output).poll(cx);
        if told.is_pending() {
            self.task.run_here();
            told = Pin::new(&mut self.output).poll(cx);
        }
        match told {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Ok(output))) => Poll::Ready(output),
            // As if it had been polled here: the pipeline contains it.
            Poll::Ready(Ok(Err(panicked))) => resume_unwind(panicked),
            // The executor ended with the process.
            Poll::Ready(Err(_)) => Poll::Pending,
        }
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        self.task.cancel();
    }
}

/// A future whose panic is its output.
struct Contained<T>(BoxFuture<T>);

impl<T> Future for Contained<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

/// Drops what may panic while it is dropped: a thread that serves all guests must go on.
fn drop_quietly(future: Option<BoxFuture<()>>) {
    // The message of a panic has been printed.
    drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
}

/// Processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {

    use postern_system::clock;

    use super::*;

    fn spawn<T: Send + 'static>(
        executor: &Executor,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Spawned<T> {
        executor.spawn(Handle::current(), Box::pin(future))
    }

    /// Computes until `is_over`, a little at a time.
    async fn compute(is_over: impl Fn() -> bool) {
        while !is_over() {
            std::hint::black_box(());
            let mut first = true;
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                match std::mem::take(&mut first) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                }
            })
            .await;
        }
    }

    fn until(what: impl Fn() -> bool) {
        let start = clock::now();
        while !what() {
            assert!(
                clock::since(start) < Duration::from_secs(30),
                "it never comes"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn what_is_spawned_runs_elsewhere_and_its_timers_here() {
        let executor = Executor::start().unwrap();
        let here = thread::current().id();
        let there = spawn(&executor, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::spawn(async { thread::current().id() })
                .await
                .unwrap()
        });
        assert_eq!(there.await, here, "a task of a task belongs to the runtime");
        let there = spawn(&executor, async { thread::current().id() }).await;
        assert_ne!(there, here);
    }

    #[tokio::test]
    async fn many_that_never_end_leave_room_for_one_that_does() {
        let executor = Executor::start().unwrap();
        let endless: Vec<_> = (0..20)
            .map(|_| spawn(&executor, compute(|| false)))
            .collect();
        for number in 0..20 {
            assert_eq!(spawn(&executor, async move { number }).await, number);
        }
        drop(endless);
    }

    #[tokio::test]
    async fn who_polls_what_waits_polls_its_future() {
        let executor = Executor::start().expect("threads");
        let (n_polls, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, ends) = (Arc::clone(&n_polls), Arc::clone(&is_over));
        // It has nobody to wake it.
        let mut spawned = spawn(
            &executor,
            std::future::poll_fn(move |_| {
                counted.fetch_add(1, SeqCst);
                match ends.load(SeqCst) {
                    true => Poll::Ready(7),
                    false => Poll::Pending,
                }
            }),
        );
        while spawned.task.state.load(SeqCst) != IDLE {
            tokio::task::yield_now().await;
        }
        assert_eq!(n_polls.load(SeqCst), 1);
        assert!(futures_util::poll!(&mut spawned).is_pending());
        is_over.store(true, SeqCst);
        assert_eq!(futures_util::poll!(&mut spawned), Poll::Ready(7));
        assert_eq!(n_polls.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_is_the_waiters_and_the_threads_go_on() {
        let executor = Executor::start().unwrap();
        for _ in 0..10 {
            let broken = spawn(&executor, async { panic!("on purpose") });
            let panicked = tokio::spawn(broken).await.unwrap_err();
            assert!(panicked.is_panic());
        }
        assert_eq!(spawn(&executor, async { 1 }).await, 1);
    }

    /// Counts its drops.
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn who_drops_it_drops_the_future_waiting_running_or_queued() {
        let executor = Executor::start().unwrap();
        let n_dropped = Arc::<AtomicUsize>::default();
        let waiting = Counted(Arc::clone(&n_dropped));
        let waiting = spawn(&executor, async move {
            std::future::pending::<()>().await;
            drop(waiting);
        });
        until(|| waiting.task.state.load(SeqCst) == IDLE);
        drop(waiting);
        assert_eq!(n_dropped.load(Relaxed), 1, "at once");
        let running: Vec<_> = (0..20)
            .map(|_| {
                let counted = Counted(Arc::clone(&n_dropped));
                spawn(&executor, async move {
                    compute(|| false).await;
                    drop(counted);
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(5));
        drop(running);
        until(|| n_dropped.load(Relaxed) == 21);
    }

    #[test]
    fn sleeping_takes_no_processor_time() {
        let before = thread_time();
        thread::sleep(Duration::from_millis(20));
        assert!(thread_time() - before < Duration::from_millis(20));
    }
}
