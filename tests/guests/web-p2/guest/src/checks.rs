//! What a host makes of fields, requests and responses that are odd. A check says what it saw; the host's test
//! knows what it should be.

use wasip2::http::types::{
    Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions, Scheme,
};

/// What the check `name` saw, a line for each thing.
pub(crate) fn run(name: &str) -> String {
    let lines = match name {
        "syntax" => syntax(),
        "forbidden" => forbidden(),
        "fields" => fields(),
        "immutable" => immutable(),
        "methods" => methods(),
        "targets" => targets(),
        "options" => options(),
        "statuses" => statuses(),
        "lengths" => lengths(),
        other => vec![format!("no check {other}")],
    };
    lines.join("\n")
}

/// Takes fields until there are no more.
pub(crate) fn flood() -> usize {
    let fields = Fields::new();
    let taken = |n_fields: &usize| fields.append(&format!("x-{n_fields}"), &vec![b'x'; 1024]).is_ok();
    (0..1000).take_while(taken).count()
}

/// The octets of which single ones are accepted, as `from-to` in hexadecimal.
fn ranges(accepts: impl Fn(u8) -> bool) -> String {
    let mut all: Vec<(u8, u8)> = Vec::new();
    for octet in 0..=u8::MAX {
        match all.last_mut() {
            _ if !accepts(octet) => {}
            Some((_, end)) if *end + 1 == octet => *end = octet,
            _ => all.push((octet, octet)),
        }
    }
    let all = all.iter().map(|(begin, end)| format!("{begin:02x}-{end:02x}"));
    all.collect::<Vec<_>>().join(" ")
}

/// A text of one character, for numbers below 128.
fn single(octet: u8) -> Option<String> {
    octet.is_ascii().then(|| char::from(octet).to_string())
}

fn syntax() -> Vec<String> {
    let append = |name: &str, value: &[u8]| Fields::new().append(name, &value.to_vec());
    let names = ranges(|octet| single(octet).is_some_and(|name| append(&name, b"1").is_ok()));
    let values = ranges(|octet| append("x-a", &[octet]).is_ok());
    let list = [("bad name".to_owned(), b"1".to_vec())];
    vec![
        format!("names {names}"),
        format!("values {values}"),
        format!("{:?} {:?}", append("", b"1"), append("voil\u{e0}", b"1")),
        format!("{:?} {:?}", append("a b", b"1"), append("x-a", b"a\nb")),
        format!("{:?}", Fields::from_list(&list).err()),
        format!("{:?}", Fields::new().set("bad name", &[b"1".to_vec()])),
        format!("{:?} {:?}", Fields::new().delete("bad name"), Fields::new().has("bad name")),
    ]
}

/// Which of the names that belong to a connection are refused, however they are written.
fn forbidden() -> Vec<String> {
    let names = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "transfer-encoding", "upgrade", "http2-settings", "host", "x-own",
    ];
    let tried = names.map(|name| {
        let upper = name.to_uppercase();
        let appended = Fields::new().append(name, &b"1".to_vec());
        let set = Fields::new().set(&upper, &[b"1".to_vec()]);
        let made = Fields::from_list(&[(upper, b"1".to_vec())]).map(|_| ());
        format!("{name} {appended:?} {set:?} {made:?}")
    });
    tried.to_vec()
}

fn fields() -> Vec<String> {
    let text = |values: Vec<Vec<u8>>| values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>();
    let fields = Fields::new();
    let mut seen = vec![format!("{:?} {:?}", fields.has("a"), text(fields.get("a")))];
    fields.append("a", &b"1".to_vec()).expect("appended");
    fields.append("A", &b"2".to_vec()).expect("appended");
    let copy = fields.clone();
    seen.push(format!("{:?} {:?}", fields.has("A"), text(fields.get("a"))));
    fields.set("A", &[b"3".to_vec(), b"4".to_vec()]).expect("set");
    seen.push(format!("{:?} {}", text(fields.get("a")), fields.entries().len()));
    fields.set("a", &[]).expect("set");
    seen.push(format!("{:?} {:?} {}", fields.has("a"), fields.delete("a"), fields.entries().len()));
    // A copy has a life of its own.
    seen.push(format!("{:?}", text(copy.get("a"))));
    seen
}

fn given() -> Fields {
    Fields::from_list(&[("last-modified".to_owned(), b"now".to_vec())]).expect("fields")
}

/// The headers of a request and of a response are as they were given.
fn immutable() -> Vec<String> {
    let (request, response) = (OutgoingRequest::new(given()), OutgoingResponse::new(given()));
    [request.headers(), response.headers()]
        .map(|fields| {
            let (appended, deleted) = (fields.append("a", &b"1".to_vec()), fields.delete("last-modified"));
            let set = fields.set("last-modified", &[b"then".to_vec()]);
            let kept = fields.get("last-modified") == [b"now".to_vec()];
            format!("{appended:?} {deleted:?} {set:?} {kept}")
        })
        .to_vec()
}

fn methods() -> Vec<String> {
    let request = OutgoingRequest::new(given());
    let first = format!("{:?} {:?}", request.method(), request.scheme());
    let other = |name: &str| Method::Other(name.to_owned());
    let accepted = ranges(|octet| single(octet).is_some_and(|name| request.set_method(&other(&name)).is_ok()));
    let known = ["GET", "PATCH", "get", "coucou"].map(|name| {
        let set = request.set_method(&other(name));
        format!("{name} {set:?} {:?}", request.method())
    });
    let wrong = ["", "bad\nmethod", "two words"].map(|name| format!("{:?}", request.set_method(&other(name))));
    let mut seen = vec![first, accepted, known.join(", "), wrong.join(" ")];
    // What was refused has changed nothing.
    seen.push(format!("{:?}", request.method()));
    seen
}

fn targets() -> Vec<String> {
    let request = OutgoingRequest::new(given());
    let mut seen = vec![format!("{:?} {:?}", request.path_with_query(), request.authority())];
    for path in ["/a?b=c", "/a/../b", "", "/bad\npath"] {
        let set = request.set_path_with_query(Some(path));
        seen.push(format!("{path:?} {set:?} {:?}", request.path_with_query()));
    }
    for authority in ["example.org:80", "[::1]:443", "bad-\nhost", "a:what", ""] {
        let set = request.set_authority(Some(authority));
        seen.push(format!("{authority:?} {set:?} {:?}", request.authority()));
    }
    for scheme in [Scheme::Http, Scheme::Other("https".to_owned()), Scheme::Other("bad\nscheme".to_owned())] {
        let set = request.set_scheme(Some(&scheme));
        seen.push(format!("{set:?} {:?}", request.scheme()));
    }
    seen
}

fn options() -> Vec<String> {
    let own = RequestOptions::new();
    let mut seen = vec![format!("{:?} {:?}", own.connect_timeout(), own.between_bytes_timeout())];
    own.set_connect_timeout(Some(1)).expect("set");
    own.set_first_byte_timeout(Some(2)).expect("set");
    own.set_between_bytes_timeout(Some(3)).expect("set");
    seen.push(format!("{:?} {:?} {:?}", own.connect_timeout(), own.first_byte_timeout(), own.between_bytes_timeout()));
    seen
}

fn statuses() -> Vec<String> {
    let response = OutgoingResponse::new(given());
    let mut seen = vec![response.status_code().to_string()];
    for status in [200, 404, 599, 99, 1000, 65535] {
        let set = response.set_status_code(status);
        seen.push(format!("{status} {set:?} {}", response.status_code()));
    }
    seen
}

/// Bodies that are as long as their header says, shorter and longer.
fn lengths() -> Vec<String> {
    ["long enough", "short", "longer than it says"]
        .map(|text| {
            let headers = Fields::from_list(&[("content-length".to_owned(), b"11".to_vec())]);
            let request = OutgoingRequest::new(headers.expect("fields"));
            let body = request.body().expect("the first");
            let second = request.body().is_ok();
            let stream = body.write().expect("the first");
            let written = stream.blocking_write_and_flush(text.as_bytes()).is_ok();
            drop(stream);
            format!("{second} {written} {:?}", OutgoingBody::finish(body, None))
        })
        .to_vec()
}
