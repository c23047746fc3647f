//! Keys that are fetched, from a server that counts, changes its keys and goes away.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use postern_system::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::sources::files::FileWatch;

#[tokio::test]
async fn the_first_call_waits_for_the_keys() {
    let (forge, keys) = one_key("a").await;
    let side = Side::start(&keys, "");
    let mut call = bearer(&forge.sign(&claims(NOW)));
    let identity = side.guard.identify(&mut call, at(NOW)).expect("undecided");
    let Identified::Waiting(waiting) = identity else {
        panic!("no keys are there")
    };
    waiting.answered().await;
    side.guard.identify_now(&mut call, at(NOW)).expect("good");
    assert_eq!(call.context.principal.expect("somebody").name, "ann");
    assert_eq!(keys.n_fetches(), 1);
}

#[tokio::test]
async fn a_key_that_is_rotated_in_while_running_is_found_and_the_old_one_falls() {
    let (old, keys) = one_key("old").await;
    let side = Side::start(&keys, "jwks-refetch = \"10ms\"");
    let old_token = old.sign(&claims(NOW));
    side.settle(&old_token).await.expect("good");
    assert_eq!(side.guard.authenticator.n_tokens(), 1);
    let new = Forge::es256("new");
    keys.publish(set_of(std::slice::from_ref(&new)));
    tokio::time::sleep(Duration::from_millis(20)).await;
    side.settle(&new.sign(&claims(NOW))).await.expect("found");
    let error = side.settle(&old_token).await.expect_err("rotated out");
    assert_eq!(error.kind, Kind::Unauthenticated);
    assert!(
        error.message.contains("\"old\" is not known"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_key_that_takes_the_name_of_another_is_found_at_its_first_token() {
    // An empty name is none.
    for kid in ["a", ""] {
        let nameless = |forge: &Forge| {
            let mut key = forge.jwk();
            if kid.is_empty() {
                key.as_object_mut().expect("a key").remove("kid");
            }
            json!({ "keys": [key] }).to_string()
        };
        let (old, new) = (Forge::ed(kid), Forge::ed(kid));
        let keys = KeyServer::open(nameless(&old)).await;
        let side = Side::start(&keys, "jwks-refetch = \"10ms\"");
        let old_token = old.sign(&claims(NOW));
        side.settle(&old_token).await.expect("good");
        keys.publish(nameless(&new));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let new_token = new.sign(&claims(NOW));
        side.settle(&new_token).await.expect("it is fetched");
        let error = side.settle(&old_token).await.expect_err("it is gone");
        assert_eq!(error.kind, Kind::Unauthenticated);
    }
}

#[tokio::test]
async fn wrong_signatures_do_not_make_the_gateway_a_hammer() {
    let (forge, keys) = one_key("a").await;
    let side = Side::start(&keys, "jwks-refetch = \"1h\"\njwks-refresh = \"1h\"");
    side.settle(&forge.sign(&claims(NOW))).await.expect("good");
    for _ in 0..50 {
        let forged = Forge::ed("a").sign(&claims(NOW));
        let error = side.settle(&forged).await.expect_err("forged");
        assert_eq!(error.kind, Kind::Unauthenticated);
    }
    assert_eq!(keys.n_fetches(), 1);
}

#[tokio::test]
async fn a_set_that_is_emptied_on_purpose_leaves_no_key() {
    let (forge, keys) = one_key("a").await;
    let times = "jwks-refresh = \"100ms\"\njwks-refetch = \"20ms\"";
    let side = Side::start(&keys, times);
    let token = forge.sign(&claims(NOW));
    side.settle(&token).await.expect("good");
    keys.publish("{\"keys\":[]}".to_owned());
    keys.wait_for(keys.n_fetches() + 2).await;
    let error = side.settle(&token).await.expect_err("withdrawn");
    assert_eq!(error.kind, Kind::Unauthenticated);
}

#[tokio::test]
async fn tokens_of_unknown_keys_do_not_make_the_gateway_a_hammer() {
    let (forge, keys) = one_key("a").await;
    let side = Side::start(&keys, "jwks-refetch = \"1h\"\njwks-refresh = \"1h\"");
    side.settle(&forge.sign(&claims(NOW))).await.expect("good");
    for n in 0..50 {
        let token = Forge::ed(&format!("unknown {n}")).sign(&claims(NOW));
        let error = side.settle(&token).await.expect_err("unknown");
        assert_eq!(error.kind, Kind::Unauthenticated);
    }
    assert_eq!(keys.n_fetches(), 1);
}

#[tokio::test]
async fn keys_are_fetched_again_by_themselves() {
    let (forge, keys) = one_key("a").await;
    let side = Side::start(&keys, "jwks-refresh = \"100ms\"\njwks-refetch = \"10ms\"");
    side.settle(&forge.sign(&claims(NOW))).await.expect("good");
    keys.wait_for(3).await;
}

#[tokio::test]
async fn while_the_server_is_down_old_keys_serve_until_the_bound_and_then_nobody_passes() {
    let (forge, keys) = one_key("a").await;
    let times = "jwks-refresh = \"100ms\"\njwks-refetch = \"20ms\"\njwks-stale-max = \"1h\"";
    let side = Side::start(&keys, times);
    let (known, other) = (
        forge.sign(&claims(NOW)),
        forge.sign(&changed("sub", json!("bob"))),
    );
    side.settle(&known).await.expect("good");
    keys.go_down();
    let n_before = keys.n_fetches();
    keys.wait_for(n_before + 2).await;
    let begin = clock::now();
    let after = |seconds: u64| Moment {
        instant: begin + Duration::from_secs(seconds),
        unix: NOW,
    };
    // Both one that was verified before and one that was not.
    for token in [&known, &other] {
        let mut call = bearer(token);
        side.guard
            .identify_now(&mut call, after(3590))
            .expect("old keys serve");
        let mut call = bearer(token);
        let error = side
            .guard
            .identify_now(&mut call, after(3610))
            .expect_err("too old");
        assert_eq!(error.kind, Kind::Unavailable);
        assert_eq!(error.retry, Retry::After(Duration::from_millis(20)));
    }
    keys.publish(set_of(std::slice::from_ref(&forge)));
    keys.wait_for(keys.n_fetches() + 1).await;
    side.settle(&known).await.expect("it is there again");
}

#[tokio::test]
async fn a_server_that_answers_nonsense_changes_nothing() {
    let (forge, keys) = one_key("a").await;
    let times = "jwks-refresh = \"100ms\"\njwks-refetch = \"20ms\"";
    let side = Side::start(&keys, times);
    let token = forge.sign(&claims(NOW));
    side.settle(&token).await.expect("good");
    for nonsense in [
        "",
        "<html>",
        "{\"keys\":[",
        "{}",
        &"x".repeat(2 * 1024 * 1024),
    ] {
        keys.publish(nonsense.to_owned());
        keys.wait_for(keys.n_fetches() + 2).await;
        side.settle(&token).await.expect("still good");
    }
}

#[tokio::test]
async fn a_server_that_was_never_there_makes_tokens_unverifiable_not_wrong() {
    let (forge, keys) = one_key("a").await;
    keys.go_down();
    let side = Side::start(&keys, "jwks-refetch = \"1h\"");
    let error = side
        .settle(&forge.sign(&claims(NOW)))
        .await
        .expect_err("no keys");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("keys of issuer id"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn a_set_is_taken_up_to_its_limit_of_octets() {
    let (forge, keys) = one_key("a").await;
    let set = set_of(std::slice::from_ref(&forge));
    for (length, is_taken) in [(1024, true), (1025, false)] {
        keys.publish(format!("{set}{}", " ".repeat(length - set.len())));
        let side = Side::start(&keys, "jwks-bytes-max = \"1KiB\"");
        let settled = side.settle(&forge.sign(&claims(NOW))).await;
        assert_eq!(settled.is_ok(), is_taken, "{settled:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_as_long_as_is_configured() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let source = format!(
        "jwks-url = \"http://127.0.0.1:{port}/keys\"\njwks-allow-http = true\n\
         jwks-timeout = \"100ms\"\n"
    );
    let side = Side::of(issuer(&source));
    let begin = clock::now();
    let error = side.settle(&Forge::ed("a").sign(&claims(NOW))).await;
    assert_eq!(error.expect_err("no keys").kind, Kind::Unavailable);
    // The default is 5 s.
    assert!(
        clock::since(begin) < Duration::from_secs(4),
        "{:?}",
        clock::since(begin)
    );
}

#[tokio::test]
async fn a_new_guard_goes_on_with_the_keys_of_the_one_before() {
    let (forge, keys) = one_key("a").await;
    let side = Side::start(&keys, "");
    side.settle(&forge.sign(&claims(NOW))).await.expect("good");
    let text = format!("{}[limits.a]\nrate = 5\n", side.text);
    let after = Arc::new(open(&text, Some(&side.guard)).expect("opens"));
    let refreshing = tokio::spawn(refreshing(Arc::clone(&after)));
    let mut call = bearer(&forge.sign(&claims(NOW)));
    after
        .identify_now(&mut call, at(NOW))
        .expect("keys are there");
    assert_eq!(keys.n_fetches(), 1);
    refreshing.abort();
}

#[tokio::test]
async fn files_are_read_again_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Forge::ed("old"), Forge::ed("new"));
    let path = file(
        folder.path(),
        "set.json",
        &set_of(std::slice::from_ref(&old)),
    );
    let text = format!(
        "[auth]\nfiles-interval = \"100ms\"\n{}",
        issuer(&format!("jwks-file = {path}"))
    );
    let side = Side::of(text);
    side.settle(&old.sign(&claims(NOW))).await.expect("good");
    file(
        folder.path(),
        "set.json",
        &set_of(std::slice::from_ref(&new)),
    );
    let token = new.sign(&claims(NOW));
    let reading = async {
        while side.settle(&token).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("it is read");
}

#[tokio::test]
async fn authorities_are_read_again_by_themselves_and_keys_fetched_with_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (forge, keys) = one_key("a").await;
    let authority = || {
        let params = rcgen::CertificateParams::new(Vec::new()).expect("legal");
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signs").pem()
    };
    let path = file(folder.path(), "ca.pem", &authority());
    let times = format!("jwks-ca-file = {path}\njwks-refetch = \"1h\"\njwks-refresh = \"1h\"");
    let side = Side::start(&keys, &times);
    let token = forge.sign(&claims(NOW));
    side.settle(&token).await.expect("good");
    assert_eq!(keys.n_fetches(), 1);
    assert_eq!(side.guard.files().len(), 1, "it is followed");
    file(folder.path(), "ca.pem", &authority());
    keys.wait_for(2).await;
    // One that holds no certificate leaves the one before, and is no reason to fetch.
    file(folder.path(), "ca.pem", "garbage");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(keys.n_fetches(), 2);
    file(folder.path(), "ca.pem", &authority());
    keys.wait_for(3).await;
    side.settle(&token).await.expect("good");
    // A configuration that is opened anew goes on with what was read.
    file(folder.path(), "ca.pem", "garbage");
    let text = format!(
        "{}jwks-bytes-max = \"2MiB\"\n[limits.a]\nrate = 5\n",
        side.text
    );
    open(&text, Some(&side.guard)).expect("the half-written file is not read");
}

/// Keeps a guard fresh as a gateway does.
async fn refreshing(guard: Arc<Guard>) {
    let mut files = FileWatch::new(Duration::from_millis(100), guard.files_interval(), None);
    files.set(&guard.files());
    maintain(Some(guard), None, &mut files).await;
}

/// A guard with its task.
struct Side {
    text: String,
    guard: Arc<Guard>,
    refreshing: JoinHandle<()>,
}

impl Side {
    fn start(keys: &KeyServer, times: &str) -> Self {
        let url = format!("http://127.0.0.1:{}/keys", keys.port);
        let source = format!("jwks-url = \"{url}\"\njwks-allow-http = true\n{times}");
        Self::of(issuer(&source))
    }

    fn of(text: String) -> Self {
        let guard = Arc::new(guard(&text));
        let refreshing = tokio::spawn(refreshing(Arc::clone(&guard)));
        Self {
            text,
            guard,
            refreshing,
        }
    }

    /// Identifies as the pipeline does: waits once where keys are on their way.
    async fn settle(&self, token: &str) -> Result<(), Error> {
        let mut call = bearer(token);
        match self.guard.identify(&mut call, at(NOW))? {
            Identified::Settled => Ok(()),
            Identified::Waiting(waiting) => {
                waiting.answered().await;
                self.guard.identify_now(&mut call, at(NOW))
            }
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}

/// Publishes a set of keys over HTTP.
struct KeyServer {
    port: u16,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// `None` while it is down: connections are closed unanswered.
    document: Mutex<Option<String>>,
    n_fetches: AtomicUsize,
}

impl KeyServer {
    async fn open(document: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            document: Mutex::new(Some(document)),
            ..Shared::default()
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self {
            port,
            shared,
            serving,
        }
    }

    fn publish(&self, document: String) {
        *self.shared.document.lock() = Some(document);
    }

    fn go_down(&self) {
        *self.shared.document.lock() = None;
    }

    fn n_fetches(&self) -> usize {
        self.shared.n_fetches.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, n_fetches: usize) {
        let fetching = async {
            while self.n_fetches() < n_fetches {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            // The last answer is on its way; whoever asked takes it over within this.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        tokio::time::timeout(PATIENCE, fetching)
            .await
            .expect("keys are fetched");
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        answer(socket, &shared).await;
    }
}

async fn answer(mut socket: TcpStream, shared: &Shared) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(socket.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    shared.n_fetches.fetch_add(1, Ordering::SeqCst);
    let Some(document) = shared.document.lock().clone() else {
        return;
    };
    let length = document.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let _ = socket
        .write_all(format!("{head}{document}").as_bytes())
        .await;
}

async fn one_key(kid: &str) -> (Forge, KeyServer) {
    let forge = Forge::ed(kid);
    let server = KeyServer::open(set_of(std::slice::from_ref(&forge))).await;
    (forge, server)
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
