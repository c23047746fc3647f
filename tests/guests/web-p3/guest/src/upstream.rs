//! One request to another server, and all that is known of it afterwards.

use wasip3::{
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
    wit_bindgen, wit_future, wit_stream,
};

/// Sends what the headers of `request` say: `x-url`, `x-method`, `x-send` as the body, `x-length` as its declared
/// length, `x-end` as what follows it: a field `x-sum`, or an error.
pub(crate) async fn exchange(request: Request) -> String {
    let headers = request.get_headers();
    let header = |name: &str| {
        let value = headers.get(name).into_iter().next();
        value.map(|value| String::from_utf8(value).expect("text"))
    };
    let (mut to, body) = wit_stream::new();
    let (end, ended) = wit_future::new(|| Ok(None));
    let fields = Fields::new();
    if let Some(length) = header("x-length") {
        fields.append("content-length", length.as_bytes()).expect("a field");
    }
    if header("x-end").is_some() {
        // HTTP/1.1 has nothing behind a body that its head does not announce.
        fields.append("trailer", b"x-sum").expect("a field");
    }
    let (asked, sent) = Request::new(fields, Some(body), ended, None);
    address(&asked, &header("x-url").expect("an address"));
    let method = header("x-method").unwrap_or_else(|| "POST".to_owned());
    asked.set_method(&Method::Other(method)).expect("a method");
    let (text, what) = (header("x-send").unwrap_or_default(), header("x-end"));
    wit_bindgen::spawn(async move {
        to.write_all(text.into_bytes()).await;
        drop(to);
        let follows = match what.as_deref() {
            Some("error") => Err(ErrorCode::InternalError(Some("given up".to_owned()))),
            Some(sum) => {
                let list = [("x-sum".to_owned(), sum.as_bytes().to_vec())];
                Ok(Some(Fields::from_list(&list).expect("fields")))
            }
            None => Ok(None),
        };
        // Whoever was refused reads nothing.
        end.write(follows).await.ok();
    });
    match client::send(asked).await {
        Ok(response) => {
            let told = told(response).await;
            format!("{told}\nsent: {:?}", sent.await)
        }
        Err(code) => format!("{code:?}\nsent: {}", sent.await.is_ok()),
    }
}

fn address(asked: &Request, url: &str) {
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let scheme = match scheme {
        "http" => Scheme::Http,
        other => Scheme::Other(other.to_owned()),
    };
    asked.set_scheme(Some(&scheme)).expect("a scheme");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    asked.set_authority(Some(authority)).expect("an authority");
    if !path.is_empty() {
        asked.set_path_with_query(Some(path)).expect("a path");
    }
}

async fn told(response: Response) -> String {
    let status = response.get_status_code();
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, done);
    let body = body.collect().await;
    let follows = trailers.await.map(|trailers| {
        trailers.map(|trailers| {
            let all = trailers.copy_all().into_iter();
            let all = all.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value)));
            all.collect::<Vec<_>>()
        })
    });
    format!("{status} {follows:?}\n{}", String::from_utf8_lossy(&body))
}
