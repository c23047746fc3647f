//! Hosts that are refused, alike over HTTP/1 and HTTP/2.

use super::{held::Frames, *};

/// The fields of HTTP/2 that name `authority` and `hosts`, as HPACK has them (RFC 7541 appendix A).
fn fields(authority: Option<&str>, hosts: &[&str]) -> Vec<u8> {
    let authority = authority.map(|value| (&[1][..], value));
    let hosts = hosts.iter().map(|value| (&[0x0f, 23][..], *value));
    let mut block = Vec::new();
    for (name_idx, value) in authority.into_iter().chain(hosts) {
        block.extend_from_slice(name_idx);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// Calls with these hosts over both versions; over HTTP/1 the authority stands in the target.
async fn check(fixture: &Fixture, authority: Option<&str>, hosts: &[&str], refusal: Option<&str>) {
    let expected = refusal.unwrap_or("tell Me");
    let mut frames = Frames::open(fixture, 65_535).await;
    frames.ask_as(1, "tell/Me", &fields(authority, hosts)).await;
    let body = frames.body().await;
    assert!(
        body.contains(expected),
        "HTTP/2 {authority:?} {hosts:?}: {body}"
    );
    let target = authority.map_or_else(String::new, |name| format!("http://{name}"));
    let hosts_fields: String = hosts
        .iter()
        .map(|host| format!("host: {host}\r\n"))
        .collect();
    let request = format!(
        "POST {target}/v1/services/tell/Me HTTP/1.1\r\n{hosts_fields}content-length: 0\r\n\r\n"
    );
    let response = fixture.raw(&request).await;
    let status = if refusal.is_some() { "400" } else { "200" };
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")) && response.contains(expected),
        "HTTP/1.1 {authority:?} {hosts:?}: {response}"
    );
}

#[tokio::test]
async fn a_host_is_judged_alike_over_both_versions_of_http() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    check(&fixture, Some("x"), &["X"], None).await;
    check(&fixture, None, &["x:80"], None).await;
    check(&fixture, None, &[], Some("no host field")).await;
    check(&fixture, None, &["x", "x"], Some("2 host fields")).await;
    check(&fixture, Some("x"), &["x", "y"], Some("2 host fields")).await;
    check(&fixture, Some("x"), &["y"], Some("differ")).await;
    check(&fixture, None, &["a/b"], Some("is not a host")).await;
    check(&fixture, Some("u@x"), &[], Some("is not a host")).await;
}

#[tokio::test]
async fn a_preflight_without_a_host_is_refused() {
    let cors = CorsConfig {
        origins: vec!["https://app.example.org".to_owned()],
        methods: vec!["POST".to_owned()],
        headers: vec![],
        exposed_headers: vec![],
        credentials: false,
        max_age: Duration::ZERO,
    };
    let fixture = Fixture::open(HttpConfig {
        cors: Some(Cors::new(&cors).expect("an origin")),
        ..HttpConfig::default()
    })
    .await;
    let mut frames = Frames::open(&fixture, 65_535).await;
    // `:method: OPTIONS`, `origin`, `access-control-request-method`.
    let mut block = vec![0x02, 7];
    block.extend_from_slice(b"OPTIONS");
    for (name, value) in [
        ("origin", "https://app.example.org"),
        ("access-control-request-method", "POST"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    frames.ask_block(1, "tell/Me", false, block).await;
    let body = frames.body().await;
    assert!(body.contains("no host field"), "{body}");
}
