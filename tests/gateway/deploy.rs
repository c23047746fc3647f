//! A file in the folder is a live service; without the file there is none.

use postern_core::Kind;
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect, patiently};
use serde_json::{Value, json};

use crate::share;

#[tokio::test]
async fn users_answer_alike_over_every_door_and_outlive_a_restart() {
    let _machine = share().await;
    let mut gateway = Gateway::start(Setup::default().plugin("users")).await;
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    let ada = json!({"name": "Ada", "email": "ada@example.org"}).to_string();
    let created = call(&*tcp, "users/CreateUser", ada.clone())
        .await
        .expect("a user is made");
    let created: Value = serde_json::from_slice(&created).expect("json");
    let again = call(&*tcp, "users/CreateUser", ada)
        .await
        .expect_err("the address is taken");
    assert_eq!(again.kind, Kind::AlreadyExists);

    let id = json!({"id": created["id"]}).to_string();
    for _ in 0..2 {
        let mut answers = Vec::new();
        for transport in CallerTransport::ALL {
            let handler = connect(&gateway, transport).await;
            let answer = call(&*handler, "users/GetUser", id.clone()).await;
            answers.push(answer.unwrap_or_else(|error| panic!("{transport}: {error}")));
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        let user: Value = serde_json::from_slice(&answers[0]).expect("json");
        assert_eq!(user["email"], "ada@example.org");
        gateway.restart().await;
    }
}

#[tokio::test]
async fn errors_are_of_the_same_kind_over_every_door() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        for (target, body, kind) in [
            ("users/GetUser", "{\"id\":\"none\"}", Kind::NotFound),
            ("users/GetUser", "{", Kind::InvalidArgument),
            ("users/Nothing", "{}", Kind::NotFound),
            ("nobody/Home", "{}", Kind::NotFound),
        ] {
            let error = call(&*handler, target, body).await.expect_err(target);
            assert_eq!(error.kind, kind, "{transport} {target}: {error}");
        }
    }
}

#[tokio::test]
async fn a_dropped_file_answers_and_a_removed_one_does_not() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let kind = async || {
        call(&*handler, "echo/Echo", "{}")
            .await
            .map_err(|error| error.kind)
            .err()
    };
    assert_eq!(kind().await, Some(Kind::NotFound));
    gateway.deploy("echo.wasm", &component("echo"));
    patiently("the dropped file answers", async || kind().await.is_none()).await;
    gateway.remove("echo.wasm");
    patiently("the removed file does not", async || {
        kind().await == Some(Kind::NotFound)
    })
    .await;
    gateway.deploy("echo/echo.wasm", &component("echo"));
    patiently("a folder of its own serves as well", async || {
        kind().await.is_none()
    })
    .await;
}

#[tokio::test]
async fn hidden_and_temporary_files_are_no_plugins() {
    let _machine = share().await;
    let component = component("echo");
    let names = [
        ".echo.wasm",
        "echo.wasm~",
        "echo.wasm.tmp",
        "echo.wasm.swp",
        "#echo.wasm#",
    ];
    let setup = names
        .iter()
        .fold(Setup::default(), |setup, name| setup.file(name, &component));
    let gateway = Gateway::start(setup.plugin("users")).await;
    let list = gateway.postern(&["plugins", "list", "--output", "json"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(
        list.out.contains("users") && !list.out.contains("echo"),
        "{}",
        list.out
    );
}

#[tokio::test]
async fn a_component_that_could_not_be_read_for_want_of_descriptors_is_read_afterwards() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let before = call(&*handler, "echo/Echo", "{}").await;
    assert_eq!(before.expect_err("nobody").kind, Kind::NotFound);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id()));
    let limits = limits.expect("a running process has limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let files: Vec<_> = files.expect("a row").split_whitespace().collect();
    limit_descriptors(&gateway, &free_descriptor(&gateway).to_string());
    gateway.deploy("echo.wasm", &component("echo"));
    patiently("the component is not read", async || {
        gateway.log().contains("Too many open files")
    })
    .await;
    limit_descriptors(&gateway, files[3]);
    patiently("it is read by itself", async || {
        call(&*handler, "echo/Echo", "{}").await.is_ok()
    })
    .await;
}

/// The descriptor that the next file would get.
fn free_descriptor(gateway: &Gateway) -> u32 {
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.id()));
    let open = open.expect("a running process").flatten();
    let open: std::collections::BTreeSet<u32> = open
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    (0..)
        .find(|number| !open.contains(number))
        .expect("a number")
}

/// From here on the process gets no descriptor from `least` on.
fn limit_descriptors(gateway: &Gateway, least: &str) {
    let process = gateway.id().to_string();
    let set = std::process::Command::new("prlimit")
        .args(["--pid", &process, &format!("--nofile={least}:")])
        .status();
    let set = set.expect("`prlimit` runs: install util-linux");
    assert!(set.success(), "the limit is not set");
}
