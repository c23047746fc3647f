//! The thread that compiles.
//!
//! There is one: a compilation already uses every processor, and a thread that has compiled keeps
//! megabytes of its allocator for the next time, so that compiling wherever a thread is free makes the
//! process grow by every thread it has.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Runs one job after the other. Dropping it waits for the job that runs.
pub(crate) struct Compiler {
    /// `None` once it is to end.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Compiler {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let run = move || {
            for job in queue {
                job();
            }
        };
        let thread = thread::Builder::new()
            .name("postern-compile".to_owned())
            .spawn(run)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// What `work` gives, once what came before is done. `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            // The thread outlives a panic; whoever waits learns of it by the closed channel.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                // Fails only when nobody waits any more.
                let _ = done.send(value);
            }
        });
        self.jobs.as_ref()?.send(job).ok()?;
        result.await.ok()
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last owner may go away at the end of a job, on this very thread.
        if thread.thread().id() != thread::current().id() {
            // Jobs catch their panics.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn every_job_runs_on_the_same_thread() {
        let compiler = Compiler::start().unwrap();
        let first = compiler.run(|| thread::current().id()).await;
        assert!(first.is_some_and(|id| id != thread::current().id()));
        assert_eq!(compiler.run(|| thread::current().id()).await, first);
    }

    #[tokio::test]
    async fn a_panic_costs_one_job_only() {
        let compiler = Compiler::start().unwrap();
        assert_eq!(compiler.run(|| -> u8 { panic!("on purpose") }).await, None);
        assert_eq!(compiler.run(|| 7).await, Some(7));
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
            owner.run(work).await
        });
        tokio::task::yield_now().await;
        drop(compiler);
        go.send(()).unwrap();
        assert_eq!(job.await.unwrap(), Some(()));
    }
}
