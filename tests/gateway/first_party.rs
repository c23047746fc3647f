//! Plugins of `plugins/` as their users meet them, where no other file has them.

use std::io::Write as _;

use flate2::{Compression, Crc, write::ZlibEncoder};
use postern_tests::{Gateway, Setup, build_cache, command_in, postern};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::share;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A PNG of grey pixels that says so much of its size.
fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut png = PNG.to_vec();
    let mut chunk = |kind: &[u8; 4], content: &[u8]| {
        let body = [&kind[..], content].concat();
        let mut crc = Crc::new();
        crc.update(&body);
        let length = u32::try_from(content.len()).expect("small");
        png.extend([&length.to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat());
    };
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 0, 0, 0, 0]);
    chunk(b"IHDR", &head);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    for row in pixels.chunks(width as usize) {
        packed.write_all(&[0]).expect("written");
        packed.write_all(row).expect("written");
    }
    chunk(b"IDAT", &packed.finish().expect("written"));
    chunk(b"IEND", &[]);
    png
}

/// `POST /thumbnail?QUERY`: head and body of the answer.
async fn thumbnail(gateway: &Gateway, query: &str, body: &[u8]) -> (String, Vec<u8>) {
    let head = format!(
        "POST /thumbnail?{query} HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(body).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("whole");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let body = answer.split_off(end.expect("a head") + 4);
    (
        String::from_utf8(answer).expect("text").to_lowercase(),
        body,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_goes_in_over_http_and_its_thumbnail_comes_out() {
    let _machine = share().await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("../plugins/thumbnail/thumbnail.toml");
    let manifest = std::fs::read(manifest).expect("it has a manifest");
    let setup = Setup::default()
        .plugin("thumbnail")
        .file("thumbnail.toml", manifest);
    let gateway = Gateway::start(setup).await;
    // Four megapixels, two of them at a time of one grey.
    let pixels: Vec<_> = (0..2_000 * 2_000_u32)
        .map(|at| if at < 2_000 * 1_000 { 32 } else { 200 })
        .collect();
    let (head, body) = thumbnail(&gateway, "width=100", &png(2_000, 2_000, &pixels)).await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("\r\ncontent-type: image/png\r\n"), "{head}");
    assert!(body.starts_with(PNG), "{body:?}");
    assert_eq!(body[16..24], [0, 0, 0, 100, 0, 0, 0, 100]);

    let (head, body) = thumbnail(&gateway, "", &png(50_000, 50_000, &[])).await;
    let told = String::from_utf8_lossy(&body).into_owned();
    assert!(head.starts_with("http/1.1 400 "), "{head}{told}");
    assert!(told.contains("2500000000 pixels"), "{told}");
    let (head, body) = thumbnail(&gateway, "", b"GIF89a").await;
    let told = String::from_utf8_lossy(&body).into_owned();
    assert!(head.starts_with("http/1.1 400 "), "{head}{told}");
    assert!(told.contains("neither a PNG nor a JPEG"), "{told}");
}

#[test]
fn the_page_is_a_component_of_wasi_http_and_of_nothing_else() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = root.join("../plugins/service-page");
    let mut build = command_in(&project);
    build.arg("build").env("XDG_CACHE_HOME", build_cache());
    let built = build.output().expect("the binary runs");
    assert!(built.status.success(), "{built:?}");
    let arguments = [
        "component",
        "inspect",
        "--output",
        "json",
        "service-page.wasm",
    ];
    let inspected = postern(&project, &arguments);
    let inspected: serde_json::Value = serde_json::from_str(&inspected.out).expect("JSON");
    let shown = &inspected;
    let imports = inspected["imports"].to_string();
    assert!(imports.contains("wasi:http/types@0.2."), "{shown}");
    assert!(!imports.contains("postern:gateway/"), "{shown}");
}

/// `GET PATH`, with a line of a head: head and body of the answer.
async fn get(gateway: &Gateway, path: &str, line: &str) -> (String, String) {
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n{line}\r\n");
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (format!("{}\r\n", head.to_lowercase()), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_under_its_prefix_and_calls_what_the_gateway_has() {
    let _machine = share().await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("../plugins/service-page/service-page.toml");
    let manifest = std::fs::read(manifest).expect("it has a manifest");
    let setup = Setup::default()
        .plugin("echo")
        .plugin("service-page")
        .file("service-page.toml", manifest);
    let gateway = Gateway::start(setup).await;
    postern_tests::patiently("the page is served", async || {
        get(&gateway, "/services/", "")
            .await
            .0
            .starts_with("http/1.1 200 ")
    })
    .await;
    let (head, body) = get(&gateway, "/services/", "").await;
    assert!(
        head.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(body.contains("page.js"), "{body}");
    let (_, tag) = head.split_once("\r\netag: ").expect("it has a tag");
    let tag = tag.lines().next().expect("a line");
    let (head, body) = get(&gateway, "/services/", &format!("if-none-match: {tag}\r\n")).await;
    assert!(head.starts_with("http/1.1 304 "), "{head}");
    assert!(body.is_empty(), "{body}");
    let (head, _) = get(&gateway, "/services/absent.js", "").await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    // What the page's script asks.
    let (head, body) = get(&gateway, "/v1/services", "").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(body.contains("\"echo\""), "{body}");
}
