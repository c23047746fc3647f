//! What an authority that refuses says, and how long it is left alone. It speaks HTTPS as any does, and
//! refuses each order.

use std::{fs, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use postern_net::{
    Counters, Shutdown, SocketListener,
    http::{HttpConfig, serve_router},
    tcp,
    tls::{KeyPair, Pem, ServerTls, ServerTlsSettings, alpn},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{super::order::OrderError, *};
use crate::config::Acme;

/// What new orders are answered by.
type Refused = (StatusCode, &'static str, Option<&'static str>, &'static str);

struct Refusing {
    folder: TempDir,
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl Refusing {
    fn start(refused: Refused) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = tcp::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let tls = Arc::new(server_tls_of(&folder));
        let shutdown = Shutdown::new();
        let router = router(format!("https://localhost:{}", address.port()), refused);
        let serving = serve_router(
            SocketListener::Tcp(listener),
            Some(tls),
            router,
            HttpConfig::default(),
            Arc::<Counters>::default(),
            shutdown.clone(),
        );
        Self {
            serving: tokio::spawn(serving),
            folder,
            address,
            shutdown,
        }
    }

    /// Why it gives no certificate.
    async fn order(&self) -> OrderError {
        let folder = AuthorityFolder::new(self.folder.path().join("ca.example"));
        folder.create().expect("created");
        let acme = Acme {
            directory: format!("https://localhost:{}/dir", self.address.port()),
            contacts: vec!["ops@example.org".to_owned()],
            terms_agreed: true,
            ca_files: vec![self.folder.path().join("ca.pem")],
            ..Acme::default()
        };
        let authority = Authority::new(Arc::new(acme), folder);
        let ordered = authority.order("a.example", &[ChallengeKind::Http01]).await;
        ordered.expect_err("it refuses")
    }

    async fn stop(self) {
        self.shutdown.drain();
        self.serving.await.expect("no panic");
    }
}

/// Of an authority whose certificate is put into `folder`.
fn server_tls_of(folder: &TempDir) -> ServerTls {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("legal");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).expect("signs");
    fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("legal");
    let key = rcgen::KeyPair::generate().expect("a key");
    let server = params.signed_by(&key, &authority).expect("signs");
    let pair = KeyPair {
        certificate: Pem::new("server.pem", server.pem()),
        key: Pem::new("server.key", key.serialize_pem()),
    };
    ServerTls::new(ServerTlsSettings::new(pair), &alpn::HTTP).expect("good")
}

fn router(base: String, (status, kind, retry_after, body): Refused) -> Router {
    let nonce = ("replay-nonce", "nonce");
    let directory = json!({
        "newNonce": format!("{base}/nonce"),
        "newAccount": format!("{base}/account"),
        "newOrder": format!("{base}/order"),
    });
    let account = format!("{base}/account/1");
    let ordered = move || async move {
        let mut headers = HeaderMap::new();
        headers.insert("replay-nonce", "nonce".parse().expect("a value"));
        headers.insert(header::CONTENT_TYPE, kind.parse().expect("a value"));
        if let Some(retry_after) = retry_after {
            headers.insert(header::RETRY_AFTER, retry_after.parse().expect("a value"));
        }
        (status, headers, body).into_response()
    };
    let made = move || async move {
        let headers = [nonce, ("location", &*account.clone())].map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, value.to_owned())
        });
        (StatusCode::CREATED, headers, Json(json!({}))).into_response()
    };
    Router::new()
        .route("/dir", get(move || async move { Json(directory) }))
        .route("/nonce", get(move || async move { [nonce] }))
        .route("/account", post(made))
        .route("/order", post(ordered))
}

#[tokio::test]
async fn a_refusal_is_told_in_the_authoritys_words_and_waited_for_as_long_as_it_asks() {
    let limited =
        r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many of them"}"#;
    let status = StatusCode::TOO_MANY_REQUESTS;
    let refusing = Refusing::start((status, "application/problem+json", Some("3600"), limited));
    let refused = refusing.order().await;
    assert_eq!(
        refused.reason,
        "the authority says rateLimited: too many of them"
    );
    assert_eq!(refused.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(
        PAUSES.after(1, refused.retry_after),
        Duration::from_secs(3600)
    );
    // The account is there, and the same the next time.
    let account = refusing.folder.path().join("ca.example/account.json");
    let kept = fs::read(&account).expect("kept");
    refusing.order().await;
    assert_eq!(fs::read(&account).expect("kept"), kept);
    refusing.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_none_of_an_authority_is_told_by_its_status() {
    let status = StatusCode::BAD_GATEWAY;
    let refusing = Refusing::start((status, "text/html", None, "<html>"));
    let expected = OrderError {
        reason: "localhost answers 502 Bad Gateway".to_owned(),
        retry_after: None,
    };
    assert_eq!(refusing.order().await, expected);
    refusing.stop().await;
}
