//! Statuses, ends and challenges of replies.

use postern_core::Blame;

use super::*;

#[track_caller]
fn check(details: &'static str, expected: &str) {
    let error = Error::new(Kind::Unauthenticated, Blame::Client, "no").with_details(details);
    let response = refusal(StatusCode::UNAUTHORIZED, &error, ErrorForm::default());
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], expected);
}

fn answered(status: u16, body: Body) -> Response<ReplyBody> {
    let reply = Reply {
        status: HttpStatus::new(status).ok(),
        ..Reply::new(Headers::new(), body)
    };
    let bytes = std::sync::Arc::new(crate::ByteBudget::unlimited()).connection(1 << 20);
    success(reply, ReplyTo::default(), &bytes).expect("there is room")
}

#[test]
fn a_reply_has_the_status_that_its_handler_sets() {
    let response = answered(201, Body::One("{}".into()));
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
}

#[test]
fn a_status_without_content_has_none() {
    for status in [204, 304] {
        let response = answered(status, Body::One("{}".into()));
        assert_eq!(response.status(), status);
        assert!(http_body::Body::is_end_stream(response.body()));
        assert!(response.headers().is_empty(), "{:?}", response.headers());
    }
}

#[tokio::test]
async fn octets_that_fail_have_no_end() {
    use http_body_util::BodyExt as _;
    let pieces = [Ok(Bytes::from("a")), Err(Error::internal("broken"))];
    let stream = BodyStream::new(futures_util::stream::iter(pieces));
    let mut body = answered(200, Body::Octets(stream)).into_body();
    let piece = body.frame().await.expect("a piece").expect("whole");
    assert_eq!(piece.into_data().expect("data"), "a");
    let error = body
        .frame()
        .await
        .expect("an end")
        .expect_err("an early one");
    assert_eq!(error.message, "broken");
    assert!(body.frame().await.is_none());
}

#[test]
fn a_challenge_of_the_details_is_what_401_asks_for() {
    check(
        "{\"challenge\":\"Bearer error=\\\"x\\\"\"}",
        "Bearer error=\"x\"",
    );
    check("{\"challenge\":\"a\\nb\"}", "Bearer");
    check("{\"challenge\":5}", "Bearer");
    check("{}", "Bearer");
}
