//! Listeners at Unix sockets: who may connect, by `mode` and `owner` of their files, and who a caller
//! is, by `users`, `groups` and `roles` of `[auth.unix.NAME]`.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use postern_core::{Call, Error, Handler, Kind};
use postern_net::{Client, ClientConfig, Destination, Target, unix::UnixDialer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    authority::start,
    fixture::{GatewayFixture, folders},
};

/// The listeners `local`, which speaks VSTP, and `web`, with further keys of the file of `local`.
fn listeners(folder: &TempDir, file: &str) -> String {
    let root = folder.path().display();
    format!(
        "[listeners.local]\nprotocol = \"vstp\"\naddress = \"unix:{root}/local.sock\"\n\
         [listeners.local.unix]\n{file}\n\
         [listeners.web]\nprotocol = \"http\"\naddress = \"unix:{root}/web.sock\"\n"
    )
}

async fn session(path: &Path) -> Client {
    let destination = Destination::Path(path.to_str().expect("text").into());
    let target = Target::new(Arc::new(UnixDialer), destination);
    let client = Client::connect(target, ClientConfig::default()).await;
    client.expect("it listens")
}

async fn answer(client: &Client, service: &str) -> Result<bytes::Bytes, Error> {
    let reply = client
        .call(Call::unary(service.to_owned(), "Say", "{}"))
        .await;
    reply?.body.into_one(1 << 20).await
}

/// Waits until the service `greeter` greets.
async fn until_greeted(client: &Client) {
    for _ in 0..10_000 {
        if answer(client, "greeter")
            .await
            .is_ok_and(|answer| answer == "hi")
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{:?}", answer(client, "greeter").await);
}

/// What is answered over HTTP to whoever asks for `host`.
async fn ask(path: &Path, host: &str, more: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("it listens");
    let request = format!(
        "POST /v1/services/greeter/Say HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nconnection: close\r\n{more}\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// The user of this process and its group.
fn own(folder: &TempDir) -> (u32, u32) {
    let metadata = fs::metadata(folder.path()).expect("it is there");
    (metadata.uid(), metadata.gid())
}

#[tokio::test(flavor = "multi_thread")]
async fn vstp_and_http_are_served_at_unix_sockets_with_their_mode_and_owner() {
    let folder = folders();
    let own = own(&folder);
    // Only root can give files away.
    let (uid, gid) = if own.0 == 0 { (12_345, 23_456) } else { own };
    let file = format!("mode = \"0640\"\nowner = \"{uid}:{gid}\"");
    let extra = listeners(&folder, &file);
    let fixture = start(folder, &extra).await;
    fixture.drop_answering("greeter.wasm", "hi");
    fixture.until_answered("greeter", "hi").await;
    let [local, web] = ["local.sock", "web.sock"].map(|name| fixture.folder.path().join(name));
    let metadata = fs::symlink_metadata(&local).expect("it is there");
    assert_eq!(
        (metadata.uid(), metadata.gid(), mode(&local)),
        (uid, gid, 0o640)
    );
    assert_eq!(mode(&web), 0o660, "the default");

    let client = session(&local).await;
    assert_eq!(answer(&client, "greeter").await.expect("answered"), "hi");
    client.close().await;
    // No page can have a name lead here, and a proxy passes on whatever it was asked for.
    for host in ["api.example.org", "localhost", ""] {
        let answer = ask(&web, host, "").await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hi"),
            "{answer}"
        );
    }
    let foreign = ask(&web, "api.example.org", "origin: https://evil.example\r\n").await;
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");

    let metrics = fixture.admin("GET", "/metrics").await.body;
    let series = "postern_connections_opened_total{listener=\"local\",transport=\"unix\"} 1";
    assert!(metrics.contains(series), "{metrics}");
    fixture.end().await;
    assert!(!local.exists() && !web.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_is_served_at_a_unix_socket_with_its_mode_and_owner() {
    let folder = folders();
    let (uid, gid) = own(&folder);
    let path = folder.path().join("admin.sock");
    let shown = path.display();
    let address = format!(
        "[admin]\naddress = \"unix:{shown}\"\n[admin.unix]\nmode = \"0600\"\nowner = \"{uid}:{gid}\""
    );
    let text = GatewayFixture::text(&folder, "");
    let text = text.replace("[admin]\naddress = \"127.0.0.1:0\"", &address);
    let fixture = GatewayFixture::start_unready(folder, &text).await;
    let fixture = fixture.expect("starts");
    let metadata = fs::symlink_metadata(&path).expect("it is there");
    assert_eq!(
        (metadata.uid(), metadata.gid(), mode(&path)),
        (uid, gid, 0o600)
    );
    let mut stream = UnixStream::connect(&path).await.expect("it listens");
    let request = "GET /livez HTTP/1.1\r\nhost: anything\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    fixture.end().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_mode_makes_the_file_anew_and_a_change_of_nothing_keeps_it() {
    let folder = folders();
    let before = listeners(&folder, "mode = \"0600\"");
    let fixture = start(folder, &before).await;
    let [local, web]: [PathBuf; 2] =
        ["local.sock", "web.sock"].map(|name| fixture.folder.path().join(name));
    let inode = |path: &Path| fs::symlink_metadata(path).expect("it is there").ino();
    let kept = inode(&web);
    let after = before.replace("0600", "0606");
    fixture.configure(&GatewayFixture::text(&fixture.folder, &after));
    fixture
        .until("it has the mode and listens", || {
            let is_anew = local.exists() && mode(&local) == 0o606;
            is_anew && std::os::unix::net::UnixStream::connect(&local).is_ok()
        })
        .await;
    let client = session(&local).await;
    let nobody = answer(&client, "nobody").await.expect_err("nobody");
    assert_eq!(nobody.kind, Kind::NotFound);
    assert_eq!(inode(&web), kept);
    client.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_another_gateway_has_is_refused_by_its_name() {
    let folder = folders();
    let extra = listeners(&folder, "");
    let first = start(folder, &extra).await;
    let other = folders();
    let text = GatewayFixture::text(&other, &extra);
    let refused = GatewayFixture::start_unready(other, &text).await;
    let refused = refused.err().expect("taken").to_string();
    let expected = format!(
        "listener local cannot take unix:{}/local.sock (unix): another process listens there; \
         stop what listens there, or set listeners.local.address in postern.toml or \
         POSTERN_LISTENERS_LOCAL_ADDRESS",
        first.folder.path().display()
    );
    assert_eq!(refused, expected);
    let client = session(&first.folder.path().join("local.sock")).await;
    assert_eq!(
        answer(&client, "nobody").await.expect_err("nobody").kind,
        Kind::NotFound
    );
    client.close().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_nobody_is_refused_before_anything_is_bound() {
    let folder = folders();
    let extra = listeners(&folder, "owner = \"nobody-of-that-name\"");
    let text = GatewayFixture::text(&folder, &extra);
    let refused = GatewayFixture::start_unready(folder, &text).await;
    assert_eq!(
        refused.err().expect("nobody").to_string(),
        "listeners.local.unix.owner: no user is called \"nobody-of-that-name\""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_over_a_unix_socket_is_known_by_users_and_groups_and_has_their_roles() {
    let folder = folders();
    let (uid, gid) = own(&folder);
    for named in [
        format!("users = [\"{uid}\"]"),
        format!("groups = [\"{gid}\"]"),
    ] {
        let folder = folders();
        let rules = format!(
            "[auth]\nauthentication = \"required\"\n\
             [auth.unix.operator]\n{named}\nroles = [\"greeting\"]\n\
             [authorization.rules.greeting]\ncalls = [\"greeter/*\"]\nroles = [\"greeting\"]\n"
        );
        let extra = format!("{}{rules}", listeners(&folder, ""));
        let fixture = start(folder, &extra).await;
        fixture.drop_answering("greeter.wasm", "hi");
        let client = session(&fixture.folder.path().join("local.sock")).await;
        until_greeted(&client).await;
        let web = ask(&fixture.folder.path().join("web.sock"), "localhost", "").await;
        assert!(web.starts_with("HTTP/1.1 200 "), "{web}");
        // The same process over TCP is anybody.
        let anybody = fixture.ask("tcp", "greeter").await.expect_err("anonymous");
        assert_eq!(anybody.kind, Kind::Unauthenticated);
        client.close().await;
        fixture.end().await;
    }
}
