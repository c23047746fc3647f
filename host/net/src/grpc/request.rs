//! A call as the head of a request: path, deadline, metadata. `grpc/doc/PROTOCOL-HTTP2.md`, "Requests".

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use postern_core::{
    Blame, Call, Context, Error, Headers, TraceContext, message_codec::MessageForm,
    service::CallKind,
};

use super::config::{GrpcAddress, GrpcUpstreamConfig};
use crate::http::grpc::{coding, metadata};

/// The head of the request that `call` is, sent at `now`. `kind` is that of its method, where it is known.
///
/// # Errors
/// `invalid-argument` for names that cannot stand in a path, `deadline-exceeded` where no time is left.
pub(super) fn head(
    call: &Call,
    kind: Option<CallKind>,
    address: &GrpcAddress,
    config: &GrpcUpstreamConfig,
    now: Instant,
) -> Result<Request<()>, Error> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target(call, address)?;
    *request.version_mut() = http::Version::HTTP_2;
    let fields = request.headers_mut();
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    fields.insert(header::CONTENT_TYPE, content_type(call));
    if let Some(left) = time_to_tell(&call.context, kind, now)? {
        fields.insert("grpc-timeout", timeout_value(left));
    }
    if let Some(coding) = config.compression {
        fields.insert("grpc-encoding", HeaderValue::from_static(coding.name()));
    }
    let accepted = HeaderValue::from_static(coding::ACCEPTED);
    fields.insert("grpc-accept-encoding", accepted);
    metadata::append(fields, &call.headers);
    let user_agent = fields.entry(header::USER_AGENT);
    user_agent.or_insert(HeaderValue::from_static(USER_AGENT));
    set_trace(fields, call.context.trace.as_ref());
    Ok(request)
}

/// The headers of a call whose messages are protobuf.
pub(super) fn protobuf_headers() -> Headers {
    let mut headers = Headers::new();
    // Short enough for every layout.
    let pushed = headers.push("content-type", MessageForm::Protobuf.content_type());
    debug_assert!(pushed.is_ok());
    headers
}

fn target(call: &Call, address: &GrpcAddress) -> Result<Uri, Error> {
    let path = format!("/{}/{}", call.service, call.method);
    // What has a meaning of its own in a URI would name another method.
    let is_plain = path
        .bytes()
        .all(|octet| octet.is_ascii_graphic() && !b"?#%".contains(&octet));
    let parsed = PathAndQuery::try_from(path.as_str()).ok();
    let parsed = parsed.filter(|_| is_plain);
    let path = parsed.ok_or_else(|| {
        let message = format!("{path:?} is not a path of gRPC");
        Error::invalid_argument(message)
    })?;
    let uri = Uri::builder()
        .scheme(address.0.scheme())
        .authority(address.0.authority())
        .path_and_query(path);
    uri.build().map_err(|error| {
        let message = format!("{address} is not the address of a request");
        Error::internal(message).with_source(error)
    })
}

/// What messages are, as the call says it. What is no JSON is the schema's own form.
fn content_type(call: &Call) -> HeaderValue {
    HeaderValue::from_static(match MessageForm::of_headers(&call.headers) {
        Some(MessageForm::Json) => "application/grpc+json",
        Some(MessageForm::Protobuf) | None => "application/grpc",
    })
}

/// What the instance is told of the deadline: nothing where it is only that of the head of a reply that
/// may be a stream, which it would cut.
fn time_to_tell(
    context: &Context,
    kind: Option<CallKind>,
    now: Instant,
) -> Result<Option<Duration>, Error> {
    let is_whole_reply = match kind {
        Some(CallKind::Unary | CallKind::ClientStream) => true,
        Some(CallKind::ServerStream | CallKind::Bidirectional) | None => {
            !context.is_deadline_of_head
        }
    };
    match context.remaining(now) {
        Some(Duration::ZERO) => {
            let message = "no time is left to ask the instance";
            Err(Error::deadline_exceeded(Blame::Gateway, message))
        }
        left => Ok(left.filter(|_| is_whole_reply)),
    }
}

/// A value of `grpc-timeout`: at most eight digits, in the smallest unit that needs no more. Rounded up,
/// so that whoever waits here gives up first.
fn timeout_value(left: Duration) -> HeaderValue {
    let nanos = left.as_nanos();
    let (number, unit) = UNITS
        .into_iter()
        .map(|(unit_nanos, unit)| (nanos.div_ceil(unit_nanos), unit))
        .find(|(number, _)| *number < DIGITS_END)
        .unwrap_or((DIGITS_END - 1, 'H'));
    // Digits and a letter are a legal value.
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or(HeaderValue::from_static("1m"))
}

/// The trace as this gateway goes on with it.
fn set_trace(fields: &mut HeaderMap, trace: Option<&TraceContext>) {
    let Some(trace) = trace else { return };
    if let Ok(value) = HeaderValue::try_from(trace.to_string()) {
        fields.insert("traceparent", value);
    }
}

/// Of calls that name no client.
const USER_AGENT: &str = concat!("grpc-postern/", env!("CARGO_PKG_VERSION"));
/// Nanoseconds of a unit and its letter: `grpc/doc/PROTOCOL-HTTP2.md`, "TimeoutUnit".
const UNITS: [(u128, char); 6] = [
    (1, 'n'),
    (1_000, 'u'),
    (1_000_000, 'm'),
    (1_000_000_000, 'S'),
    (60_000_000_000, 'M'),
    (3_600_000_000_000, 'H'),
];
/// One more than eight digits say.
const DIGITS_END: u128 = 100_000_000;

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    fn of(call: &Call, kind: Option<CallKind>) -> Result<Request<()>, Error> {
        let address = GrpcAddress::host(true, "users.example".into(), 443);
        head(
            call,
            kind,
            &address,
            &GrpcUpstreamConfig::default(),
            clock::now(),
        )
    }

    #[test]
    fn a_timeout_has_eight_digits_at_most_and_is_never_shorter() {
        for (left, expected) in [
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_millis(100_000_001), "100001S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(timeout_value(left), expected);
        }
    }

    #[test]
    fn the_head_is_that_of_the_method_and_says_what_is_taken() {
        let mut call = Call::unary("user.UserService", "GetUser", "");
        let mut headers = Headers::new();
        headers.push("x-tenant", "a").expect("short");
        headers.push("x-bin", [0xab_u8; 4]).expect("short");
        headers
            .push("content-type", "application/json")
            .expect("short");
        call.headers = headers;
        let request = of(&call, None).expect("a head");
        let uri = "https://users.example:443/user.UserService/GetUser";
        assert_eq!(request.uri().to_string(), uri);
        let fields = request.headers();
        assert_eq!(fields["content-type"], "application/grpc+json");
        assert_eq!(fields["te"], "trailers");
        assert_eq!(fields["x-tenant"], "a");
        assert_eq!(fields["x-bin"], "q6urqw");
        assert_eq!(fields["grpc-accept-encoding"], coding::ACCEPTED);
        assert!(!fields.contains_key("grpc-timeout"));
    }

    #[test]
    fn what_would_name_another_method_is_refused() {
        for method in ["Get?x", "Get#x", "Get%2fx", "Get x", "Gét"] {
            let error = of(&Call::unary("s", method, ""), None).expect_err(method);
            assert_eq!(error.kind, postern_core::Kind::InvalidArgument);
        }
    }

    #[test]
    fn the_deadline_of_a_head_does_not_cut_a_stream() {
        let mut call = Call::unary("s", "m", "");
        call.context.deadline = Some(clock::now() + Duration::from_secs(60));
        let is_told = |call: &Call, kind| {
            let request = of(call, kind).expect("a head");
            request.headers().contains_key("grpc-timeout")
        };
        assert!(is_told(&call, None));
        call.context.is_deadline_of_head = true;
        assert!(is_told(&call, Some(CallKind::Unary)));
        assert!(!is_told(&call, Some(CallKind::ServerStream)) && !is_told(&call, None));
        call.context.deadline = Some(clock::now());
        let error = of(&call, None).expect_err("too late");
        assert_eq!(error.kind, postern_core::Kind::DeadlineExceeded);
    }
}
