//! The handler behind every server of the suite.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Kind, Reply};
use tokio::sync::Notify;

/// Service `test`. What each method does stands at `answer`.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) n_calls: AtomicUsize,
    /// Calls whose future was dropped before it was done.
    pub(crate) n_cancelled: Arc<AtomicUsize>,
    /// Messages made by streams of method `endless`, and such streams dropped.
    pub(crate) n_made: Arc<AtomicUsize>,
    pub(crate) n_dropped: Arc<AtomicUsize>,
    /// What lets one call of method `gate` be answered.
    pub(crate) gate: Arc<Notify>,
}

/// 1 KiB messages without end.
struct Endless {
    n_made: Arc<AtomicUsize>,
    n_dropped: Arc<AtomicUsize>,
}

struct CountCancelled(Option<Arc<AtomicUsize>>);

impl CountCancelled {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for CountCancelled {
    fn drop(&mut self) {
        if let Some(counter) = self.0.take() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.n_calls.fetch_add(1, Ordering::SeqCst);
        if call.method == "endless" {
            let (n_made, n_dropped) = (Arc::clone(&self.n_made), Arc::clone(&self.n_dropped));
            let body = Body::Messages(BodyStream::new(Endless { n_made, n_dropped }));
            return Box::pin(async { Ok(Reply::new(call.headers, body)) });
        }
        if call.method == "gate" {
            let gate = Arc::clone(&self.gate);
            return Box::pin(async move {
                gate.notified().await;
                Ok(Reply::new(call.headers, call.body))
            });
        }
        let unfinished = CountCancelled(Some(Arc::clone(&self.n_cancelled)));
        Box::pin(async move {
            let outcome = answer(call).await;
            unfinished.done();
            outcome
        })
    }
}

async fn answer(call: Call) -> Result<Reply, Error> {
    if call.service != "test" {
        return Err(Error::not_found(format!("no service {}", call.service)));
    }
    let method = call.method.clone();
    match &*method {
        // `call` is what a frame without a method means.
        "echo" | "call" | "stream-echo" => {}
        "sleep" => {
            let Body::One(ms) = &call.body else {
                return Err(Error::internal("no body"));
            };
            let ms = std::str::from_utf8(ms)
                .expect("digits")
                .parse()
                .expect("a number");
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        "never" => std::future::pending().await,
        "large" => return large().await,
        "fail" => {
            let kind = call.headers.get_str("kind").expect("header kind");
            let kind = Kind::from_name(&kind).expect("a kind");
            return Err(Error::new(kind, Blame::Client, format!("asked for {kind}"))
                .with_details(r#"{"by":"test"}"#));
        }
        "panic" => panic!("asked to"),
        "many" => {
            let items = [Ok("a".into()), Ok("b".into())];
            let stream = BodyStream::new(futures_util::stream::iter(items));
            return Ok(Reply::new(call.headers, Body::Messages(stream)));
        }
        "sum" => return sum(call).await,
        "length" => {
            let whole = call.body.into_one(usize::MAX).await?;
            return Ok(Reply::one(whole.len().to_string()));
        }
        "broken-stream" => {
            let error = Error::new(Kind::DataLoss, Blame::Guest, "half way");
            let items = vec![Ok("a".into()), Err(error)];
            let stream = BodyStream::new(futures_util::stream::iter(items));
            return Ok(Reply::new(call.headers, Body::Messages(stream)));
        }
        "time-left" => {
            let left = call
                .context
                .remaining(tokio::time::Instant::now().into_std());
            let left = left.map_or_else(|| "none".to_owned(), |left| left.as_millis().to_string());
            return Ok(Reply::one(left));
        }
        method => {
            return Err(Error::new(
                Kind::Unimplemented,
                Blame::Client,
                method.to_owned(),
            ));
        }
    }
    Ok(Reply::new(call.headers, call.body))
}

/// Half a MiB, answered by a task, so that many end at the same time.
async fn large() -> Result<Reply, Error> {
    tokio::task::yield_now().await;
    Ok(Reply::one(vec![7; 512 * 1024]))
}

/// Adds the numbers of a stream.
async fn sum(call: Call) -> Result<Reply, Error> {
    let Body::Messages(mut numbers) = call.body else {
        return Err(Error::invalid_argument("no stream"));
    };
    let mut sum = 0_u64;
    while let Some(number) = numbers.next().await {
        let number = number?;
        sum += std::str::from_utf8(&number)
            .expect("digits")
            .parse::<u64>()
            .expect("a number");
    }
    Ok(Reply::one(sum.to_string()))
}

impl Stream for Endless {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.n_made.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Bytes::from_static(&[7; 1024]))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.n_dropped.fetch_add(1, Ordering::SeqCst);
    }
}
