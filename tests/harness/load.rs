//! Steady load over one handler, until it is told to stop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::Handler;
use tokio::task::JoinSet;

use crate::{Percentiles, caller::call};

/// Callers at work. Dropping it stops them.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<(Vec<Duration>, BTreeMap<String, usize>)>,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// Durations of the calls that were answered well.
    pub answered: Percentiles,
    /// How often each error came.
    pub failures: BTreeMap<String, usize>,
}

impl Load {
    /// `n_callers` call `target` with `body` one after the other, each pausing for `pause` between.
    #[must_use]
    pub fn start(
        handler: &Arc<dyn Handler>,
        target: &str,
        body: &Bytes,
        n_callers: usize,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..n_callers {
            let (handler, target) = (Arc::clone(handler), target.to_owned());
            let (body, stop) = (body.clone(), Arc::clone(&stop));
            callers.spawn(async move {
                let (mut durations, mut failures) = (Vec::new(), BTreeMap::new());
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    match call(&*handler, &target, body.clone()).await {
                        Ok(_) => durations.push(begin.elapsed()),
                        Err(error) => *failures.entry(error.to_string()).or_default() += 1,
                    }
                    tokio::time::sleep(pause).await;
                }
                (durations, failures)
            });
        }
        Self { stop, callers }
    }

    /// Lets every caller finish its call and says what came of all.
    pub async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut durations = Vec::new();
        let mut failures = BTreeMap::new();
        while let Some(caller) = self.callers.join_next().await {
            let (its_durations, its_failures) = caller.expect("a caller does not panic");
            durations.extend(its_durations);
            for (failure, n) in its_failures {
                *failures.entry(failure).or_default() += n;
            }
        }
        Outcome {
            answered: Percentiles::new(durations),
            failures,
        }
    }
}
