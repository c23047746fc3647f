//! A component for any host of `wasi:http` 0.3. The last segment of the path says what it does.

mod checks;
mod upstream;

use std::cell::Cell;

use wasip3::{
    clocks::monotonic_clock,
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
    wit_bindgen, wit_future, wit_stream,
};

wasip3::http::service::export!(Web);

struct Web;

thread_local! {
    static N_CALLS: Cell<u32> = const { Cell::new(0) };
}

impl wasip3::exports::http::handler::Guest for Web {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        N_CALLS.set(N_CALLS.get() + 1);
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        match path.rsplit('/').next().unwrap_or_default() {
            "count" => Ok(text(200, N_CALLS.get().to_string())),
            "facts" => Ok(text(200, facts(&request))),
            "echo" => Ok(echo(request)),
            "length" => {
                let (_, done) = wit_future::new(|| Ok(()));
                let (body, _) = Request::consume_body(request, done);
                Ok(text(200, body.collect().await.len().to_string()))
            }
            "passed" => Ok(passed(request)),
            "env" => Ok(text(200, std::env::var(query).unwrap_or_default())),
            "fetch" => fetch(request).await,
            "check" => Ok(text(200, checks::run(query))),
            "exchange" => Ok(text(200, upstream::exchange(request).await)),
            "sleep" => {
                let millis: u64 = query.parse().expect("a number");
                monotonic_clock::wait_for(millis * 1_000_000).await;
                Ok(text(200, "awake".to_owned()))
            }
            "trap" => panic!("no page of that name"),
            "cut" => Ok(cut()),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "error" => Err(ErrorCode::InternalError(Some("a fault".to_owned()))),
            other => Ok(text(404, other.to_owned())),
        }
    }
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let list: Vec<_> = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&list).expect("fields")
}

fn text(status: u16, text: String) -> Response {
    let (mut to, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    let headers = fields(&[("content-type", "text/plain")]);
    let (response, _) = Response::new(headers, Some(body), ended);
    response.set_status_code(status).expect("a status");
    wit_bindgen::spawn(async move {
        to.write_all(text.into_bytes()).await;
        drop(to);
        end.write(Ok(None)).await.ok();
    });
    response
}

fn facts(request: &Request) -> String {
    let method = match request.get_method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Other(name) => name,
        other => format!("{other:?}"),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        Some(Scheme::Other(_)) | None => "?",
    };
    let authority = request.get_authority().unwrap_or_default();
    let target = request.get_path_with_query().unwrap_or_default();
    let mut all = format!("{method} {scheme} {authority} {target}\n");
    for (name, value) in request.get_headers().copy_all() {
        all += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    all
}

/// What comes, read and written anew, and what follows it.
fn echo(request: Request) -> Response {
    let (_, done) = wit_future::new(|| Ok(()));
    let (mut from, trailers) = Request::consume_body(request, done);
    let (mut to, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields(&[("trailer", "x-sum")]), Some(body), ended);
    wit_bindgen::spawn(async move {
        while let Some(octet) = from.next().await {
            let mut piece = vec![octet];
            let (_, more) = from.read(Vec::with_capacity(32 * 1024)).await;
            piece.extend(more);
            to.write_all(piece).await;
        }
        drop(to);
        let trailers = trailers.await.expect("no error");
        end.write(Ok(trailers)).await.ok();
    });
    response
}

/// The body of the request as that of the response.
fn passed(request: Request) -> Response {
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, done);
    let (response, _) = Response::new(fields(&[("trailer", "x-sum")]), Some(body), trailers);
    response
}

/// The response of the address in `x-url`.
async fn fetch(request: Request) -> Result<Response, ErrorCode> {
    let url = request.get_headers().get("x-url").into_iter().next().expect("an address");
    let url = String::from_utf8(url).expect("text");
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, ended) = wit_future::new(|| Ok(None));
    let (asked, _) = Request::new(fields(&[("x-own", "1")]), None, ended, None);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    asked.set_scheme(Some(&scheme)).expect("a scheme");
    asked.set_authority(Some(authority)).expect("an authority");
    asked.set_path_with_query(Some(path)).expect("a path");
    match client::send(asked).await {
        Ok(response) => Ok(response),
        Err(code) => Ok(text(502, format!("{code:?}"))),
    }
}

/// Ends in the middle of a body.
fn cut() -> Response {
    let (mut to, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields(&[("content-type", "text/plain")]), Some(body), ended);
    wit_bindgen::spawn(async move {
        for _ in 0..100 {
            to.write_all(vec![b'x'; 4096]).await;
        }
        let _end = end;
        panic!("in the middle of a page");
    });
    response
}
