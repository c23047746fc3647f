//! `postern certs dev`: files that only their owner reads, which nothing replaces unasked, and lines that
//! make a gateway serve with them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use postern_tests::{Gateway, Setup, free_address, postern};
use serde_json::Value;

use crate::share;

const FILES: [&str; 4] = ["ca.pem", "ca.key", "localhost.pem", "localhost.key"];

fn contents(folder: &Path) -> Vec<String> {
    let read = |name: &&str| fs::read_to_string(folder.join(name)).expect("it was made");
    FILES.iter().map(read).collect()
}

#[test]
fn files_are_private_and_replaced_only_when_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = postern(
        folder.path(),
        &["certs", "dev", "here", "--name", "api.test"],
    );
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.out
            .contains("for localhost, 127.0.0.1, ::1, api.test\n"),
        "{made:?}"
    );
    let here = folder.path().join("here");
    for name in FILES {
        let metadata = fs::metadata(here.join(name)).expect("it was made");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&here).expect("a folder").count(), FILES.len());
    let first = contents(&here);
    let refused = postern(folder.path(), &["certs", "dev", "here"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("here/ca.pem is there already") && refused.err.contains("--force"),
        "{refused:?}"
    );
    assert_eq!(contents(&here), first);
    let forced = postern(
        folder.path(),
        &["certs", "dev", "here", "--force", "--output", "json"],
    );
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let told: Value = serde_json::from_str(&forced.out).expect("json");
    assert_eq!(told["certificate"], "here/localhost.pem");
    assert!(
        contents(&here)
            .iter()
            .zip(&first)
            .all(|(one, other)| one != other)
    );
    let hosts = postern(folder.path(), &["certs", "dev", "hosts", "--hosts-only"]);
    assert!(hosts.out.contains(", for localhost\n"), "{hosts:?}");
    let address = ["certs", "dev", "there", "--hosts-only", "--name", "::2"];
    let refused = postern(folder.path(), &address);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("::2 is an address"), "{refused:?}");
    let wrong = postern(folder.path(), &["certs", "dev", "there", "--name", "a b"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(!folder.path().join("there").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_it_prints_make_a_gateway_serve_with_tls() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let tls = folder.path().join("tls");
    let path = tls.to_str().expect("text");
    let made = postern(folder.path(), &["certs", "dev", path]);
    let lines = made
        .out
        .split_once("[listeners.http.tls]")
        .expect("lines")
        .1;
    let lines = lines.split_once("\n\nOthers").expect("an end").0;
    let address = free_address().expect("a free port");
    let setup = Setup {
        config: format!(
            "[listeners.edge]\nprotocol = \"http\"\naddress = \"{address}\"\n[listeners.edge.tls]{lines}\n"
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}", address.port());
        let answer = gateway.postern(&["call", "--transport", &url, "echo/Echo", "{}"]);
        assert_eq!(
            (answer.code, answer.out.trim()),
            (Some(0), "{}"),
            "{answer:?}"
        );
    }
    let listed = gateway.postern(&["certs", "list"]);
    assert!(
        listed.out.contains("DNS:localhost IP:127.0.0.1 IP:::1"),
        "{listed:?}"
    );
    // Whole days that are left, of 825: all of them within the second in which it was made.
    let left = ["824 days", "825 days"];
    assert!(
        left.iter().any(|days| listed.out.contains(days)),
        "{listed:?}"
    );
}
