//! Plugin projects from nothing: with the binary and the language's toolchain, in an empty folder outside
//! of the sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use postern_tests::{
    Finished, Gateway, Setup, build_cache, command_in, component, free_address, patiently, postern,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::share;

/// An empty folder, and a cache that tests share: tools are installed once in a run, and every
/// component is built.
struct Workshop {
    folder: TempDir,
    cache: PathBuf,
}

impl Workshop {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            cache: build_cache(),
        }
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = command_in(folder);
        command.args(arguments).env("XDG_CACHE_HOME", &self.cache);
        // What other tests have compiled of Go's library is as good here.
        command.env("GOCACHE", self.cache.join("go"));
        command.env("CARGO_TARGET_DIR", self.cache.join("target"));
        command
    }

    fn postern(&self, folder: &Path, arguments: &[&str]) -> Finished {
        let output = self.command(folder, arguments).output();
        output.expect("the binary runs").into()
    }

    /// A new project, called as its language: components of equal sources would come from the cache.
    fn project(&self, lang: &str, name: &str) -> PathBuf {
        let new = self.postern(self.folder.path(), &["new", "--lang", lang, name]);
        assert_eq!(new.code, Some(0), "{new:?}");
        assert!(new.err.contains("postern build"), "{new:?}");
        self.folder.path().join(name)
    }
}

/// From nothing to an answer.
async fn check(lang: &str) {
    let _machine = share().await;
    let workshop = Workshop::new();
    // No component of an earlier run has this name.
    let name = format!("{lang}-{}", std::process::id());
    let project = workshop.project(lang, &name);

    let tested = workshop.postern(&project, &["test"]);
    assert_eq!(tested.code, Some(0), "{lang}: {tested:?}");
    let built = workshop.postern(&project, &["build", "--output", "json"]);
    assert_eq!(built.code, Some(0), "{lang}: {built:?}");
    let built: Value = serde_json::from_str(&built.out).expect("JSON");
    assert_eq!(
        (&built["name"], &built["changed"]),
        (&name.as_str().into(), &true.into())
    );
    let again = workshop.postern(&project, &["build"]);
    assert!(again.out.contains("unchanged"), "{lang}: {again:?}");
    assert!(
        !again.err.contains("componen"),
        "{lang}: nothing is built twice: {again:?}"
    );

    let file = format!("{name}.wasm");
    let inspected = postern(
        &project,
        &["component", "inspect", "--output", "json", &file],
    );
    let inspected: Value = serde_json::from_str(&inspected.out).expect("JSON");
    assert_eq!(inspected["serves"], true, "{lang}: {inspected}");
    assert!(
        inspected["roles"].to_string().contains("handler\""),
        "{lang}: {inspected}"
    );

    let gateway = Gateway::start(Setup::default()).await;
    let read = |file: &str| fs::read(project.join(file)).expect("it was made");
    gateway.deploy(&format!("{name}.toml"), &read(&format!("{name}.toml")));
    gateway.deploy(&file, &read(&file));
    let method = format!("{name}/Greet");
    let arguments = ["call", &method, "{\"name\":\"Ada\"}"];
    let is_served = async {
        while gateway.postern(&arguments).code != Some(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Native code of a component in Python takes most of a minute.
    let served = tokio::time::timeout(Duration::from_secs(240), is_served).await;
    let answer = gateway.postern(&arguments);
    assert!(served.is_ok(), "{lang}: {answer:?}\n{}", gateway.log());
    assert!(answer.out.contains("Hello, Ada!"), "{lang}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_rust_is_made_tested_built_and_called() {
    check("rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_go_is_made_tested_built_and_called() {
    check("go").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_c_is_made_tested_built_and_called() {
    check("c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_javascript_is_made_tested_built_and_called() {
    check("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_typescript_is_made_tested_built_and_called() {
    check("ts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_python_is_made_tested_built_and_called() {
    check("python").await;
}

#[test]
fn a_missing_toolchain_is_named_with_its_remedy_and_nothing_is_written() {
    let workshop = Workshop::new();
    let empty = workshop.folder.path().join("empty");
    fs::create_dir(&empty).expect("made");
    for (lang, remedy) in [
        ("rust", "rustup.rs"),
        ("go", "go.dev/dl"),
        ("js", "nodejs.org"),
        ("python", "python.org"),
    ] {
        let project = workshop.project(lang, lang);
        let mut build = workshop.command(&project, &["build"]);
        let cache = workshop.folder.path().join("cache");
        build.env("PATH", &empty).env("XDG_CACHE_HOME", &cache);
        let built: Finished = build.output().expect("the binary runs").into();
        assert_eq!(built.code, Some(1), "{lang}: {built:?}");
        assert!(built.err.contains("cannot run"), "{lang}: {built:?}");
        assert!(built.err.contains(remedy), "{lang}: {built:?}");
        assert!(!project.join(format!("{lang}.wasm")).exists(), "{lang}");
        let tools = fs::read_dir(cache.join("tools"))
            .into_iter()
            .flatten()
            .count();
        assert_eq!(tools, 0, "{lang}");
    }
}

#[test]
fn a_project_with_packages_of_python_is_compiled_once() {
    let workshop = Workshop::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = tests
        .parent()
        .expect("the sources")
        .join("plugins/forecast");
    let first = workshop.postern(&project, &["build"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let again = workshop.postern(&project, &["build"]);
    assert!(again.out.contains("unchanged"), "{again:?}");
    assert!(
        !again.err.contains("compiling"),
        "its packages lie in its own folder: {again:?}"
    );
}

#[test]
fn sources_that_do_not_compile_are_told_in_the_compilers_words() {
    let workshop = Workshop::new();
    let project = workshop.project("go", "greeter");
    let source = project.join("main.go");
    let text = fs::read_to_string(&source).expect("it was made");
    fs::write(&source, text.replacen("func ", "func 9", 1)).expect("written");
    let built = workshop.postern(&project, &["build"]);
    assert_eq!(built.code, Some(1), "{built:?}");
    assert!(built.err.contains("main.go:"), "{built:?}");
    assert!(built.err.contains("greeter does not compile"), "{built:?}");
    assert!(!project.join("greeter.wasm").exists());
    let tested = workshop.postern(&project, &["test"]);
    assert_eq!(tested.code, Some(1), "{tested:?}");
    assert!(tested.err.contains("the tests fail"), "{tested:?}");
}

#[test]
fn a_component_is_inspected_whoever_made_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        fs::write(
            folder.path().join(name),
            component(name.trim_end_matches(".wasm")),
        )
    };
    write("users.wasm").expect("written");
    write("unknown-import.wasm").expect("written");
    let inspect = |file: &str| postern(folder.path(), &["component", "inspect", file]);

    let users = inspect("users.wasm");
    assert_eq!(users.code, Some(0), "{users:?}");
    let line = |fact: &str| {
        let mut lines = users.out.lines();
        lines
            .find(|line| line.starts_with(fact))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line("roles").contains("handler"), "{users:?}");
    assert!(line("language").contains("Rust"), "{users:?}");
    assert!(
        users.out.contains("postern:gateway/kv@0.1.0  offered"),
        "{users:?}"
    );
    assert!(line("missing").ends_with("nothing"), "{users:?}");

    let unknown = inspect("unknown-import.wasm");
    assert!(
        unknown.out.contains("this host does not offer it"),
        "{unknown:?}"
    );
    let json = [
        "component",
        "inspect",
        "unknown-import.wasm",
        "--output",
        "json",
    ];
    let json: Value = serde_json::from_str(&postern(folder.path(), &json).out).expect("JSON");
    assert_eq!(json["serves"], false, "{json}");
    let is_offered = |import: &Value| import["offered"] == true;
    let imports = json["imports"].as_array().expect("a list");
    assert!(imports.iter().any(|import| !is_offered(import)), "{json}");

    fs::write(folder.path().join("module.wasm"), b"\0asm\x01\0\0\0").expect("written");
    let module = inspect("module.wasm");
    assert_eq!(module.code, Some(1), "{module:?}");
    assert!(module.err.contains("it is a core module"), "{module:?}");
}

/// Killed when it is dropped.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_under_dev_is_built_again_and_served() {
    let _machine = share().await;
    let workshop = Workshop::new();
    let project = workshop.project("go", "plugins/greeter");
    let broken = workshop.folder.path().join("plugins/broken");
    fs::create_dir(&broken).expect("made");
    fs::write(broken.join("go.mod"), "module broken\n\ngo 1.24\n").expect("written");
    fs::write(
        broken.join("main.go"),
        "package main\n\nfunc main() { x }\n",
    )
    .expect("written");
    let address = || free_address().expect("a port");
    let config = format!(
        "[listeners.vstp]\naddress = \"{}\"\n[listeners.http]\naddress = \"{}\"\n[admin]\naddress = \"{}\"\n",
        address(),
        address(),
        address()
    );
    fs::write(workshop.folder.path().join("postern.toml"), config).expect("written");
    let log = fs::File::create(workshop.folder.path().join("log")).expect("made");
    let mut dev = workshop.command(workshop.folder.path(), &["dev"]);
    let _dev = Dev(dev
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("it starts"));
    let greets = async |text: &str| {
        patiently(text, async || {
            let call = ["call", "greeter/Greet", "{\"name\":\"Ada\"}"];
            let called = workshop.postern(workshop.folder.path(), &call);
            called.code == Some(0) && called.out.contains(text)
        })
        .await;
    };
    greets("Hello, Ada!").await;
    let source = project.join("main.go");
    let text = fs::read_to_string(&source).expect("it was made");
    assert!(text.contains("\"!\""), "{text}");
    fs::write(&source, text.replace("\"!\"", "\"?\"")).expect("written");
    greets("Hello, Ada?").await;
    let log = fs::read_to_string(workshop.folder.path().join("log")).expect("its log");
    assert!(log.contains("greeter: compiling with go build"), "{log}");
    assert!(
        log.contains("broken does not compile"),
        "one broken project holds up no other: {log}"
    );
}
