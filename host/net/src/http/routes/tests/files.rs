//! Files of a folder: what is sent, and what never is.

use std::{fs, path::Path};

use postern_core::route::FilesEnd;

use super::*;

struct Site {
    folder: tempfile::TempDir,
    fixture: Fixture,
}

impl Site {
    /// A folder `www` beside `secret.txt`, at `/files/`.
    async fn open(change: impl FnOnce(&mut FilesEnd)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let www = folder.path().join("www");
        for (name, text) in [
            ("secret.txt", "secret"),
            ("www/a.txt", "0123456789"),
            ("www/page.html", "<p>"),
            ("www/sub/index.html", "index"),
            ("www/app.js", "plain"),
            ("www/app.js.br", "brotli"),
            ("www/app.js.gz", "gzip"),
            ("www/.env", "hidden"),
            ("www/.well-known/x", "known"),
            ("www/a b", "space"),
        ] {
            write(&folder.path().join(name), text);
        }
        let mut end = FilesEnd {
            folder: www,
            has_index: true,
            fallback: None,
            has_precompressed: true,
            follows_links: false,
            shows_hidden: false,
        };
        change(&mut end);
        let files = route(
            "files",
            rule("/files/{path*}", &["GET"]),
            RouteEnd::Files(end),
        );
        Self {
            folder,
            fixture: Fixture::open(vec![files]).await,
        }
    }

    async fn get(&self, path: &str, head: &str) -> Answer {
        self.fixture
            .ask(&format!("GET /files/{path}"), head, "")
            .await
    }

    fn www(&self) -> std::path::PathBuf {
        self.folder.path().join("www")
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    fs::write(path, text).expect("written");
}

fn value(answer: &Answer, name: &str) -> String {
    let begin = format!("{name}: ");
    let mut lines = answer.raw_head.lines();
    let line = lines.find_map(|line| line.strip_prefix(&begin).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {}", answer.head))
}

#[tokio::test]
async fn a_file_has_its_type_its_length_and_its_tag() {
    let site = Site::open(|_| {}).await;
    let answer = site.get("a.txt", "").await;
    answer
        .check(200, "0123456789")
        .has("content-type: text/plain; charset=utf-8");
    answer.has("content-length: 10").has("accept-ranges: bytes");
    assert!(value(&answer, "last-modified").ends_with("GMT"));
    let answer = site.get("page.html", "").await;
    answer
        .check(200, "<p>")
        .has("content-type: text/html; charset=utf-8");
    site.get("a%20b", "").await.check(200, "space");
    let answer = site.fixture.ask("HEAD /files/a.txt", "", "").await;
    answer.check(200, "").has("content-length: 10");
    site.get("none.txt", "").await.check_status(404);
    site.fixture.close().await;
}

#[tokio::test]
async fn parts_and_conditions_are_those_of_rfc_9110() {
    let site = Site::open(|_| {}).await;
    let answer = site.get("a.txt", "range: bytes=2-4\r\n").await;
    answer
        .check(206, "234")
        .has("content-range: bytes 2-4/10")
        .has("content-length: 3");
    site.get("a.txt", "range: bytes=-3\r\n")
        .await
        .check(206, "789");
    site.get("a.txt", "range: bytes=8-\r\n")
        .await
        .check(206, "89");
    let answer = site.get("a.txt", "range: bytes=10-\r\n").await;
    answer.check_status(416).has("content-range: bytes */10");
    site.get("a.txt", "range: bytes=0-1,4-5\r\n")
        .await
        .check(200, "0123456789");

    let whole = site.get("a.txt", "").await;
    let (etag, date) = (value(&whole, "etag"), value(&whole, "last-modified"));
    let answer = site
        .get("a.txt", &format!("if-none-match: {etag}\r\n"))
        .await;
    answer.check(304, "").has(&format!("etag: {etag}"));
    site.get("a.txt", &format!("if-modified-since: {date}\r\n"))
        .await
        .check(304, "");
    site.get("a.txt", "if-match: \"other\"\r\n")
        .await
        .check_status(412);
    let range = "range: bytes=0-1\r\n";
    site.get("a.txt", &format!("{range}if-range: {etag}\r\n"))
        .await
        .check(206, "01");
    let other = "if-range: \"other\"\r\n";
    site.get("a.txt", &format!("{range}{other}"))
        .await
        .check(200, "0123456789");

    write(&site.www().join("a.txt"), "something else");
    let answer = site
        .get("a.txt", &format!("if-none-match: {etag}\r\n"))
        .await;
    answer.check(200, "something else");
    site.fixture.close().await;
}

#[tokio::test]
async fn a_folder_is_its_index_and_is_named_with_a_slash() {
    let site = Site::open(|_| {}).await;
    site.get("sub/", "").await.check(200, "index");
    let answer = site.get("sub?a=b", "").await;
    answer.check_status(307).has("location: /files/sub/?a=b");
    site.get("", "").await.check_status(404);
    site.get("a.txt/", "").await.check_status(404);
    let answer = site.fixture.ask("GET /files", "", "").await;
    answer.check_status(308).has("location: /files/");
    site.fixture.close().await;
    let site = Site::open(|end| end.has_index = false).await;
    site.get("sub/", "").await.check_status(404);
    site.fixture.close().await;
}

#[tokio::test]
async fn what_is_compressed_already_is_sent_to_those_who_accept_it() {
    let site = Site::open(|_| {}).await;
    let answer = site.get("app.js", "accept-encoding: gzip, br\r\n").await;
    answer
        .check(200, "brotli")
        .has("content-encoding: br")
        .has("vary: accept-encoding");
    let answer = site
        .get("app.js", "accept-encoding: gzip, br;q=0.1\r\n")
        .await;
    answer.check(200, "gzip").has("content-encoding: gzip");
    let answer = site.get("app.js", "accept-encoding: zstd\r\n").await;
    answer
        .check(200, "plain")
        .lacks("content-encoding")
        .has("vary: accept-encoding");
    site.fixture.close().await;
    let site = Site::open(|end| end.has_precompressed = false).await;
    site.get("app.js", "accept-encoding: br\r\n")
        .await
        .check(200, "plain");
    site.fixture.close().await;
}

#[tokio::test]
async fn a_path_without_a_file_is_the_fallback_where_there_is_one() {
    let site = Site::open(|end| end.fallback = Some("page.html".into())).await;
    site.get("some/route", "").await.check(200, "<p>");
    site.get("a.txt", "").await.check(200, "0123456789");
    site.fixture.close().await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let site = Site::open(|_| {}).await;
    for (path, status) in [
        ("../secret.txt", 400),
        ("%2e%2e/secret.txt", 400),
        ("..%2fsecret.txt", 404),
        ("..%5csecret.txt", 404),
        ("sub/..%2f..%2fsecret.txt", 404),
        ("/secret.txt", 404),
        ("//secret.txt", 404),
        ("%2fetc%2fpasswd", 404),
        ("a.txt%00", 400),
        ("c:/windows", 404),
        (".env", 404),
        ("sub//index.html", 404),
    ] {
        site.get(path, "").await.check_status(status);
    }
    site.get(".well-known/x", "").await.check(200, "known");
    let long = "x".repeat(5000);
    site.get(&long, "").await.check_status(404);
    site.fixture.close().await;
    let site = Site::open(|end| end.shows_hidden = true).await;
    site.get(".env", "").await.check(200, "hidden");
    site.fixture.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_leads_out_of_the_folder_only_where_that_is_allowed() {
    use std::os::unix::fs::symlink;
    for follows_links in [false, true] {
        let site = Site::open(|end| end.follows_links = follows_links).await;
        let www = site.www();
        symlink("../secret.txt", www.join("up.txt")).expect("a link");
        symlink(site.folder.path().join("secret.txt"), www.join("far.txt")).expect("a link");
        symlink(site.folder.path(), www.join("all")).expect("a link");
        symlink("a.txt", www.join("near.txt")).expect("a link");
        symlink("loop", www.join("loop")).expect("a link");
        for path in ["up.txt", "far.txt", "all/secret.txt"] {
            let answer = site.get(path, "").await;
            match follows_links {
                true => answer.check(200, "secret"),
                false => answer.check_status(404),
            };
        }
        site.get("near.txt", "").await.check(200, "0123456789");
        assert!(!site.get("loop", "").await.head.starts_with("http/1.1 2"));
        site.fixture.close().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_no_file_and_holds_nobody_up() {
    let site = Site::open(|_| {}).await;
    let pipe = std::process::Command::new("mkfifo")
        .arg(site.www().join("pipe"))
        .status();
    assert!(pipe.expect("mkfifo").success());
    site.get("pipe", "").await.check_status(404);
    site.fixture.close().await;
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let site = Site::open(|_| {}).await;
    let text: String = (0..300_000).map(|n| format!("{n:09}\n")).collect();
    write(&site.www().join("large"), &text);
    let answer = site.get("large", "").await;
    answer.check_status(200).has("content-length: 3000000");
    assert!(answer.body == text.as_bytes());
    site.fixture.close().await;
}
