//! Redirects, fixed answers, hosts, upstreams, and routes that come and go.

use postern_core::route::{HostPattern, PathRewrite, UpstreamEnd};

use super::*;

#[tokio::test]
async fn a_redirect_leads_to_its_address_with_parameters_and_query() {
    let fixture = Fixture::open(vec![
        redirect("/old/{id}", "/new/{id}", 301),
        redirect(
            "/go/{path*}",
            "https://www.example.org/{path}?from=edge",
            307,
        ),
    ])
    .await;
    let answer = fixture.ask("GET /old/a%20b?x=1", "", "").await;
    answer.check(301, "").has("location: /new/a%20b?x=1");
    let answer = fixture
        .ask("POST /go/a/b?x=1", "content-type: text/plain\r\n", "body")
        .await;
    answer
        .check(307, "")
        .has("location: https://www.example.org/a/b?from=edge&x=1");
    fixture.close().await;
}

#[tokio::test]
async fn a_fixed_answer_is_the_same_for_all() {
    let fixture = Fixture::open(vec![
        fixed("/robots.txt", &["GET"], 200, "User-agent: *"),
        fixed("/gone/{rest*}", &[], 410, "gone"),
        fixed("/empty", &[], 204, ""),
    ])
    .await;
    let answer = fixture.ask("GET /robots.txt", "", "").await;
    answer
        .check(200, "User-agent: *")
        .has("content-type: text/plain; charset=utf-8");
    let answer = fixture.ask("HEAD /robots.txt", "", "").await;
    answer.check(200, "").has("content-length: 13");
    fixture
        .ask("DELETE /gone/a/b", "", "")
        .await
        .check(410, "gone");
    fixture.ask("GET /empty", "", "").await.check(204, "");
    fixture
        .ask("PUT /robots.txt", "", "")
        .await
        .check_status(405);
    fixture.close().await;
}

#[tokio::test]
async fn a_link_on_a_page_of_another_origin_is_followed_and_nothing_more_is_done_for_it() {
    let fixture = Fixture::open(vec![
        fixed("/robots.txt", &[], 200, "all"),
        redirect("/old", "/new", 302),
        method("GET", "/users", "echo/Get"),
    ])
    .await;
    let page = "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n";
    fixture
        .ask("GET /robots.txt", page, "")
        .await
        .check(200, "all");
    fixture.ask("GET /old", page, "").await.check_status(302);
    fixture
        .ask("POST /robots.txt", page, "")
        .await
        .check_status(403);
    fixture.ask("GET /users", page, "").await.check_status(403);
    fixture.close().await;
}

#[tokio::test]
async fn the_host_decides_over_both_versions_of_http() {
    let mut here = fixed("/", &[], 200, "here");
    here.rule.hosts = vec![HostPattern::parse("*.example").expect("a host")];
    let mut other = fixed("/", &[], 200, "other");
    other.name = "other".into();
    let fixture = Fixture::open(vec![here, other]).await;
    fixture.ask("GET /", "", "").await.check(200, "here");
    let request = Request::builder().uri(fixture.uri("/"));
    assert_eq!(fixture.ask_h2(request, "").await.body(), "other");
    fixture.close().await;
}

#[tokio::test]
async fn the_listeners_own_paths_are_taken_by_no_route() {
    let fixture = Fixture::open(vec![fixed("/{rest*}", &[], 200, "route")]).await;
    fixture
        .ask("GET /v1/services", "", "")
        .await
        .check(200, "{\"services\":[]}");
    let post = "POST /v1/services/echo/Say";
    fixture
        .ask(post, "", "{\"a\":1}")
        .await
        .check(200, "{\"a\":1}");
    fixture
        .ask("GET /v1/services/a/b/c", "", "")
        .await
        .check_status(404);
    fixture
        .ask("GET /v1/servicesx", "", "")
        .await
        .check(200, "route");
    fixture.ask("GET /v1", "", "").await.check(200, "route");
    fixture.close().await;
}

#[tokio::test]
async fn a_path_without_its_slash_is_sent_to_the_one_with_it() {
    let fixture = Fixture::open(vec![fixed("/docs/{path*}", &["GET"], 200, "docs")]).await;
    let answer = fixture.ask("GET /docs?a=b", "", "").await;
    answer.check(308, "").has("location: /docs/?a=b");
    // That of the listener itself has its methods.
    fixture.ask("POST /docs", "", "").await.check_status(405);
    fixture.close().await;
}

#[tokio::test]
async fn routes_change_for_the_next_request_of_an_open_connection() {
    let fixture = Fixture::open(vec![fixed("/a", &[], 200, "one")]).await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    for expected in ["one", "two", "no route takes /a"] {
        socket
            .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("writes");
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains(expected) {
            let read = timeout(PATIENCE, socket.read_buf(&mut told)).await;
            assert_ne!(read.expect("in time").expect("open"), 0, "{expected}");
        }
        let next = match expected {
            "one" => fixed("/a", &[], 200, "two"),
            _ => fixed("/b", &[], 200, "three"),
        };
        fixture
            .routes
            .set(RouteTable::new([next]), RouteSchemas::new());
    }
    fixture.close().await;
}

#[tokio::test]
async fn an_upstream_is_asked_for_the_path_and_host_of_its_route() {
    let upstream = |path: &str, rewrite: PathRewrite, host: Option<&str>| {
        let end = UpstreamEnd {
            service: "echo".into(),
            path: rewrite,
            host: host.map(Text::from),
        };
        route(path, rule(path, &[]), RouteEnd::Upstream(end))
    };
    let template = rule("/t/{id}/{rest*}", &[]).path;
    let fixed_path = LocationTemplate::parse("/v2/{rest}/{id}", &template).expect("a location");
    let fixture = Fixture::open(vec![
        upstream("/keep/{rest*}", PathRewrite::Keep, None),
        upstream(
            "/strip/{rest*}",
            PathRewrite::StripPrefix("/strip".into()),
            Some("up.example"),
        ),
        upstream("/t/{id}/{rest*}", PathRewrite::Template(fixed_path), None),
    ])
    .await;
    // The double answers by the method, which is that of HTTP.
    for line in ["GET /keep/a%2Fb?x", "GET /strip/a?x", "GET /t/7/a/b?x"] {
        fixture
            .ask(line, "content-type: text/plain\r\n", "as it is")
            .await
            .check(200, "as it is");
    }
    fixture.close().await;
}
