//! Plugins in other languages: one table of calls that each of them answers, and what the SDKs and
//! plugins say of themselves by their own tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use postern_tests::{
    Finished, Gateway, Setup, build_cache, command_in, component, python, system_tool,
};

use crate::{figure, grpc, share};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is in the sources").to_owned()
}

fn run(command: &mut Command) -> Finished {
    command.output().expect("it is installed").into()
}

/// Deploys the guest of `lang` and has it asked all that is in the table.
async fn check(lang: &str) {
    let _machine = share().await;
    let name = format!("table-{lang}");
    let file = component(&name);
    let manifest = root().join(format!("tests/guests/{name}/{name}.toml"));
    let manifest = std::fs::read(manifest).expect("it has a manifest");
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy(&format!("{name}.toml"), &manifest);
    gateway.deploy(&format!("{name}.wasm"), &file);
    let echo = format!("{name}/Echo");
    let is_served = async {
        while gateway.postern(&["call", &echo, "\"1\""]).code != Some(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Native code of a component in Python takes most of a minute.
    let served = tokio::time::timeout(Duration::from_secs(240), is_served).await;
    assert!(served.is_ok(), "{name} serves\n{}", gateway.log());
    let script = root().join("tests/vectors/guests.py");
    let address = format!("ws://{}", gateway.http);
    let mut table = Command::new(python());
    let asked = run(table.arg(script).args([&address, lang]));
    assert_eq!(asked.code, Some(0), "{name}: {asked:?}\n{}", gateway.log());
    figure(&format!(
        "{name}: {}",
        asked.out.lines().last().unwrap_or_default()
    ));
    grpc::check_table(&gateway, lang).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_rust_answers_every_call_of_the_table() {
    check("rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_go_answers_every_call_of_the_table() {
    check("go").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_c_answers_every_call_of_the_table() {
    check("c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_javascript_answers_every_call_of_the_table() {
    check("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_typescript_answers_every_call_of_the_table() {
    check("ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_python_answers_every_call_of_the_table() {
    check("python").await;
}

#[track_caller]
fn passes(command: &mut Command, folder: &str) {
    let tested = run(command.current_dir(root().join(folder)));
    assert_eq!(tested.code, Some(0), "{folder}: {tested:?}");
}

#[test]
fn the_sdk_for_go_passes_its_tests() {
    let go = system_tool("go");
    passes(Command::new(&go).args(["vet", "./..."]), "guest-sdk/go");
    passes(Command::new(&go).args(["test", "./..."]), "guest-sdk/go");
}

#[test]
fn the_sdk_for_c_passes_its_tests() {
    let made = tempfile::tempdir().expect("a folder");
    let program = made.path().join("tests");
    let compile = format!(
        "cc -std=gnu11 -Wall -Wextra -Werror -fsanitize=address,undefined -I. -o {} tests/*.c *.c",
        program.display()
    );
    let mut shell = Command::new("sh");
    passes(shell.args(["-c", &compile]), "guest-sdk/c");
    passes(&mut Command::new(&program), "guest-sdk/c");
}

#[test]
fn the_sdk_for_javascript_passes_its_tests() {
    let mut node = Command::new(system_tool("node"));
    passes(node.args(["--test", "test/"]), "guest-sdk/js");
}

#[test]
fn the_sdk_for_python_passes_its_tests() {
    let mut pytest = Command::new(python());
    passes(pytest.args(["-m", "pytest", "-q"]), "guest-sdk/python");
}

#[test]
fn plugins_in_other_languages_pass_their_tests() {
    for name in [
        "checksum",
        "geo-balancer",
        "router-stats",
        "chat",
        "service-page",
        "forecast",
    ] {
        let folder = format!("plugins/{name}");
        let mut test = command_in(&root().join(&folder));
        passes(
            test.arg("test").env("XDG_CACHE_HOME", build_cache()),
            &folder,
        );
    }
}
