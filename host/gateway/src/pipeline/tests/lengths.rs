//! `calls.body-bytes-max` holds for every message, in both directions.

use super::*;

/// A pipeline whose messages have at most 4 octets.
fn narrow(
    answer: impl Fn(Call) -> BoxFuture<Result<Reply, Error>> + Send + Sync + 'static,
) -> PipelineFixture {
    let fixture = PipelineFixture::new(answer);
    fixture.apply(PipelineSettings {
        body_bytes_max: 4,
        ..PipelineSettings::default()
    });
    fixture
}

/// What is said of a message of 5 octets: the caller may send a shorter one, and cannot help it when
/// the reply is too long.
#[track_caller]
fn check_too_long(error: &Error, blame: Blame) {
    let (kind, http) = match blame == Blame::Client {
        true => ("resource-exhausted", 413),
        false => ("internal", 500),
    };
    let told = "message of 5 octets exceeds the limit of 4 (calls.body-bytes-max)";
    assert_eq!(error.to_string(), format!("{kind}: {told}"));
    assert_eq!((error.blame, error.http()), (blame, http));
}

#[tokio::test]
async fn a_message_of_the_limit_passes_and_one_octet_more_is_refused_either_way() {
    let fixture = narrow(|call| match &*call.method {
        "Long" => ready(Ok(Reply::one("12345"))),
        _ => ready(Ok(echo(call))),
    });
    let call = |method: &str, body: &str| Call::unary("users", method, body.to_owned());
    let pipeline = &fixture.pipeline;
    assert!(pipeline.call(call("Get", "1234")).await.is_ok());
    let calls = || {
        [
            (call("Get", "12345"), Blame::Client),
            (call("Long", ""), Blame::Guest),
        ]
    };
    for (call, blame) in calls() {
        let error = pipeline.call(call).await.expect_err("too long");
        check_too_long(&error, blame);
    }
    let (calls, blames): (Vec<_>, Vec<_>) = calls().into_iter().unzip();
    for (answer, blame) in pipeline.call_batch(calls).into_iter().zip(blames) {
        let error = answer.await.expect_err("too long");
        check_too_long(&error, blame);
    }
    assert_eq!(fixture.numbers("users").n_failed(), 4);
}

#[tokio::test]
async fn a_stream_ends_at_the_message_that_is_too_long() {
    let texts = ["1234", "12345", "1"];
    let streamed = move || messages(texts.map(|text| Ok(text.into())).into());
    // The handler takes whatever comes, so that the limit is the reply's.
    let fixture = narrow(move |_| {
        let (headers, body) = (postern_core::Headers::new(), streamed());
        ready(Ok(Reply::new(headers, body)))
    });
    let reply = fixture
        .pipeline
        .call(Call::unary("users", "Watch", ""))
        .await;
    check_cut(reply.expect("begun").body, Blame::Guest).await;
    assert_eq!(fixture.numbers("users").n_failed(), 1);

    let (seen, taken) = std::sync::mpsc::channel();
    let fixture = narrow(move |call| {
        seen.send(call.body).expect("somebody looks");
        ready(Ok(Reply::one("")))
    });
    let mut call = Call::unary("users", "Send", "");
    call.body = messages(texts.map(|text| Ok(text.into())).into());
    fixture.pipeline.call(call).await.expect("answered");
    check_cut(taken.recv().expect("a body"), Blame::Client).await;
}

/// The first message is there, the second is an error, nothing follows.
async fn check_cut(body: Body, blame: Blame) {
    let Body::Messages(mut stream) = body else {
        unreachable!("a stream went in")
    };
    assert_eq!(
        stream.next().await.expect("a message").expect("short"),
        "1234"
    );
    let error = stream
        .next()
        .await
        .expect("an error")
        .expect_err("too long");
    check_too_long(&error, blame);
    assert!(stream.next().await.is_none());
}
