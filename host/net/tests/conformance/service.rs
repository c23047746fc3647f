//! The handler behind every server of the suite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postern_core::{Blame, Body, BoxFuture, Call, Error, Handler, Kind, Reply};

/// Service `test`. What each method does stands at `answer`.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) n_calls: AtomicUsize,
    /// Calls whose future was dropped before it was done.
    pub(crate) n_cancelled: Arc<AtomicUsize>,
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
        "echo" | "call" => {}
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
        "fail" => {
            let kind = call.headers.get_str("kind").expect("header kind");
            let kind = Kind::from_name(&kind).expect("a kind");
            return Err(Error::new(kind, Blame::Client, format!("asked for {kind}"))
                .with_details(r#"{"by":"test"}"#));
        }
        "panic" => panic!("asked to"),
        "many" => {
            let stream = postern_core::BodyStream::new(futures_util::stream::iter([
                Ok("a".into()),
                Ok("b".into()),
            ]));
            return Ok(Reply {
                headers: call.headers,
                body: Body::Many(stream),
            });
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
    Ok(Reply {
        headers: call.headers,
        body: call.body,
    })
}
