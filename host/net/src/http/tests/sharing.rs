//! Cross-origin sharing over a real fixture: every kind of origin against every kind of request.

use super::*;

const PAGE: &str = "https://app.example.org";

#[tokio::test]
async fn a_door_without_sharing_says_nothing_of_it() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for request in [
        preflight(PAGE, "content-type"),
        post("echo/Say", &from(PAGE), "1"),
    ] {
        let response = fixture.raw(&request).await;
        assert!(!response.contains("access-control-"), "{response}");
        assert!(!response.contains("vary"), "{response}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_before_the_pipeline() {
    let fixture = sharing(&["https://*.example.org"], true).await;
    // A method that would hang shows that the handler is not asked.
    let request = preflight(PAGE, "content-type").replace("echo/Say", "hang/On");
    let response = fixture.raw(&request).await;
    check(
        &response,
        204,
        &[
            "access-control-allow-origin: https://app.example.org\r\n",
            "access-control-allow-methods: GET, POST\r\n",
            "access-control-allow-headers: content-type, authorization\r\n",
            "access-control-allow-credentials: true\r\n",
            "access-control-max-age: 600\r\n",
            "vary: origin, access-control-request-method, access-control-request-headers\r\n",
        ],
    );
    assert_eq!(fixture.handler.n_hanging.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_preflight_of_a_foreign_page_is_given_nothing() {
    let fixture = sharing(&["https://*.example.org"], true).await;
    for page in ["https://example.com", "http://app.example.org", "null"] {
        let response = fixture.raw(&preflight(page, "content-type")).await;
        check(&response, 204, &["vary: origin, access-control-"]);
        assert!(!response.contains("access-control-allow"), "{response}");
        assert!(!response.contains("access-control-max-age"), "{response}");
    }
}

#[tokio::test]
async fn an_allowed_page_reads_answers_and_errors_alike() {
    let fixture = sharing(&[PAGE], false).await;
    let shared = [
        "access-control-allow-origin: https://app.example.org\r\n",
        "access-control-expose-headers: x-postern-error\r\n",
        "vary: origin\r\n",
    ];
    let response = fixture.raw(&post("echo/Say", &from(PAGE), "1")).await;
    check(&response, 200, &shared);
    assert!(!response.contains("allow-credentials"), "{response}");
    let response = fixture.raw(&post("fail/not-found", &from(PAGE), "1")).await;
    check(&response, 404, &shared);
    let response =
        fixture.raw("GET /nope HTTP/1.1\r\nhost: x\r\norigin: https://app.example.org\r\n\r\n");
    check(&response.await, 404, &shared);
}

#[tokio::test]
async fn answers_to_others_vary_by_origin_but_share_nothing() {
    let fixture = sharing(&[PAGE], false).await;
    for (head, status) in [(String::new(), 200), (from("https://evil.example"), 403)] {
        let response = fixture.raw(&post("echo/Say", &head, "1")).await;
        check(&response, status, &["vary: origin\r\n"]);
        assert!(!response.contains("access-control-"), "{response}");
    }
}

#[tokio::test]
async fn a_star_is_written_as_a_star_and_does_not_vary() {
    let fixture = sharing(&["*"], false).await;
    let response = fixture
        .raw(&post("echo/Say", &from("https://anything.example"), "1"))
        .await;
    check(&response, 200, &["access-control-allow-origin: *\r\n"]);
    assert!(!response.contains("vary"), "{response}");
}

#[tokio::test]
async fn every_header_is_allowed_by_repeating_what_is_asked_for() {
    let config = CorsConfig {
        headers: vec!["*".to_owned()],
        ..config(&[PAGE], false)
    };
    let fixture = open(&config).await;
    let response = fixture.raw(&preflight(PAGE, "x-one, x-two")).await;
    check(
        &response,
        204,
        &["access-control-allow-headers: x-one, x-two\r\n"],
    );
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_answered_as_ever() {
    let fixture = sharing(&[PAGE], false).await;
    let request = "OPTIONS /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    check(
        &fixture.raw(request).await,
        204,
        &["allow: POST, OPTIONS\r\n"],
    );
}

#[tokio::test]
async fn content_that_a_page_may_send_unasked_stays_refused() {
    let fixture = sharing(&["*"], false).await;
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let head = format!("{}content-type: {media}\r\n", from(PAGE));
        let response = fixture.raw(&post("echo/Say", &head, "1")).await;
        check(&response, 415, &["is not accepted"]);
    }
}

#[tokio::test]
async fn what_a_handler_says_of_sharing_gives_way_to_the_listener() {
    let fixture = sharing(&[PAGE], false).await;
    let response = fixture.raw(&post("headers/Shared", "", "")).await;
    check(&response, 200, &["x-colour: green\r\n"]);
    assert!(!response.contains("access-control-"), "{response}");
}

#[track_caller]
fn check(response: &str, status: u16, parts: &[&str]) {
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{response}"
    );
    for part in parts {
        assert!(response.contains(part), "{part} in {response}");
    }
}

fn config(origins: &[&str], credentials: bool) -> CorsConfig {
    let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    CorsConfig {
        origins: owned(origins),
        methods: owned(&["GET", "POST"]),
        headers: owned(&["content-type", "authorization"]),
        exposed_headers: owned(&["x-postern-error"]),
        credentials,
        max_age: Duration::from_secs(600),
    }
}

async fn sharing(origins: &[&str], credentials: bool) -> Fixture {
    open(&config(origins, credentials)).await
}

async fn open(config: &CorsConfig) -> Fixture {
    Fixture::open(HttpConfig {
        cors: Some(Cors::new(config).expect("legal")),
        ..HttpConfig::default()
    })
    .await
}

fn from(page: &str) -> String {
    format!("origin: {page}\r\n")
}

fn preflight(page: &str, headers: &str) -> String {
    format!(
        "OPTIONS /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\nconnection: close\r\norigin: {page}\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: {headers}\r\n\r\n"
    )
}
