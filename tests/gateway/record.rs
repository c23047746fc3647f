//! Calls recorded from a running gateway and replayed: by it, by a component without a gateway, by a
//! component that was changed, and by `postern test` in a project.

mod imports;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use postern_core::Handler;
use postern_tests::{
    CallerTransport, Finished, Gateway, Setup, build_cache, call, command_in, component, connect,
    patiently,
};
use serde_json::Value;

use crate::share;

/// A recording that has begun.
struct Recording {
    child: Child,
    err: BufReader<std::process::ChildStderr>,
    file: PathBuf,
}

impl Recording {
    /// Records calls of `plugin` into `NAME.calls`.
    fn begin(gateway: &Gateway, plugin: &str, name: &str, arguments: &[&str]) -> Self {
        let file = gateway.folder().join(format!("{name}.calls"));
        let mut command = command_in(gateway.folder());
        command.args(["record", plugin, "--out"]).arg(&file);
        command.args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut err = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        err.read_line(&mut line).expect("text");
        assert!(line.contains("Ctrl-C ends it"), "{line}");
        Self { child, err, file }
    }

    /// Waits for its end.
    fn end(mut self) -> (Finished, PathBuf) {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.err, &mut said).expect("text");
        let finished: Finished = self.child.wait_with_output().expect("it ends").into();
        let finished = Finished {
            err: said,
            ..finished
        };
        (finished, self.file)
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill runs").success());
    }
}

/// `postern plugins shadow --output json`, and what it says.
fn shadow(folder: &Path, file: &Path, arguments: &[&str]) -> (Finished, Value) {
    let mut command = command_in(folder);
    command.args(["plugins", "shadow", "--output", "json", "--from"]);
    command.arg(file).args(arguments);
    command.env("XDG_CACHE_HOME", build_cache());
    let finished: Finished = command.output().expect("the binary runs").into();
    let json = serde_json::from_str(finished.out.trim()).unwrap_or_default();
    (finished, json)
}

#[track_caller]
fn check_equal(replayed: &(Finished, Value), n_calls: u64) {
    let (finished, json) = replayed;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(json["counts"]["equal"], n_calls, "{json:#}");
}

/// The component with one text in the place of another of the same length.
fn changed(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut changed = component.to_vec();
    let at: Vec<_> = (0..changed.len() - from.len())
        .filter(|at| changed[*at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!at.is_empty(), "the component says {from:?}");
    for at in at {
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    changed
}

async fn users() -> (Gateway, std::sync::Arc<dyn Handler>) {
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    (gateway, handler)
}

/// Six calls of `users`, of which two fail.
async fn use_users(handler: &dyn Handler) {
    let ada = "{\"name\":\"Ada\",\"email\":\"ada@example.org\"}";
    let created = call(handler, "users/CreateUser", ada)
        .await
        .expect("created");
    let created: Value = serde_json::from_slice(&created).expect("JSON");
    let id = created["id"].as_str().expect("an id");
    call(handler, "users/CreateUser", ada)
        .await
        .expect_err("the address is taken");
    let one = format!("{{\"id\":\"{id}\"}}");
    call(handler, "users/GetUser", one).await.expect("there");
    let none = "{\"id\":\"0000000000000000000000000000\"}";
    call(handler, "users/GetUser", none)
        .await
        .expect_err("nobody");
    call(handler, "users/ListUsers", "{}")
        .await
        .expect("a page");
    let update = format!("{{\"id\":\"{id}\",\"name\":\"Ada L.\"}}");
    call(handler, "users/UpdateUser", update)
        .await
        .expect("updated");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_are_the_same_bit_for_bit_and_a_change_is_named() {
    let _machine = share().await;
    let (gateway, handler) = users().await;
    let recording = Recording::begin(&gateway, "users", "users", &["--calls", "6"]);
    use_users(&*handler).await;
    let (finished, file) = recording.end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.out.contains("6 calls of users"), "{finished:?}");
    let text = fs::read_to_string(&file).expect("text");
    assert_eq!(text.lines().count(), 7, "a header and six calls");

    // What served goes on as ever, and what it keeps is not touched by a replay.
    check_equal(&shadow(gateway.folder(), &file, &[]), 6);
    check_equal(&shadow(gateway.folder(), &file, &["users"]), 6);
    let listed = call(&*handler, "users/ListUsers", "{}")
        .await
        .expect("a page");
    let listed: Value = serde_json::from_slice(&listed).expect("JSON");
    assert_eq!(
        listed["users"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let by = |name: &str, component: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, component).expect("written");
        let path = path.to_string_lossy().into_owned();
        shadow(folder.path(), &file, &["--component", &path])
    };
    let users = component("users");
    check_equal(&by("users.wasm", &users), 6);

    let (finished, json) = by(
        "reply.wasm",
        &changed(&users, "no user has id", "no USER has id"),
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(json["counts"]["equal"], 5, "{json:#}");
    assert_eq!(json["counts"]["reply"], 1, "{json:#}");
    let differs = json["calls"].to_string();
    assert!(differs.contains("failure message"), "{differs}");
    assert!(differs.contains("no USER has id"), "{differs}");

    let (finished, json) = by("asks.wasm", &changed(&users, "email/", "emaik/"));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let differs = json["calls"].to_string();
    assert!(differs.contains("emaik/ada@example.org"), "{differs}");
    assert!(differs.contains("which was not recorded"), "{differs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_by_the_terminal_and_only_what_was_asked_for_is_in_it() {
    let _machine = share().await;
    let (gateway, handler) = users().await;
    let recording = Recording::begin(&gateway, "users", "u", &["--method", "users/ListUsers"]);
    let second = gateway.postern(&["record", "users", "--out", "second.calls"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(
        second.err.contains("is being recorded already"),
        "{second:?}"
    );
    assert!(!gateway.folder().join("second.calls").exists());
    let none = "{\"id\":\"0000000000000000000000000000\"}";
    call(&*handler, "users/GetUser", none)
        .await
        .expect_err("nobody");
    call(&*handler, "users/ListUsers", "{}")
        .await
        .expect("a page");
    let file = recording.file.clone();
    patiently("the call is in the file", async || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().count() == 2 && text.ends_with('\n')
    })
    .await;
    recording.interrupt();
    let (finished, file) = recording.end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.out.contains("1 calls of users"), "{finished:?}");
    check_equal(&shadow(gateway.folder(), &file, &[]), 1);

    // The gateway notices, and another recording continues the file.
    let mut again = None;
    patiently("the recording has ended there too", async || {
        let arguments = ["record", "users", "--out", "u.calls", "--for", "10ms"];
        let recorded = gateway.postern(&arguments);
        let has_ended = recorded.code == Some(0);
        again = Some(recorded);
        has_ended
    })
    .await;
    let recording = Recording::begin(&gateway, "users", "u", &["--calls", "1"]);
    call(&*handler, "users/ListUsers", "{}")
        .await
        .expect("a page");
    let (finished, file) = recording.end();
    assert_eq!(finished.code, Some(0), "{finished:?} after {again:?}");
    check_equal(&shadow(gateway.folder(), &file, &[]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_or_read_is_told() {
    let _machine = share().await;
    let setup = Setup::default()
        .plugin("echo")
        .plugin("tag")
        .plugin("users");
    let single = "[instances]\nmode = \"single\"\n";
    let gateway = Gateway::start(setup.file("echo.toml", single)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for (plugin, reason) in [
        ("echo", "instances.mode = \"single\""),
        ("tag", "it answers no calls"),
        ("nobody", "no plugin nobody"),
    ] {
        let refused = gateway.postern(&["record", plugin]);
        assert_eq!(refused.code, Some(1), "{plugin}: {refused:?}");
        assert!(refused.err.contains(reason), "{plugin}: {refused:?}");
    }
    let recording = Recording::begin(&gateway, "users", "users", &["--calls", "2"]);
    for _ in 0..2 {
        call(&*handler, "users/ListUsers", "{}")
            .await
            .expect("a page");
    }
    let (_, file) = recording.end();
    let whole = fs::read(&file).expect("readable");
    let fault = |content: &[u8], reason: &str| {
        fs::write(&file, content).expect("writable");
        let (finished, json) = shadow(gateway.folder(), &file, &[]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let said = format!("{json} {}", finished.err);
        assert!(said.contains(reason), "{said}");
    };
    fault(&whole[..whole.len() - 7], "the file is cut off");
    fault(b"\0asm\x0d\0\x01\0", "it is no recording");
    fault(b"{\"postern-calls\":9}\n", "version 9 of the format");
    fault(b"", "it is empty");
}

/// Records what the guest of `lang` draws, and draws it again.
async fn check_drawn(lang: &str) {
    let _machine = share().await;
    let name = format!("table-{lang}");
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy(&format!("{name}.wasm"), &component(&name));
    let draw = format!("{name}/Draw");
    let is_served = async {
        while gateway.postern(&["call", &draw]).code != Some(0) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    // Native code of a component in Python takes most of a minute.
    let served = tokio::time::timeout(std::time::Duration::from_secs(240), is_served).await;
    assert!(served.is_ok(), "{name} serves\n{}", gateway.log());
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let recording = Recording::begin(&gateway, &name, &name, &["--calls", "3"]);
    let mut drawn = Vec::new();
    for _ in 0..3 {
        drawn.push(call(&*handler, &draw, "{}").await.expect("drawn"));
    }
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 3, "each is another one: {drawn:?}");
    let (finished, file) = recording.end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    check_equal(&shadow(gateway.folder(), &file, &[]), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_in_javascript_draws_comes_again() {
    check_drawn("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_in_python_draws_comes_again() {
    check_drawn("python").await;
}

/// Puts one text in the place of another in a file that has it.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.contains(from), "{} says {from:?}", file.display());
    fs::write(file, text.replace(from, to)).expect("writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_replays_its_recorded_calls_when_it_is_tested() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    // No component of an earlier run has this name.
    let name = format!("replayed-{}", std::process::id());
    let project = folder.path().join(&name);
    let run = |folder: &Path, arguments: &[&str]| -> Finished {
        let mut command = command_in(folder);
        command.args(arguments).env("XDG_CACHE_HOME", build_cache());
        command.output().expect("the binary runs").into()
    };
    let new = run(folder.path(), &["new", "--lang", "c", &name]);
    assert_eq!(new.code, Some(0), "{new:?}");
    let built = run(&project, &["build"]);
    assert_eq!(built.code, Some(0), "{built:?}");
    let read = |file: &str| fs::read(project.join(file)).expect("it was made");
    let manifest = format!("{name}.toml");
    let setup = Setup::default().file(&manifest, read(&manifest));
    let wasm = format!("{name}.wasm");
    let gateway = Gateway::start(setup.file(&wasm, read(&wasm))).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let recording = Recording::begin(&gateway, &name, "project", &["--calls", "2"]);
    for _ in 0..2 {
        let greet = format!("{name}/Greet");
        call(&*handler, &greet, "{\"name\":\"Ada\"}")
            .await
            .expect("greeted");
    }
    let (_, file) = recording.end();
    fs::create_dir_all(project.join("tests")).expect("a folder");
    fs::copy(file, project.join("tests/greeted.calls")).expect("copied");

    let tested = run(&project, &["test", "--output", "json"]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let json: Value = serde_json::from_str(&tested.out).expect("JSON");
    assert_eq!(json["calls"][0]["counts"]["equal"], 2, "{json:#}");

    edit(
        &project.join("src/plugin.c"),
        "\"%.*s, %.*s!\"",
        "\"%.*s, dear %.*s!\"",
    );
    edit(
        &project.join("tests/tests.c"),
        "Ahoy, Ada!",
        "Ahoy, dear Ada!",
    );
    let tested = run(&project, &["test"]);
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(
        tested
            .out
            .contains("body /text: \"Hello, Ada!\" became \"Hello, dear Ada!\""),
        "{tested:?}"
    );
    assert!(
        tested.err.contains("2 of 2 recorded calls differ"),
        "{tested:?}"
    );
    assert!(tested.err.contains("--update"), "{tested:?}");
    let updated = run(&project, &["test", "--update"]);
    assert_eq!(updated.code, Some(0), "{updated:?}");
    assert!(
        updated.out.contains("Hello, dear Ada!"),
        "it is shown: {updated:?}"
    );
    let tested = run(&project, &["test"]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
}
