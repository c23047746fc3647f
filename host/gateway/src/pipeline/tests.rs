//! What a caller sees of the pipeline, and what is booked of a call.

mod fronts;
mod lengths;

use std::pin::pin;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use parking_lot::Mutex;
use postern_core::{Body, BodyStream, Peer, TraceContext, Transport};
use postern_system::clock;

use super::*;
use crate::{
    cluster::DecisionLog,
    config::Config,
    telemetry::calls::{BookedOutcome, CallNumbers},
};

/// The largest allocation that glibc hands out without a lock, in octets.
const KEPT_READY: usize = 1032;

/// A guard that asks nothing of anybody.
fn guard() -> Guard {
    let (config, now) = (Config::default(), clock::now());
    let failures = Arc::new(Failures::new(&config.auth, now));
    Guard::open(&config, None, failures, now).expect("nothing to open")
}

#[tokio::test]
async fn answers_and_books_a_unary_call() {
    let fixture = PipelineFixture::new(|call| match call.body {
        Body::One(body) => ready(Ok(Reply::one(body))),
        Body::Empty | Body::Messages(_) | Body::Octets(_) => ready(Ok(Reply::one(""))),
    });
    let reply = fixture
        .pipeline
        .call(Call::unary("users", "Get", "12345"))
        .await
        .expect("answered");
    assert_eq!(reply.body.into_one(10).await.expect("one message"), "12345");
    let numbers = fixture.numbers("users");
    assert_eq!(
        numbers.ended,
        [(Transport::Memory, BookedOutcome::Success, 1)]
    );
    assert_eq!(
        (numbers.bytes_in, numbers.bytes_out, numbers.in_flight),
        (5, 5, 0)
    );
    assert_eq!(numbers.durations.count(), 1);
}

#[test]
fn the_way_of_a_call_fits_what_allocators_keep_ready_for_a_thread() {
    let fixture = PipelineFixture::new(|_| ready(Ok(Reply::one(""))));
    let call = Box::new(Call::unary("users", "Get", ""));
    let run = InterceptorRun {
        guard: None,
        failures: None,
        sender: Sender::Caller,
        chain: fixture
            .pipeline
            .extensions
            .chain()
            .activate(&call, None, clock::now()),
        deadline: Some(clock::now()),
        route: Arc::clone(&fixture.pipeline.unrouted),
        decision_log: DecisionLog::default(),
        refusal: None,
    };
    let size = size_of_val(&run.make(call));
    assert!(size <= KEPT_READY, "{size} octets");
}

#[tokio::test]
async fn books_an_unknown_service_under_a_label_of_its_own() {
    let fixture = PipelineFixture::new(|_| ready(Ok(Reply::one(""))));
    let error = fixture
        .pipeline
        .call(Call::unary("user", "Get", ""))
        .await
        .expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "not-found: no service user; did you mean users?"
    );
    let ended = fixture.numbers(UNROUTED).ended;
    assert_eq!(
        ended,
        [(Transport::Memory, BookedOutcome::Failed(Kind::NotFound), 1)]
    );
}

#[tokio::test]
async fn a_call_that_its_caller_drops_is_booked_as_cancelled() {
    let fixture = PipelineFixture::new(|_| Box::pin(std::future::pending()));
    let mut call = fixture.pipeline.call(Call::unary("users", "Get", ""));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(fixture.numbers("users").in_flight, 1);
    drop(call);
    let numbers = fixture.numbers("users");
    assert_eq!(
        numbers.ended,
        [(Transport::Memory, BookedOutcome::Failed(Kind::Cancelled), 1)]
    );
    assert_eq!(numbers.in_flight, 0);
}

#[tokio::test]
async fn what_panics_is_booked_as_internal() {
    let fixture = PipelineFixture::new(|call| match &*call.method {
        "Start" => panic!("on purpose"),
        _ => Box::pin(async { panic!("on purpose") }),
    });
    for (method, n_ended) in [("Start", 1), ("Poll", 2)] {
        let call = Call::unary("users", method, "");
        let error = fixture.pipeline.call(call).await.expect_err("broken");
        let expected = (Kind::Internal, Blame::Gateway);
        assert_eq!((error.kind, error.blame), expected, "{method}");
        let numbers = fixture.numbers("users");
        let internal = BookedOutcome::Failed(Kind::Internal);
        assert_eq!(numbers.ended, [(Transport::Memory, internal, n_ended)]);
        assert_eq!(numbers.in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_handler_is_ended_at_the_default_deadline() {
    let fixture = PipelineFixture::new(|_| Box::pin(std::future::pending()));
    fixture.apply(PipelineSettings {
        timeout: Duration::from_secs(7),
        ..PipelineSettings::default()
    });
    let begun = clock::now();
    let error = fixture
        .pipeline
        .call(Call::unary("users", "Get", ""))
        .await
        .expect_err("silent");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let waited = clock::since(begun);
    assert!(
        waited >= Duration::from_secs(7) && waited < Duration::from_secs(8),
        "{waited:?}"
    );
    assert_eq!(fixture.numbers("users").n_failed(), 1);
}

#[tokio::test]
async fn the_handler_sees_a_deadline_and_a_trace() {
    let fixture = PipelineFixture::new(|call| {
        let left = call.context.remaining(clock::now()).expect("a deadline");
        assert!(
            left > Duration::from_secs(29) && left <= Duration::from_secs(30),
            "{left:?}"
        );
        let trace = call.context.trace.expect("a trace");
        ready(Ok(Reply::one(trace.to_string())))
    });
    let received = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut call = Call::unary("users", "Get", "");
    call.context.trace = TraceContext::parse(received);
    let reply = fixture.pipeline.call(call).await.expect("answered");
    let trace = reply.body.into_one(100).await.expect("one message");
    assert_eq!(trace[..36], received.as_bytes()[..36]);
}

#[test]
fn a_deadline_is_clamped_at_the_limit() {
    let now = clock::now();
    let settings = PipelineSettings {
        timeout_max: Duration::from_secs(200),
        ..PipelineSettings::default()
    };
    let check = |asked: Option<u64>, expected: u64| {
        let asked = asked.map(|seconds| now + Duration::from_secs(seconds));
        assert_eq!(
            clamp(asked, now, &settings),
            now + Duration::from_secs(expected)
        );
    };
    check(None, 30);
    check(Some(1), 1);
    check(Some(200), 200);
    check(Some(201), 200);
}

#[tokio::test]
async fn the_limit_of_depth_passes_and_one_more_is_refused() {
    let fixture = PipelineFixture::new(|_| ready(Ok(Reply::one(""))));
    fixture.apply(PipelineSettings {
        depth_max: 2,
        ..PipelineSettings::default()
    });
    let at_depth = |depth| {
        let mut call = Call::unary("users", "Get", "");
        call.context.depth = depth;
        fixture.pipeline.call(call)
    };
    assert!(at_depth(2).await.is_ok());
    let error = at_depth(3).await.expect_err("too deep");
    assert_eq!(error.kind, Kind::FailedPrecondition);
    assert_eq!(error.message, "3 plugins call one another, the limit is 2");
}

#[tokio::test]
async fn a_call_whose_time_is_over_does_not_reach_the_handler() {
    let fixture = PipelineFixture::new(|_| unreachable!("refused before"));
    let mut call = Call::unary("users", "Get", "");
    call.context.deadline = Some(clock::now());
    let error = fixture.pipeline.call(call).await.expect_err("late");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Client)
    );
}

#[tokio::test]
async fn a_streamed_call_is_booked_after_its_last_message() {
    let fixture = PipelineFixture::new(|call| ready(Ok(echo(call))));
    let mut call = Call::unary("users", "Watch", "");
    call.body = messages(vec![Ok("abc".into()), Ok("de".into())]);
    let reply = fixture.pipeline.call(call).await.expect("answered");
    let Body::Messages(mut replies) = reply.body else {
        unreachable!("a stream went in")
    };
    assert_eq!(
        replies.next().await.expect("a message").expect("no error"),
        "abc"
    );
    assert_eq!(fixture.numbers("users").in_flight, 1);
    assert_eq!(
        replies.next().await.expect("a message").expect("no error"),
        "de"
    );
    assert!(replies.next().await.is_none());
    let numbers = fixture.numbers("users");
    assert_eq!(
        numbers.ended,
        [(Transport::Memory, BookedOutcome::Success, 1)]
    );
    assert_eq!((numbers.bytes_in, numbers.bytes_out), (5, 5));
}

#[tokio::test]
async fn a_stream_that_breaks_is_booked_by_its_error_and_ends() {
    let fixture = PipelineFixture::new(|_| {
        let body = messages(vec![
            Ok("abc".into()),
            Err(Error::internal("broken")),
            Ok("x".into()),
        ]);
        ready(Ok(Reply::new(postern_core::Headers::new(), body)))
    });
    let reply = fixture
        .pipeline
        .call(Call::unary("users", "Watch", ""))
        .await
        .expect("answered");
    let Body::Messages(mut replies) = reply.body else {
        unreachable!("a stream went in")
    };
    assert!(replies.next().await.expect("a message").is_ok());
    assert!(replies.next().await.expect("an error").is_err());
    assert!(replies.next().await.is_none());
    let ended = fixture.numbers("users").ended;
    assert_eq!(
        ended,
        [(Transport::Memory, BookedOutcome::Failed(Kind::Internal), 1)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_is_ended_at_the_deadline() {
    let fixture = PipelineFixture::new(|_| {
        let body = Body::Messages(BodyStream::new(stream::pending()));
        ready(Ok(Reply::new(postern_core::Headers::new(), body)))
    });
    let reply = fixture
        .pipeline
        .call(Call::unary("users", "Watch", ""))
        .await
        .expect("answered");
    let Body::Messages(replies) = reply.body else {
        unreachable!("a stream went in")
    };
    let mut replies = pin!(replies);
    let error = replies
        .next()
        .await
        .expect("an error")
        .expect_err("stalled");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
}

#[tokio::test]
async fn calls_that_come_together_go_on_together_and_are_booked_one_by_one() {
    let fixture = PipelineFixture::new(|call| match &*call.method {
        "Fail" => ready(Err(Error::internal("it fails"))),
        _ => ready(Ok(echo(call))),
    });
    let call =
        |service: &str, method: &str, body: &str| Call::unary(service, method, body.to_owned());
    let mut late = call("users", "Get", "late");
    late.context.deadline = Some(clock::now());
    let answering = fixture.pipeline.call_batch(vec![
        call("users", "Get", "one"),
        call("users", "Fail", "two"),
        call("nobody", "Get", "three"),
        late,
        call("users", "Get", "four"),
    ]);
    let mut told = Vec::new();
    for answer in answering {
        told.push(match answer.await {
            Ok(reply) => reply.body.into_one(10).await.expect("one message"),
            Err(error) => error.kind.name().into(),
        });
    }
    let expected = ["one", "internal", "not-found", "deadline-exceeded", "four"];
    assert_eq!(told, expected);
    assert_eq!(*fixture.batches.lock(), [2, 1], "calls of each batch");
    let numbers = fixture.numbers("users");
    assert_eq!((numbers.in_flight, numbers.n_failed()), (0, 2));
    assert_eq!(numbers.durations.count(), 4);
    assert_eq!(fixture.numbers(UNROUTED).n_failed(), 1);
}

#[tokio::test]
async fn urgency_that_nobody_vouches_for_is_that_of_any_call() {
    let guard = guard();
    for guard in [None, Some(Arc::new(guard))] {
        let told = |call: Call| Reply::one(call.context.priority.to_string());
        let fixture = PipelineFixture::new(move |call| ready(Ok(told(call))));
        fixture.pipeline.apply(PipelineRules {
            guard,
            ..PipelineRules::default()
        });
        let cases = [
            (Transport::Tcp, 255, "50"),
            (Transport::Http, 51, "50"),
            (Transport::Tcp, 7, "7"),
            // Has the urgency of the call that the plugin answers.
            (Transport::Plugin, 255, "255"),
        ];
        for (transport, priority, expected) in cases {
            let mut call = Call::unary("users", "Get", "");
            call.context.priority = priority;
            call.context.peer = Arc::new(Peer {
                transport,
                ..(*call.context.peer).clone()
            });
            let reply = fixture.pipeline.call(call).await.expect("answered");
            let told = reply.body.into_one(10).await.expect("one message");
            assert_eq!(told, expected, "{priority} over {}", transport.name());
        }
    }
}

#[tokio::test]
async fn calls_that_come_together_meet_what_stands_in_the_way_one_by_one() {
    let fixture = PipelineFixture::new(|call| ready(Ok(echo(call))));
    let guard = guard();
    fixture.pipeline.apply(PipelineRules {
        guard: Some(Arc::new(guard)),
        ..PipelineRules::default()
    });
    let calls = ["one", "two"].map(|body| Call::unary("users", "Get", body));
    for (answer, body) in fixture
        .pipeline
        .call_batch(calls.into())
        .into_iter()
        .zip(["one", "two"])
    {
        let reply = answer.await.expect("answered");
        assert_eq!(reply.body.into_one(10).await.expect("one message"), body);
    }
    assert_eq!(fixture.batches.lock().len(), 0);
    assert_eq!(fixture.numbers("users").durations.count(), 2);
}

/// A pipeline with one service, `users`, answered by a function.
struct PipelineFixture {
    pipeline: Pipeline,
    book: CallBook,
    /// How many calls came in each batch.
    batches: Arc<Mutex<Vec<usize>>>,
}

struct Answerer<F>(F, Arc<Mutex<Vec<usize>>>);

impl PipelineFixture {
    fn new(
        answer: impl Fn(Call) -> BoxFuture<Result<Reply, Error>> + Send + Sync + 'static,
    ) -> Self {
        let (book, routes) = (CallBook::default(), Arc::new(Routes::default()));
        let batches = Arc::default();
        routes.set_complete();
        routes.publish([Route {
            service: "users".into(),
            version: None,
            plugin: "users".into(),
            generation: 1,
            methods: None,
            target: RouteTarget::Live(Arc::new(Answerer(answer, Arc::clone(&batches)))),
            metrics: book.service(&"users".into()),
        }]);
        Self {
            pipeline: Pipeline::new(routes, Arc::default(), PipelineRules::default(), &book),
            book,
            batches,
        }
    }

    fn apply(&self, settings: PipelineSettings) {
        self.pipeline.apply(PipelineRules {
            settings,
            ..PipelineRules::default()
        });
    }

    fn numbers(&self, service: &str) -> CallNumbers {
        self.book.service(&service.into()).numbers()
    }
}

impl<F> Handler for Answerer<F>
where
    F: Fn(Call) -> BoxFuture<Result<Reply, Error>> + Send + Sync + 'static,
{
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        (self.0)(call)
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        self.1.lock().push(calls.len());
        calls.into_iter().map(|call| self.call(call)).collect()
    }
}

fn echo(call: Call) -> Reply {
    Reply::new(call.headers, call.body)
}

fn ready(result: Result<Reply, Error>) -> BoxFuture<Result<Reply, Error>> {
    Box::pin(std::future::ready(result))
}

fn messages(messages: Vec<Result<Bytes, Error>>) -> Body {
    Body::Messages(BodyStream::new(stream::iter(messages)))
}
