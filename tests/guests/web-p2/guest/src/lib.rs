//! A component for any host of `wasi:http` 0.2. The last segment of the path says what it does.

mod checks;

use std::{
    cell::Cell,
    io::{Read as _, Write as _},
};

use wasip2::{
    clocks::monotonic_clock,
    exports::http::incoming_handler::Guest,
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
            OutgoingResponse, RequestOptions, ResponseOutparam, Scheme,
        },
    },
    io::streams::StreamError,
};

wasip2::http::proxy::export!(Web);

struct Web;

thread_local! {
    static N_CALLS: Cell<u32> = const { Cell::new(0) };
    static N_BEHIND: Cell<u32> = const { Cell::new(0) };
}

impl Guest for Web {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        N_CALLS.set(N_CALLS.get() + 1);
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.to_owned();
        match path.rsplit('/').next().unwrap_or_default() {
            "hello" => text(out, 200, "hello"),
            "count" => text(out, 200, &N_CALLS.get().to_string()),
            "behind" => behind(out),
            "status" => text(out, query.parse().expect("a status"), ""),
            "headers" => headers(out),
            "facts" => text(out, 200, &facts(&request)),
            "echo" => echo(&request, out),
            "length" => {
                let (incoming, mut octets) = (request.consume().expect("the first"), Vec::new());
                incoming.stream().expect("the first").read_to_end(&mut octets).expect("read");
                text(out, 200, &octets.len().to_string());
            }
            "env" => text(out, 200, &std::env::var(&query).unwrap_or_default()),
            "read" => text(out, 200, &std::fs::read_to_string(&query).unwrap_or_else(|e| e.to_string())),
            "fetch" => fetch(&request, out),
            "both" => both(&request, out),
            "check" => text(out, 200, &checks::run(&query)),
            "flood" => text(out, 200, &checks::flood().to_string()),
            "big" => big(out, query.parse().expect("a number")),
            "sleep" => {
                monotonic_clock::subscribe_duration(millis(&query)).block();
                text(out, 200, "awake");
            }
            "trap" => panic!("no page of that name"),
            "cut" => cut(out, false),
            "unfinished" => cut(out, true),
            "loop" => loop {
                std::hint::black_box(0);
            },
            "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("a fault".into())))),
            "nothing" => drop(out),
            "leak" => {
                for _ in 0..query.parse().expect("a number") {
                    std::mem::forget(Fields::new());
                }
                text(out, 200, &N_CALLS.get().to_string());
            }
            "print" => {
                println!("printed: {query}");
                text(out, 200, "printed");
            }
            other => text(out, 404, other),
        }
    }
}

fn millis(text: &str) -> u64 {
    text.parse::<u64>().expect("a number") * 1_000_000
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let list: Vec<_> = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Fields::from_list(&list).expect("fields")
}

fn begin(out: ResponseOutparam, status: u16, headers: Fields) -> OutgoingBody {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("a status");
    let body = response.body().expect("the first");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn text(out: ResponseOutparam, status: u16, text: &str) {
    let body = begin(out, status, fields(&[("content-type", "text/plain")]));
    let mut stream = body.write().expect("the first");
    if !text.is_empty() {
        stream.write_all(text.as_bytes()).expect("written");
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("finished");
}

/// Answers, and works for a while afterwards.
fn behind(out: ResponseOutparam) {
    text(out, 200, &N_BEHIND.get().to_string());
    monotonic_clock::subscribe_duration(millis("200")).block();
    N_BEHIND.set(N_BEHIND.get() + 1);
}

fn headers(out: ResponseOutparam) {
    let list = [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("x-c", "\u{e9}")];
    let body = begin(out, 201, fields(&list));
    OutgoingBody::finish(body, None).expect("finished");
}

fn facts(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Other(name) => name,
        other => format!("{other:?}"),
    };
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        Some(Scheme::Other(_)) | None => "?",
    };
    let (authority, target) = (request.authority(), request.path_with_query());
    let mut all = format!(
        "{method} {scheme} {} {}\n",
        authority.unwrap_or_default(),
        target.unwrap_or_default()
    );
    for (name, value) in request.headers().entries() {
        all += &format!("{name}: {}\n", String::from_utf8_lossy(&value));
    }
    all
}

/// What comes, and what follows it.
fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first");
    let body = begin(out, 200, fields(&[("trailer", "x-sum")]));
    let (mut from, mut to) = (incoming.stream().expect("the first"), body.write().expect("the first"));
    let mut octets = vec![0; 32 * 1024];
    loop {
        // Not the function of the stream itself, which has the same name.
        let length = std::io::Read::read(&mut from, &mut octets).expect("read");
        if length == 0 {
            break;
        }
        to.write_all(&octets[..length]).expect("written");
    }
    drop((from, to));
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = trailers.get().expect("ready").expect("the first").expect("no error");
    let trailers = trailers.map(|trailers| trailers.clone());
    OutgoingBody::finish(body, trailers).expect("finished");
}

/// Asks the address of `x-url`, by the method and with the body of the request, and gives what comes.
fn fetch(request: &IncomingRequest, out: ResponseOutparam) {
    match ask(request) {
        Ok((status, octets)) => {
            let body = begin(out, status, fields(&[("content-type", "text/plain")]));
            let mut to = body.write().expect("the first");
            if !octets.is_empty() {
                to.write_all(&octets).expect("written");
            }
            drop(to);
            OutgoingBody::finish(body, None).expect("finished");
        }
        Err(code) => text(out, 502, &format!("{code:?}")),
    }
}

fn ask(request: &IncomingRequest) -> Result<(u16, Vec<u8>), ErrorCode> {
    let header = |name: &str| {
        let value = request.headers().get(name).into_iter().next();
        value.map(|value| String::from_utf8(value).expect("text"))
    };
    let url = header("x-url").expect("an address");
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let asked = OutgoingRequest::new(fields(&[("x-own", "1")]));
    asked.set_method(&request.method()).expect("a method");
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    asked.set_scheme(Some(&scheme)).expect("a scheme");
    asked.set_authority(Some(authority)).expect("an authority");
    asked.set_path_with_query(Some(path)).expect("a path");
    let options = header("x-timeout-ms").map(|limit| {
        let options = RequestOptions::new();
        options.set_first_byte_timeout(Some(millis(&limit))).expect("known");
        options
    });
    let body = asked.body().expect("the first");
    let answering = outgoing_handler::handle(asked, options)?;
    let mut octets = Vec::new();
    let incoming = request.consume().expect("the first");
    incoming.stream().expect("the first").read_to_end(&mut octets).expect("read");
    let to = body.write().expect("the first");
    for piece in octets.chunks(4096) {
        if let Err(StreamError::LastOperationFailed(_)) = to.blocking_write_and_flush(piece) {
            break;
        }
    }
    to.flush().ok();
    drop(to);
    OutgoingBody::finish(body, None)?;
    answering.subscribe().block();
    let response = answering.get().expect("ready").expect("the first")?;
    let mut octets = Vec::new();
    let body = response.consume().expect("the first");
    let read = body.stream().expect("the first").read_to_end(&mut octets);
    read.map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    Ok((response.status(), octets))
}

/// Asks all addresses in `x-url` before it waits for the first, and gives what each said, in their order.
fn both(request: &IncomingRequest, out: ResponseOutparam) {
    let urls = request.headers().get("x-url").into_iter();
    let asked = urls.map(|url| {
        let url = String::from_utf8(url).expect("text");
        let (authority, path) = url.split_once('/').expect("a path");
        let asked = OutgoingRequest::new(Fields::new());
        asked.set_scheme(Some(&Scheme::Http)).expect("a scheme");
        asked.set_authority(Some(authority)).expect("an authority");
        asked.set_path_with_query(Some(&format!("/{path}"))).expect("a path");
        outgoing_handler::handle(asked, None).expect("sent")
    });
    let asked: Vec<_> = asked.collect();
    let said = asked.into_iter().map(|answering| {
        answering.subscribe().block();
        let response = answering.get().expect("ready").expect("the first").expect("answered");
        let mut said = String::new();
        let body = response.consume().expect("the first");
        body.stream().expect("the first").read_to_string(&mut said).expect("read");
        said
    });
    let said: Vec<_> = said.collect();
    text(out, 200, &said.join(" "));
}

/// So many KiB of a known length.
fn big(out: ResponseOutparam, kibibytes: usize) {
    let length = (kibibytes * 1024).to_string();
    let body = begin(out, 200, fields(&[("content-length", &length)]));
    let mut stream = body.write().expect("the first");
    let piece = vec![b'x'; 1024];
    for _ in 0..kibibytes {
        if stream.write_all(&piece).is_err() {
            return;
        }
    }
    drop(stream);
    OutgoingBody::finish(body, None).expect("finished");
}

/// Ends in the middle of a body: by a trap, or by forgetting the rest.
fn cut(out: ResponseOutparam, forgets: bool) {
    let body = begin(out, 200, fields(&[("content-type", "text/plain")]));
    let mut stream = body.write().expect("the first");
    for _ in 0..100 {
        stream.write_all(&[b'x'; 4096]).expect("written");
    }
    assert!(forgets, "in the middle of a page");
}
