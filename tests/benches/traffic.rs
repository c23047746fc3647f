//! Callers and streams over one client that go on for as long as a round takes, and what they were answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Error, Handler as _};
use postern_net::Client;
use postern_tests::{call, patiently};
use tokio::task::JoinSet;

/// Calls in flight on one connection.
pub(crate) const DEPTH: usize = 64;
const ROUND: Duration = Duration::from_millis(800);

/// What was answered in one round: replies of calls, or messages of streams.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Of the caller or stream that got least.
    pub(crate) slowest_per_second: f64,
    /// Processor time of the gateway for each, in seconds.
    pub(crate) cpu_each: f64,
}

/// Callers, or streams, that go on until they are dropped.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Each ends with the error that ended its calls.
    tasks: JoinSet<Error>,
    /// What each has been answered.
    answered: Vec<Arc<AtomicU64>>,
}

impl Traffic {
    /// `DEPTH` callers, each calling again when it was answered.
    pub(crate) fn calls(client: &Client, n_octets: usize) -> Self {
        let mut traffic = Self::default();
        let body = Bytes::from(vec![b'1'; n_octets]);
        for _ in 0..DEPTH {
            let (client, body, answered) = (client.clone(), body.clone(), traffic.counter());
            traffic.tasks.spawn(async move {
                loop {
                    match call(&client, "echo/Echo", body.clone()).await {
                        Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) => return error,
                    };
                }
            });
        }
        traffic
    }

    /// Streams that are sent messages of `n_octets` as fast as they take them, and read.
    pub(crate) fn streams(client: &Client, n_streams: usize, n_octets: usize) -> Self {
        let mut traffic = Self::default();
        for _ in 0..n_streams {
            let (client, answered) = (client.clone(), traffic.counter());
            traffic.tasks.spawn(async move {
                let mut reply = match open(&client, n_octets, Arc::default()).await {
                    Ok(reply) => reply,
                    Err(error) => return error,
                };
                loop {
                    match reply.next().await {
                        Some(Ok(_)) => answered.fetch_add(1, Ordering::Relaxed),
                        Some(Err(error)) => return error,
                        None => return Error::internal("the echo of a stream without end ended"),
                    };
                }
            });
        }
        traffic
    }

    fn counter(&mut self) -> Arc<AtomicU64> {
        let counter = Arc::<AtomicU64>::default();
        self.answered.push(Arc::clone(&counter));
        counter
    }

    fn counts(&self) -> Vec<u64> {
        let counters = self.answered.iter();
        counters
            .map(|counter| counter.load(Ordering::Relaxed))
            .collect()
    }

    /// Measures from the moment at which everyone has been answered.
    pub(crate) async fn round(mut self, cpu: impl Fn() -> Duration) -> Round {
        patiently("each caller and stream is answered", async || {
            self.expect_all();
            self.counts().iter().all(|n_answered| *n_answered > 0)
        })
        .await;
        let (before, cpu_before, begin) = (self.counts(), cpu(), Instant::now());
        tokio::time::sleep(ROUND).await;
        let (after, cpu, time) = (self.counts(), cpu() - cpu_before, begin.elapsed());
        self.expect_all();
        // What is left of one round is not to be found in the next.
        self.tasks.shutdown().await;
        let counts = after.iter().zip(&before);
        let counts: Vec<u64> = counts.map(|(after, before)| after - before).collect();
        let n_answered = counts.iter().sum::<u64>() as f64;
        let n_slowest = counts.iter().min().copied().unwrap_or_default() as f64;
        Round {
            per_second: n_answered / time.as_secs_f64(),
            slowest_per_second: n_slowest / time.as_secs_f64(),
            cpu_each: cpu.as_secs_f64() / n_answered.max(1.0),
        }
    }

    /// Nobody has been refused.
    fn expect_all(&mut self) {
        let ended = self.tasks.try_join_next();
        let error = ended.map(|error| error.expect("neither callers nor readers panic"));
        assert!(error.is_none(), "a call ended: {error:?}");
    }
}

/// Opens a stream that echoes, and sends it messages without end, counted in `n_sent`; its reply.
pub(crate) async fn open(
    client: &Client,
    n_octets: usize,
    n_sent: Arc<AtomicU64>,
) -> Result<BodyStream, Error> {
    let message = Bytes::from(vec![b'1'; n_octets]);
    let messages = stream::repeat_with(move || {
        n_sent.fetch_add(1, Ordering::Relaxed);
        Ok(message.clone())
    });
    let call = Call {
        body: Body::Messages(BodyStream::new(messages)),
        ..Call::unary("echo", "EchoStream", Bytes::new())
    };
    let reply = client.call(call).await?;
    let reply = reply.body.try_into_stream();
    reply.map_err(|body| Error::internal(format!("a stream is answered by {:?}", body.kind())))
}
