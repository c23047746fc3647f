//! Many messages: NDJSON in, NDJSON out, and what tells a failed stream from a whole one.

use super::*;

fn many(items: &[&'static str]) -> Body {
    let items: Vec<_> = items
        .iter()
        .map(|item| Ok(Bytes::from_static(item.as_bytes())))
        .collect();
    Body::Messages(BodyStream::new(stream::iter(items)))
}

async fn collect(body: Body) -> Vec<Result<Bytes, String>> {
    let Body::Messages(mut stream) = body else {
        panic!("a stream, not {body:?}")
    };
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        items.push(item.map_err(|error| error.to_string()));
    }
    items
}

#[tokio::test]
async fn lines_of_a_request_are_messages_and_come_back_as_lines() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for http2 in [false, true] {
        let mut call = Call::unary("echo", "Say", "");
        call.body = many(&["{\"a\":1}", "2", "{\n\"b\": 3}"]);
        let reply = fixture.client(http2).call(call).await.expect("echoes");
        let expected = ["{\"a\":1}", "2", "{ \"b\": 3}"].map(|line| Ok(Bytes::from(line)));
        assert_eq!(collect(reply.body).await, expected, "http2 {http2}");
    }
}

#[tokio::test]
async fn a_failed_stream_ends_with_its_error() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for http2 in [false, true] {
        let reply = fixture
            .client(http2)
            .call(Call::unary("count", "Broken", ""))
            .await
            .expect("counts");
        let items = collect(reply.body).await;
        assert_eq!(items.len(), 4, "{items:?}");
        assert_eq!(
            items[3],
            Err("data-loss: the rest is lost".to_owned()),
            "http2 {http2}"
        );
    }
    let response = fixture.raw(&post("count/Broken", "", "")).await;
    assert!(
        response.contains("content-type: application/x-ndjson\r\n"),
        "{response}"
    );
    assert!(
        response.contains("{\"error\":\"the rest is lost\",\"code\":500}\n"),
        "{response}"
    );
}

#[tokio::test]
async fn a_message_that_looks_like_an_error_is_a_message() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let items = ["{\"error\":1}", "{\"error\":2}", "3", "{\"error\":4}"];
    let mut call = Call::unary("echo", "Say", "");
    call.body = many(&items);
    let reply = fixture.client(false).call(call).await.expect("echoes");
    assert_eq!(
        collect(reply.body).await,
        items.map(|line| Ok(Bytes::from(line)))
    );
}

#[tokio::test]
async fn one_message_is_a_line_for_those_who_accept_lines() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let head = "accept: text/html, application/x-ndjson;q=0.9\r\n";
    let response = fixture.raw(&post("echo/Say", head, "{\"a\":1}")).await;
    assert!(
        response.contains("content-type: application/x-ndjson\r\n"),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\n{\"a\":1}\n"), "{response}");
}

#[tokio::test]
async fn a_line_over_the_limit_fails_the_stream() {
    let fixture = Fixture::open(HttpConfig {
        message_bytes_max: 4,
        ..HttpConfig::default()
    })
    .await;
    let head = "content-type: application/x-ndjson\r\n";
    let whole = fixture.raw(&post("echo/Say", head, "1234\n1234")).await;
    assert!(
        whole.contains("1234\n") && !whole.contains("error\":"),
        "{whole}"
    );
    let long = fixture.raw(&post("echo/Say", head, "1234\n12345")).await;
    assert!(
        long.contains("line of 5 octets exceeds the limit of 4"),
        "{long}"
    );
}

#[tokio::test]
async fn a_stream_that_stands_still_fails() {
    let body_timeout = Duration::from_millis(50);
    let fixture = Fixture::open(HttpConfig {
        body_timeout,
        ..HttpConfig::default()
    })
    .await;
    let mut request = post(
        "echo/Say",
        "content-type: application/x-ndjson\r\n",
        "1\n22\n",
    );
    request.pop();
    let response = fixture.raw(&request).await;
    assert!(
        response.contains("1\n") && response.contains("no octets of the body for 50 ms"),
        "{response}"
    );
}

#[tokio::test]
async fn requests_that_arrive_together_over_http2_are_called_together() {
    const N_REQUESTS: u32 = 8;
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut frames = held::Frames::open(&fixture, 65_535).await;
    // Settings are exchanged and one request is answered: what follows is one write and one read.
    frames.ask_as(1, "echo/Say", &[1, 1, b'x']).await;
    frames.answered(1).await;
    let block = [0x83, 1, 1, b'x'];
    let requests: Vec<u8> = (0..N_REQUESTS)
        .flat_map(|n| held::Frames::request(2 * n + 3, "together/Say", false, &block))
        .collect();
    frames.send_octets(&requests).await;
    for _ in 0..N_REQUESTS {
        assert_eq!(frames.body().await, N_REQUESTS.to_string());
    }
}
