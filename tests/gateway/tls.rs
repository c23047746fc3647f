//! TLS of the real binary, by TLS itself, QUIC and WebSocket: why a client's certificate is refused
//! stands in the log and nowhere else, and certificates are renewed under load.

pub(crate) mod authority;
mod edge;
mod renewal;

use postern_tests::{call, patiently};
use serde_json::Value;

use self::{
    authority::{Authority, Pair, REVOKED, VALID},
    edge::{Edge, Secured},
};
use crate::share;

/// Keys of a listener that asks for certificates.
const REQUIRED: &str = "client-certificates = \"required\"\nclient-ca-files = [\"ROOT/ca.pem\"]\n\
                        client-crl-files = [\"ROOT/crl.pem\"]";

/// A client's certificate that is not taken, and what the log says of it.
struct Refused {
    pair: Option<Pair>,
    subject: &'static str,
    reason: &'static str,
}

/// Whether `log` says that a connection was closed for `refused`: the line of the connection, which
/// names its peer, has the reason, or the number of the line that has it.
fn is_logged(log: &str, refused: &Refused) -> bool {
    // The last line may be half written.
    let lines = log
        .lines()
        .map_while(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> = lines.collect();
    let of_message =
        |message: &'static str| lines.iter().filter(move |line| line["message"] == message);
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let is_closed_for = |reason: &str| {
        of_message("handshake failed").any(|line| {
            text(line, "error").contains(reason) && text(line, "peer").starts_with("127.0.0.1:")
        })
    };
    if refused.pair.is_none() {
        return is_closed_for(refused.reason);
    }
    of_message("client certificate refused").any(|line| {
        let reason = text(line, "reason").to_lowercase();
        let is_it = text(line, "subject") == refused.subject && reason.contains(refused.reason);
        is_it && is_closed_for(&text(line, "refusal"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_client_certificate_is_refused_stands_in_the_log_and_is_not_told() {
    let _machine = share().await;
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let files = [("ca.pem", own.pem()), ("crl.pem", own.list())];
    let edge = Edge::start(&own.pair("gateway", 1, VALID), REQUIRED, &files).await;
    for secured in Secured::ALL {
        let good = own.pair("good", 8, VALID);
        let client = edge.session(secured, &[&own], Some(&good)).await;
        let client = client.unwrap_or_else(|error| panic!("{secured:?}: {error}"));
        call(&client, "echo/Echo", "{}").await.expect("answered");
        client.close().await;
        for (pair, subject, reason) in [
            (None, "", "peer sent no certificates"),
            (
                Some(other.pair("stranger", 8, VALID)),
                "CN=stranger",
                "unknownissuer",
            ),
            (Some(own.pair("old", 8, 2020)), "CN=old", "expired"),
            (
                Some(own.pair("withdrawn", REVOKED, VALID)),
                "CN=withdrawn",
                "revoked",
            ),
        ] {
            let refused = Refused {
                pair,
                subject,
                reason,
            };
            let n_logged = edge.gateway.log().len();
            let told = edge.session(secured, &[&own], refused.pair.as_ref()).await;
            let told = told.expect_err("not taken").message.to_lowercase();
            let alert = match (secured, refused.pair.is_some()) {
                // RFC 8446 section 6, RFC 9001 section 4.8.
                (Secured::Quic, true) => "error 46",
                (Secured::Quic, false) => "error 116",
                (Secured::Tls | Secured::WebSocket, true) => "alert: certificateunknown",
                (Secured::Tls | Secured::WebSocket, false) => "alert: certificaterequired",
            };
            assert!(told.contains(alert), "{secured:?} {subject}: {told}");
            if refused.pair.is_some() {
                for secret in [&subject.to_lowercase(), reason, "cn="] {
                    assert!(!told.contains(secret), "{secured:?} {subject}: {told}");
                }
            }
            // Whoever logs is a thread of its own.
            patiently(
                &format!("{secured:?}: {subject} {reason} is logged"),
                async || is_logged(&edge.gateway.log()[n_logged..], &refused),
            )
            .await;
        }
    }
}
