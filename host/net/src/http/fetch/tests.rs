//! Documents over real sockets, with certificates made for the occasion.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

#[tokio::test]
async fn a_document_comes_over_tls_from_a_server_that_the_authority_signed() {
    let authority = Authority::new();
    let server = Server::open(Some(&authority), ok("{\"keys\":[]}")).await;
    let fetcher = fetcher(FetchConfig {
        authorities: Some(authority.pem()),
        ..FetchConfig::default()
    });
    let document = fetcher.get(&server.url("https", "/keys?v=1")).await;
    assert_eq!(document.expect("fetches"), "{\"keys\":[]}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let server = Server::open(Some(&Authority::new()), ok("{}")).await;
    for authorities in [None, Some(Authority::new().pem())] {
        let fetcher = fetcher(FetchConfig {
            authorities,
            ..FetchConfig::default()
        });
        let error = fetcher
            .get(&server.url("https", "/"))
            .await
            .expect_err("fails");
        assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    }
}

#[tokio::test]
async fn plain_http_is_taken_only_where_it_is_allowed() {
    let server = Server::open(None, ok("{}")).await;
    let url = server.url("http", "/");
    let error = fetcher(FetchConfig::default())
        .get(&url)
        .await
        .expect_err("fails");
    assert!(matches!(error, FetchError::Plain { .. }), "{error}");
    assert_eq!(plain(1024).get(&url).await.expect("fetches"), "{}");
}

#[tokio::test]
async fn a_document_is_taken_at_the_limit_and_refused_one_octet_over() {
    let server = Server::open(None, ok("0123456789")).await;
    let url = server.url("http", "/");
    assert_eq!(plain(10).get(&url).await.expect("fits"), "0123456789");
    let error = plain(9).get(&url).await.expect_err("too long");
    assert!(matches!(error, FetchError::Body { limit: 9 }), "{error}");
}

#[tokio::test]
async fn any_other_status_is_no_document() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    let server = Server::open(None, moved.to_owned()).await;
    let error = plain(10)
        .get(&server.url("http", "/"))
        .await
        .expect_err("fails");
    assert_eq!(error.to_string(), "127.0.0.1 answers 302 Found");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_the_time_for_it() {
    let server = Server::open(None, String::new()).await;
    let config = FetchConfig {
        timeout: Duration::from_millis(50),
        plain: true,
        ..FetchConfig::default()
    };
    let error = fetcher(config)
        .get(&server.url("http", "/"))
        .await
        .expect_err("fails");
    assert!(matches!(error, FetchError::Late { .. }), "{error}");
}

#[tokio::test]
async fn a_document_that_ends_early_is_none() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\"";
    let server = Server::open(None, format!("{cut}{CLOSE}")).await;
    let error = plain(1024)
        .get(&server.url("http", "/"))
        .await
        .expect_err("fails");
    assert!(
        matches!(error, FetchError::Body { .. } | FetchError::Http { .. }),
        "{error}"
    );
}

#[test]
fn urls_are_read_in_their_parts() {
    let target = parse("https://id.example.org/a/b?c=d", false).expect("legal");
    assert_eq!((target.port, target.path.as_str()), (443, "/a/b?c=d"));
    assert_eq!(target.authority, "id.example.org");
    let target = parse("http://[::1]:81", true).expect("legal");
    assert_eq!((target.host.as_str(), target.port), ("[::1]", 81));
    assert_eq!(target.path, "/");
    for url in [
        "id.example.org",
        "ftp://a/b",
        "https://",
        "https://u:p@a/",
        "/keys",
        "https://a b",
    ] {
        assert!(
            matches!(parse(url, true), Err(FetchError::Address { .. })),
            "{url}"
        );
    }
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let config = FetchConfig {
            authorities: Some(pem.into()),
            ..FetchConfig::default()
        };
        assert!(matches!(
            Fetcher::new(config),
            Err(FetchError::Authorities(_))
        ));
    }
}

/// Signs servers' certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("legal");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("legal");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            );
        TlsAcceptor::from(Arc::new(config.expect("a certificate and its key")))
    }
}

/// Answers every connection alike.
struct Server {
    port: u16,
    serving: JoinHandle<()>,
}

impl Server {
    async fn open(authority: Option<&Authority>, answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let acceptor = authority.map(Authority::acceptor);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                match &acceptor {
                    None => reply(socket, &answer).await,
                    Some(acceptor) => {
                        if let Ok(socket) = acceptor.accept(socket).await {
                            reply(socket, &answer).await;
                        }
                    }
                }
            }
        });
        Self { port, serving }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads one request, writes the answer and waits for the other end; an empty answer says nothing.
async fn reply(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(socket.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let closes = answer.ends_with(CLOSE);
    let answer = answer.trim_end_matches(CLOSE);
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.flush().await;
    if !closes {
        let _ = socket.read_buf(&mut request).await;
    }
}

fn ok(document: &str) -> String {
    let length = document.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{document}")
}

fn fetcher(config: FetchConfig) -> Fetcher {
    Fetcher::new(config).expect("legal")
}

fn plain(document_bytes_max: usize) -> Fetcher {
    fetcher(FetchConfig {
        document_bytes_max,
        plain: true,
        ..FetchConfig::default()
    })
}

/// Not sent: the server closes after its answer.
const CLOSE: &str = "(close)";
