//! Who may do what: what a caller says of itself, wrong credentials, and who learns which services
//! there are.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use postern_core::{Call, Handler, Kind, Retry};
use postern_tests::{CallerTransport, Gateway, Setup, connect, patiently};

use crate::share;

/// `[auth.api-keys.keys.NAME]` whose key is `secret`.
fn key(name: &str, roles: &str) -> String {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    format!("[auth.api-keys.keys.{name}]\nhash = \"sha256:{hash}\"\nroles = {roles}\n")
}

/// A limit that five calls of `echo` pass in an hour.
const FIVE: &str =
    "[limits.few]\nby = \"peer\"\nrate = 1\nper = \"1h\"\nburst = 5\ncalls = [\"echo/*\"]\n";

/// How many of twenty calls of `echo` pass that say of themselves what `claim` does.
async fn passing(handler: &dyn Handler, claim: impl Fn(&mut Call)) -> usize {
    let mut n_passed = 0;
    for _ in 0..20 {
        let mut call = Call::unary("echo", "Echo", "{}");
        claim(&mut call);
        match handler.call(call).await {
            Ok(_) => n_passed += 1,
            Err(error) => assert_eq!(error.kind, Kind::ResourceExhausted, "{error}"),
        }
    }
    n_passed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_depth_that_nobody_vouches_for_exempts_from_no_limit() {
    let _machine = share().await;
    for transport in [CallerTransport::Tcp, CallerTransport::Udp] {
        let setup = Setup {
            config: format!("{FIVE}{}", key("west", "[\"peer\"]")),
            ..Setup::default()
        };
        let gateway = Gateway::start(setup.plugin("echo")).await;
        let handler = connect(&gateway, transport).await;
        let claimed = passing(&*handler, |call| call.context.depth = 1).await;
        assert_eq!(claimed, 5, "{transport}");
        let proved = passing(&*handler, |call| {
            call.context.depth = 1;
            call.headers.push("x-vsp-gateway", "secret").expect("fits");
        });
        assert_eq!(proved.await, 20, "{transport}");
        // It is the depth that exempts, and the proof that makes it count.
        let own = passing(&*handler, |call| {
            call.headers.push("x-vsp-gateway", "secret").expect("fits");
        });
        assert_eq!(own.await, 0, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_token_is_believed_by_its_peer() {
    let _machine = share().await;
    for (token, n_passing) in [("token = \"secret\"\n", 20), ("", 5)] {
        let setup = Setup {
            config: format!("{FIVE}{}", key("west", "[\"peer\"]")),
            ..Setup::default()
        };
        let east = Gateway::start(setup.plugin("echo")).await;
        let west = Gateway::start(Setup {
            config: format!("[peers.east]\naddress = \"tcp://{}\"\n{token}", east.vstp),
            ..Setup::default()
        });
        let west = west.await;
        patiently("west knows the service", async || {
            let services = west.admin_json("/services").await;
            let services = services["services"].as_array().expect("a list").clone();
            services.iter().any(|service| service["name"] == "echo")
        })
        .await;
        let handler = connect(&west, CallerTransport::Tcp).await;
        assert_eq!(passing(&*handler, |_| {}).await, n_passing, "{token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_has_what_a_peer_and_the_gateway_itself_answer_for() {
    let _machine = share().await;
    let east = Gateway::start(Setup::default().plugin("users")).await;
    let west = Gateway::start(Setup {
        config: format!("[peers.east]\naddress = \"tcp://{}\"\n", east.vstp),
        ..Setup::default()
    });
    let west = west.await;
    let listed = async |gateway: &Gateway| {
        let (status, _, body) = get(gateway, "/v1/services", None).await;
        assert_eq!(status, 200, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        json["services"].as_array().expect("a list").clone()
    };
    let names = |services: &[serde_json::Value]| {
        let names = services.iter().map(|service| service["name"].as_str());
        names
            .map(|name| name.expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    let here = listed(&east).await;
    let expected = [
        "directory",
        "events",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "mqtt",
        "routes",
        "user.UserService",
        "users",
    ];
    assert_eq!(names(&here), expected);
    patiently("west tells of the service as east does", async || {
        listed(&west).await == here
    })
    .await;
    let users = here.iter().find(|service| service["name"] == "users");
    let methods = users.expect("it is there")["methods"]
        .as_array()
        .expect("methods");
    let one = methods.iter().find(|method| method["name"] == "GetUser");
    let one = one.expect("users describes itself");
    assert_eq!(
        (&one["kind"], &one["idempotent"]),
        (&"unary".into(), &true.into())
    );
    let shown = west.admin_json("/services").await;
    let shown = shown["services"].as_array().expect("a list").clone();
    let shown = shown.iter().find(|service| service["name"] == "users");
    assert_eq!(
        shown.expect("it is there")["described"],
        serde_json::Value::from(methods.clone())
    );
}

/// `GET path` at the HTTP listener: status, header `retry-after`, body.
async fn get(gateway: &Gateway, path: &str, key: Option<&str>) -> (u16, bool, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = http::Request::get(format!("http://{}{path}", gateway.http));
    if let Some(key) = key {
        request = request.header("x-vsp-api-key", key);
    }
    let request = request.body(Empty::new()).expect("a request");
    let response = client.request(request).await.expect("an answer");
    let status = response.status().as_u16();
    let says_when = response.headers().contains_key("retry-after");
    let body = response.into_body().collect().await.expect("a body");
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (status, says_when, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_for_those_who_may_call_and_tells_what_they_may() {
    let _machine = share().await;
    let setup = Setup {
        config: format!(
            "[auth]\nauthentication = \"required\"\n{}\
             [authorization.rules.no-users]\neffect = \"deny\"\ncalls = [\"users/*\"]\n\
             [limits.few]\nby = \"principal\"\nrate = 1\nper = \"1h\"\nburst = 5\n",
            key("ann", "[]")
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo").plugin("users")).await;
    for path in ["/v1/services", "/v1/services/echo"] {
        for key in [None, Some("guess")] {
            let (status, _, body) = get(&gateway, path, key).await;
            assert!(
                status == 401 || status == 429,
                "{path} with {key:?}: {status}"
            );
            assert!(!body.contains("Echo"), "{body}");
        }
    }
    let (status, _, body) = get(&gateway, "/v1/services", Some("secret")).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains("\"echo\"") && !body.contains("\"users\""),
        "{body}"
    );
    let (status, ..) = get(&gateway, "/v1/services/echo", Some("secret")).await;
    assert_eq!(status, 200);
    let (status, ..) = get(&gateway, "/v1/services/users", Some("secret")).await;
    assert_eq!(status, 404, "what may not be called is not there");
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(get(&gateway, "/v1/services", Some("secret")).await.0);
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_limited_by_address() {
    let _machine = share().await;
    let setup = Setup {
        config: format!(
            "[auth]\nfailures-rate = 1\nfailures-burst = 2\n{}",
            key("ann", "[]")
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let mut n_limited = 0;
    for _ in 0..40 {
        let (status, says_when, _) = get(&gateway, "/v1/services", Some("guess")).await;
        assert_eq!(status == 429, says_when, "{status}");
        assert!(status == 429 || status == 401, "{status}");
        n_limited += usize::from(status == 429);
    }
    // One a second may pass for as long as this takes.
    assert!(n_limited >= 10, "{n_limited} of 40");
    let (status, ..) = get(&gateway, "/v1/services", Some("secret")).await;
    assert_eq!(status, 200, "who is known passes all the while");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_fall_under_the_limits_of_callers_on_every_door() {
    let _machine = share().await;
    for transport in CallerTransport::ALL {
        let setup = Setup {
            config: format!(
                "[limits.each]\nby = \"principal\"\nrate = 1\nper = \"1h\"\n{}",
                key("ann", "[]")
            ),
            ..Setup::default()
        };
        let gateway = Gateway::start(setup.plugin("echo")).await;
        let handler = connect(&gateway, transport).await;
        let mut kinds = Vec::new();
        for _ in 0..12 {
            let mut call = Call::unary("echo", "Echo", "{}");
            call.headers.push("x-vsp-api-key", "guess").expect("fits");
            let error = handler.call(call).await.expect_err("a guess");
            let is_told_when = matches!(error.retry, Retry::After(_));
            assert_eq!(
                is_told_when,
                error.kind == Kind::ResourceExhausted,
                "{transport}"
            );
            kinds.push(error.kind);
        }
        assert_eq!(kinds[0], Kind::Unauthenticated, "{transport}");
        assert_eq!(kinds[1..], [Kind::ResourceExhausted; 11], "{transport}");
    }
}
