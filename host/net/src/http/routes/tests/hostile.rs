//! What is sent by nobody who means well: each request with what it is told.

use super::*;

async fn fixture() -> Fixture {
    Fixture::open(vec![
        method("GET", "/users/{id}", "echo/Get"),
        fixed("/admin", &[], 200, "admin"),
        redirect("/to/{path*}", "/{path}", 302),
        fixed("/rest/{path*}", &[], 200, "rest"),
    ])
    .await
}

#[tokio::test]
async fn paths_that_lead_elsewhere_or_are_no_text_are_refused() {
    let fixture = fixture().await;
    for path in [
        "/rest/../admin",
        "/rest/%2e%2e/admin",
        "/rest/.%2E/admin",
        "/./admin",
        "/rest/%2e",
        "/users/%00",
        "/users/a%0d%0ax:y",
        "/users/%ff",
        "/users/%c0%ae%c0%ae",
        "/users/%",
        "/users/%zz",
    ] {
        let answer = fixture.ask(&format!("GET {path}"), "", "").await;
        answer.check_status(400).lacks("admin");
    }
    fixture.close().await;
}

#[tokio::test]
async fn other_spellings_of_a_path_are_other_paths() {
    let fixture = fixture().await;
    for path in [
        "/ADMIN",
        "//admin",
        "/admin/",
        "/admin;x",
        "/admin%2F",
        "/%2Fadmin",
        "/%252e%252e/admin",
        "/x/%2e%2e%2fadmin",
    ] {
        let answer = fixture.ask(&format!("GET {path}"), "", "").await;
        answer.check_status(404);
    }
    // The same name in other octets is the same.
    fixture
        .ask("GET /%61dmin", "", "")
        .await
        .check(200, "admin");
    fixture
        .ask("GET /users/a%2Fb", "", "")
        .await
        .check(200, "{\"id\":\"a/b\"}");
    fixture
        .ask("GET /users/..%2f..", "", "")
        .await
        .check(200, "{\"id\":\"../..\"}");
    fixture
        .ask("GET /rest//a//", "", "")
        .await
        .check(200, "rest");
    fixture.close().await;
}

#[tokio::test]
async fn a_redirect_never_leaves_for_a_host_that_a_client_names() {
    let fixture = fixture().await;
    for (path, location) in [
        ("/to//evil.example", "/evil.example"),
        ("/to/%2Fevil.example", "/%2fevil.example"),
        ("/to/%5Cevil.example", "/%5cevil.example"),
        ("/to/%40evil.example", "/%40evil.example"),
        ("/to/https:/evil.example", "/https:/evil.example"),
    ] {
        let answer = fixture.ask(&format!("GET {path}"), "", "").await;
        answer
            .check_status(302)
            .has(&format!("location: {location}"));
    }
    fixture.close().await;
}

#[tokio::test]
async fn long_and_deep_paths_and_queries_end() {
    let fixture = fixture().await;
    let deep = format!("GET /rest{}", "/a".repeat(300));
    fixture.ask(&deep, "", "").await.check_status(414);
    let long = format!("GET /users/{}", "x".repeat(8000));
    fixture.ask(&long, "", "").await.check_status(200);
    let many: String = (0..2000).map(|n| format!("{n}&")).collect();
    fixture
        .ask(&format!("GET /users/7?{many}"), "", "")
        .await
        .check_status(400);
    fixture.close().await;
}

#[tokio::test]
async fn a_body_says_nothing_other_than_the_path() {
    let fixture = Fixture::open(vec![method("PUT", "/users/{id}", "echo/Put")]).await;
    let json = "content-type: application/json\r\n";
    for body in [
        "{\"id\":\"8\"}",
        "{\"id\":\"7\",\"id\":\"8\"}",
        "{\"\\u0069d\":\"8\"}",
        "{\"id\":null}",
        "{\"id\":[\"7\"]}",
    ] {
        fixture
            .ask("PUT /users/7", json, body)
            .await
            .check_status(422);
    }
    fixture
        .ask("PUT /users/7?id=8", "", "")
        .await
        .check_status(422);
    fixture.close().await;
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_whatever_the_route() {
    let fixture = fixture().await;
    for path in ["/users/7", "/admin", "/to/x"] {
        let origin = "origin: https://evil.example\r\n";
        fixture
            .ask(&format!("GET {path}"), origin, "")
            .await
            .check_status(403);
    }
    fixture.close().await;
}

#[tokio::test]
async fn ten_thousand_routes_answer() {
    let routes = (0..10_000).map(|n| fixed(&format!("/r{n}/{{id}}"), &["GET"], 200, "found"));
    let fixture = Fixture::open(routes.collect()).await;
    fixture
        .ask("GET /r9999/x", "", "")
        .await
        .check(200, "found");
    fixture.ask("GET /r10000/x", "", "").await.check_status(404);
    fixture.close().await;
}
