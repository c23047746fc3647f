//! The threads that compile.
//!
//! There are few, and all but one end when nothing waits: a compilation uses every processor for most of
//! its time, and a thread that has compiled keeps megabytes of its allocator for the next time. So several
//! are compiled side by side only as long as several wait, and a small component does not stand behind a
//! large one. What is compiled at a time is bounded by octets of source as well: of those the memory
//! follows that a compilation takes.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Does the work, then gives what hands its result over.
type Job = Box<dyn FnOnce() -> Deliver + Send>;
type Deliver = Box<dyn FnOnce() + Send>;

/// Compilations at the same time at most, whatever the machine has of processors.
const THREADS_MAX: usize = 4;
/// Octets of source that are compiled at the same time, unless one component alone has more. One of the
/// largest kind (Python, 18 MB) and some small ones.
const BYTES_MAX: usize = 24 * 1024 * 1024;

/// Runs jobs, those that came first before others that fit as well. Dropping it waits for those that run.
pub(crate) struct Compiler {
    queue: Arc<Queue>,
    first: Option<JoinHandle<()>>,
    threads_max: usize,
}

/// What the threads share.
struct Queue {
    state: Mutex<QueueState>,
    /// A job came, one has ended, or all is over.
    changed: Condvar,
    bytes_max: usize,
}

#[derive(Default)]
struct QueueState {
    /// With the octets of their sources.
    waiting: VecDeque<(usize, Job)>,
    n_running: usize,
    bytes_running: usize,
    n_threads: usize,
    is_over: bool,
}

impl Compiler {
    pub(crate) fn start() -> io::Result<Self> {
        let n_cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with_bounds(n_cores.min(THREADS_MAX), BYTES_MAX)
    }

    fn with_bounds(threads_max: usize, bytes_max: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState {
                n_threads: 1,
                ..QueueState::default()
            }),
            changed: Condvar::new(),
            bytes_max,
        });
        let first = Arc::clone(&queue);
        Ok(Self {
            first: Some(spawn(move || first.work(true))?),
            queue,
            threads_max,
        })
    }

    /// What `work` gives, which compiles a source of so many octets, once there is room for it. `None` if
    /// it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        source_bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || -> Deliver {
            // The thread outlives a panic; whoever waits learns of it by the closed channel.
            let value = catch_unwind(AssertUnwindSafe(work)).ok();
            Box::new(move || {
                if let Some(value) = value {
                    // Fails only when nobody waits any more.
                    let _ = done.send(value);
                }
            })
        });
        self.queue.push(source_bytes, job, self.threads_max);
        result.await.ok()
    }
}

impl Queue {
    fn push(self: &Arc<Self>, source_bytes: usize, job: Job, threads_max: usize) {
        let mut state = self.state.lock();
        state.waiting.push_back((source_bytes, job));
        // A thread that is free has not yet taken what was pushed before.
        let n_free = state.n_threads.saturating_sub(state.n_running);
        if n_free < state.waiting.len() && state.n_threads < threads_max {
            let queue = Arc::clone(self);
            // Without one more thread it is compiled later.
            if spawn(move || queue.work(false)).is_ok() {
                state.n_threads += 1;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Runs jobs until all is over, or, unless this is the thread that `stays`, until none waits.
    fn work(&self, stays: bool) {
        while let Some((source_bytes, job)) = self.next(stays) {
            let deliver = job();
            {
                let mut state = self.state.lock();
                state.n_running -= 1;
                state.bytes_running -= source_bytes;
            }
            self.changed.notify_all();
            // Whoever waited finds this thread free.
            deliver();
        }
    }

    /// The next job that there is room for. With `None` the thread is counted no more.
    fn next(&self, stays: bool) -> Option<(usize, Job)> {
        let mut state = self.state.lock();
        loop {
            let room = self.bytes_max.saturating_sub(state.bytes_running);
            let is_alone = state.n_running == 0;
            let mut waiting = state.waiting.iter();
            let fits = waiting.position(|(source_bytes, _)| is_alone || *source_bytes <= room);
            if let Some((source_bytes, job)) = fits.and_then(|at| state.waiting.remove(at)) {
                state.n_running += 1;
                state.bytes_running += source_bytes;
                return Some((source_bytes, job));
            }
            if state.waiting.is_empty() && (state.is_over || !stays) {
                state.n_threads -= 1;
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("postern-compile".to_owned());
    thread.spawn(work)
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.queue.state.lock().is_over = true;
        self.queue.changed.notify_all();
        let Some(first) = self.first.take() else {
            return;
        };
        // The last owner may go away at the end of a job, on one of the threads.
        if thread::current().name() == first.thread().name() {
            return;
        }
        // Jobs catch their panics.
        drop(first.join());
        let mut state = self.queue.state.lock();
        while state.n_running > 0 {
            self.queue.changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn jobs_one_after_the_other_run_on_the_same_thread() {
        let compiler = Compiler::start().unwrap();
        let first = compiler.run(1, || thread::current().id()).await;
        assert!(first.is_some_and(|id| id != thread::current().id()));
        for _ in 0..20 {
            assert_eq!(compiler.run(1, || thread::current().id()).await, first);
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_only() {
        let compiler = Compiler::start().unwrap();
        let panicked = compiler.run(1, || -> u8 { panic!("on purpose") });
        assert_eq!(panicked.await, None);
        assert_eq!(compiler.run(1, || 7).await, Some(7));
    }

    #[tokio::test]
    async fn the_last_owner_may_be_a_job() {
        let compiler = Arc::new(Compiler::start().unwrap());
        let owner = Arc::clone(&compiler);
        let (go, wait) = mpsc::channel::<()>();
        let job = tokio::spawn(async move {
            let held = Arc::clone(&owner);
            let work = move || {
                wait.recv().unwrap();
                drop(held);
            };
            owner.run(1, work).await
        });
        tokio::task::yield_now().await;
        drop(compiler);
        go.send(()).unwrap();
        assert_eq!(job.await.unwrap(), Some(()));
    }

    /// A job that has begun and goes on until its sender is used or gone.
    async fn held(
        compiler: &Arc<Compiler>,
        source_bytes: usize,
    ) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Option<()>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (began, has_begun) = oneshot::channel();
        let compiler = Arc::clone(compiler);
        let work = move || {
            began.send(()).unwrap();
            let _ = wait.recv();
        };
        let job = tokio::spawn(async move { compiler.run(source_bytes, work).await });
        has_begun.await.unwrap();
        (go, job)
    }

    #[tokio::test]
    async fn a_small_source_does_not_stand_behind_a_large_one() {
        let compiler = Arc::new(Compiler::with_bounds(2, 100).unwrap());
        let (go, large) = held(&compiler, 90).await;
        assert_eq!(compiler.run(10, || 7).await, Some(7));
        go.send(()).unwrap();
        assert_eq!(large.await.unwrap(), Some(()));
    }

    #[tokio::test]
    async fn sources_that_are_too_large_together_are_compiled_in_turn() {
        let compiler = Arc::new(Compiler::with_bounds(4, 100).unwrap());
        let (go, first) = held(&compiler, 90).await;
        let second = {
            let compiler = Arc::clone(&compiler);
            tokio::spawn(async move { compiler.run(11, || ()).await })
        };
        // It is queued before this one, which has room and passes it.
        while compiler.queue.state.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(compiler.run(10, || ()).await, Some(()));
        assert_eq!(compiler.queue.state.lock().waiting.len(), 1);
        go.send(()).unwrap();
        assert_eq!(
            (first.await.unwrap(), second.await.unwrap()),
            (Some(()), Some(()))
        );
        // One that is larger than all room is compiled alone.
        assert_eq!(compiler.run(101, || ()).await, Some(()));
    }

    #[tokio::test]
    async fn there_are_never_more_threads_than_allowed_and_one_when_nothing_waits() {
        let compiler = Arc::new(Compiler::with_bounds(2, 100).unwrap());
        let (first_go, first) = held(&compiler, 1).await;
        let (second_go, second) = held(&compiler, 1).await;
        let third = {
            let compiler = Arc::clone(&compiler);
            tokio::spawn(async move { compiler.run(1, || ()).await })
        };
        while compiler.queue.state.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(compiler.queue.state.lock().n_threads, 2);
        drop((first_go, second_go));
        for job in [first, second, third] {
            assert_eq!(job.await.unwrap(), Some(()));
        }
        while compiler.queue.state.lock().n_threads > 1 {
            tokio::task::yield_now().await;
        }
    }
}
