//! Files that are written slowly, swapped by links, taken away and brought back while the gateway
//! serves: what was in force stays until a whole version is there, and that one is noticed.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use postern_core::{Call, Error, Handler, Kind};
use postern_tests::{Door, Gateway, Setup, call, component, connect, free_address, patiently};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::share;

/// SHA-256 of `key of ann`.
const ANN: &str = "sha256:db967788df725d2e43640856ada333767c775916b0fbd83fb04773ee5bf72457";
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
/// Of bob, signed with `SECRET` by HS256, good until 2100.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
    eyJzdWIiOiJib2IiLCJleHAiOjQxMDI0NDQ4MDB9.cicyzLu1VI9P7Nm1x5mV8t5IWcOKa4Ya_6IrIUkvLhA";

/// Calls of one caller, one after the other, until it is asked how they ended.
struct Caller {
    task: JoinHandle<()>,
    ended: Arc<Mutex<Vec<Result<Bytes, Error>>>>,
}

impl Caller {
    async fn start(gateway: &Gateway, header: Option<(&'static str, &'static str)>) -> Self {
        let handler = connect(gateway, Door::Tcp).await;
        let ended = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            loop {
                let outcome = echo(&*handler, header).await;
                noted.lock().expect("nobody panics with it").push(outcome);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { task, ended }
    }

    fn stop(self) -> Vec<Result<Bytes, Error>> {
        self.task.abort();
        let mut ended = self.ended.lock().expect("nobody panics with it");
        assert!(!ended.is_empty(), "no call was made");
        std::mem::take(&mut ended)
    }

    /// Every call so far was answered.
    #[track_caller]
    fn is_good(&self) {
        let ended = self.ended.lock().expect("nobody panics with it");
        assert!(!ended.is_empty(), "no call was made");
        let bad: Vec<_> = ended
            .iter()
            .filter_map(|ended| ended.as_ref().err())
            .collect();
        assert!(
            bad.is_empty(),
            "{} calls failed: {:?}",
            bad.len(),
            bad.first()
        );
    }
}

async fn echo(handler: &dyn Handler, header: Option<(&str, &str)>) -> Result<Bytes, Error> {
    let mut call = Call::unary("echo", "Echo", "hello");
    if let Some((name, value)) = header {
        call.headers.push(name, value).expect("it fits");
    }
    handler.call(call).await?.body.into_one(100).await
}

/// Truncates a file and writes it in two pieces with pauses, as a stalled writer does.
async fn write_slowly(path: &Path, text: &str, cut: usize, pauses: [Duration; 2]) {
    let mut file = File::create(path).expect("truncated");
    tokio::time::sleep(pauses[0]).await;
    let (first, second) = text.as_bytes().split_at(cut);
    file.write_all(first).expect("written");
    tokio::time::sleep(pauses[1]).await;
    file.write_all(second).expect("written");
}

/// `calls.depth-max` as it is in force.
async fn depth_max(gateway: &Gateway) -> serde_json::Value {
    let shown = gateway.admin_json("/config").await;
    shown["config"]["calls.depth-max"]["value"].clone()
}

/// Whether `/readyz` shows `trouble` of the file or folder whose name ends so as a reason `source`, and
/// takes traffic all the while.
async fn is_told(gateway: &Gateway, name: &str, trouble: &str) -> bool {
    let (status, body) = gateway.admin("/readyz").await.expect("answered");
    let shown: serde_json::Value = serde_json::from_str(&body).expect("json");
    let text = |reason: &serde_json::Value, field: &str| {
        let text = reason[field].as_str().unwrap_or_default();
        text.to_owned()
    };
    let mut degraded = shown["degraded"].as_array().into_iter().flatten();
    let is_shown = degraded.any(|reason| {
        text(reason, "name") == "source"
            && text(reason, "subject").ends_with(name)
            && text(reason, "message").contains(trouble)
    });
    is_shown && status == 200
}

/// Whether nothing is the matter any more.
async fn is_well(gateway: &Gateway) -> bool {
    let (status, body) = gateway.admin("/readyz").await.expect("answered");
    status == 200 && !body.contains("\"source\"")
}

/// A component and another of the same size that does the same.
fn two_of_a_size() -> [Vec<u8>; 2] {
    let echo = component("echo");
    // A custom section of nine bytes with a name of four.
    [1, 2].map(|n| [&echo[..], b"\0\x09\x04swap000", &[n]].concat())
}

async fn digest(gateway: &Gateway) -> String {
    let echo = gateway.admin_json("/plugins/echo").await;
    echo["digest"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_being_written_lets_nobody_in() {
    let _machine = share().await;
    let required = "[auth]\nauthentication = \"required\"\n";
    let setup = Setup {
        config: format!("{required}[auth.api-keys.keys.ann]\nhash = \"{ANN}\"\n"),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let nobody = Caller::start(&gateway, None).await;
    let ann = Caller::start(&gateway, Some(("x-vsp-api-key", "key of ann"))).await;
    let path = gateway.folder().join("postern.toml");
    let text = fs::read_to_string(&path).expect("there");
    // Half of it is a configuration of the same gateway without its guard.
    let (auth, listeners) = text.split_at(text.find("[admin]").expect("there"));
    let listeners = format!("[calls]\ndepth-max = 5\n{listeners}");
    let (cut, text) = (listeners.len(), format!("{listeners}{auth}"));
    let ms = Duration::from_millis;
    for pauses in [[ms(2_000), ms(60)], [ms(60), ms(1_500)]] {
        write_slowly(&path, &text, cut, pauses).await;
    }
    ann.is_good();
    let answers = nobody.stop();
    let n_calls = answers.len();
    let let_in = answers
        .iter()
        .filter(|answer| !matches!(answer, Err(error) if error.kind == Kind::Unauthenticated));
    assert_eq!(let_in.count(), 0, "anonymous calls answered, of {n_calls}");
    patiently("the new configuration is in force", async || {
        depth_max(&gateway).await == 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_keys_that_are_cut_in_half_or_gone_leave_good_callers_good() {
    let _machine = share().await;
    let config = "[auth]\nauthentication = \"required\"\nfiles-interval = \"100ms\"\n\
        [auth.api-keys]\nfile = \"keys.toml\"\n[auth.jwt.own]\nsecret-file = \"secret\"\n";
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    // Files beside the plugins lie one folder up.
    let keys = format!(
        "[carl]\nhash = \"sha256:{:064x}\"\n[ann]\nhash = \"{ANN}\"\n",
        7
    );
    let setup = setup.plugin("echo").file("../keys.toml", &keys);
    let gateway = Gateway::start(setup.file("../secret", SECRET)).await;
    let ann = Caller::start(&gateway, Some(("x-vsp-api-key", "key of ann"))).await;
    let bob = Caller::start(&gateway, Some(("authorization", TOKEN))).await;
    let [key_file, secret_file] = ["keys.toml", "secret"].map(|name| gateway.folder().join(name));
    let long = [Duration::from_millis(300), Duration::from_millis(1_500)];
    tokio::join!(
        write_slowly(&key_file, &keys, keys.find("[ann]").expect("there"), long),
        write_slowly(&secret_file, SECRET, SECRET.len() / 2, long),
    );
    ann.is_good();
    bob.is_good();
    fs::remove_file(&key_file).expect("removed");
    fs::write(&secret_file, "").expect("emptied");
    patiently("both are told", async || {
        is_told(&gateway, "keys.toml", "it is gone").await
            && is_told(&gateway, "secret", "it is empty").await
    })
    .await;
    fs::write(&key_file, &keys).expect("written");
    fs::write(&secret_file, SECRET).expect("written");
    patiently("all is well again", async || is_well(&gateway).await).await;
    ann.is_good();
    bob.is_good();
    // A whole version still counts.
    fs::write(&key_file, "# nobody\n").expect("written");
    let handler = connect(&gateway, Door::Tcp).await;
    patiently("the key is gone", async || {
        echo(&*handler, Some(("x-vsp-api-key", "key of ann")))
            .await
            .is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_being_written_leaves_its_plugin_in_the_chain() {
    let _machine = share().await;
    let manifest = "[config]\nfields = [\"email\"]\n[extension]\nenabled = true\n";
    let setup = Setup::default().plugin("echo").plugin("redact");
    let gateway = Gateway::start(setup.file("redact.toml", manifest)).await;
    let path = gateway.folder().join("plugins/redact.toml");
    let handler = connect(&gateway, Door::Tcp).await;
    let ada = r#"{"email":"ada@example.org"}"#;
    let writing = tokio::spawn(async move {
        let text = format!("# changed\n{manifest}");
        let cut = text.find("[extension]").expect("it is there");
        let pauses = [Duration::from_millis(700), Duration::from_secs(3)];
        write_slowly(&path, &text, cut, pauses).await;
    });
    while !writing.is_finished() {
        let reply = call(&*handler, "echo/Echo", ada).await.expect("answered");
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.contains("***"), "not redacted: {reply}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writing.await.expect("written");
    patiently("the whole one is deployed", async || {
        gateway.admin_json("/plugins/redact").await["generation"] == 2
    })
    .await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn links_swapped_to_files_of_the_same_size_and_time_are_noticed() {
    use std::os::unix::fs::symlink;

    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let plugins = gateway.folder().join("plugins");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let manifests = ["[limits]\ntime = \"1s\"\n", "[limits]\ntime = \"2s\"\n"];
    for ((version, echo), manifest) in ["..v1", "..v2"].iter().zip(two_of_a_size()).zip(manifests) {
        let folder = plugins.join(version);
        fs::create_dir(&folder).expect("created");
        for (name, content) in [("echo.wasm", &echo[..]), ("echo.toml", manifest.as_bytes())] {
            fs::write(folder.join(name), content).expect("written");
            let file = File::options().write(true).open(folder.join(name));
            file.and_then(|file| file.set_modified(time)).expect("set");
        }
    }
    symlink("..v1", plugins.join("..data")).expect("linked");
    for name in ["echo.toml", "echo.wasm"] {
        symlink(Path::new("..data").join(name), plugins.join(name)).expect("linked");
    }
    let handler = connect(&gateway, Door::Tcp).await;
    patiently("it is deployed", async || {
        call(&*handler, "echo/Echo", "").await.is_ok()
    })
    .await;
    let first = digest(&gateway).await;
    symlink("..v2", plugins.join("..data_tmp")).expect("linked");
    fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).expect("swapped");
    patiently("the other component takes the calls", async || {
        digest(&gateway).await != first
    })
    .await;
    let names = gateway.admin_json("/plugins").await;
    let names: Vec<_> = names["plugins"].as_array().into_iter().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_taken_away_and_brought_back_takes_no_plugin_along() {
    let _machine = share().await;
    let [one, two] = two_of_a_size();
    let gateway = Gateway::start(Setup::default().file("echo.wasm", one)).await;
    let caller = Caller::start(&gateway, None).await;
    let [plugins, off] = ["plugins", "off"].map(|name| gateway.folder().join(name));
    let copies = gateway.folder().join(".postern/plugins/echo");
    patiently("it is kept as last good copy", async || copies.is_dir()).await;
    let first = digest(&gateway).await;
    let is_folder_told = async || is_told(&gateway, "plugins", "").await;
    fs::rename(&plugins, &off).expect("moved");
    tokio::time::sleep(Duration::from_secs(3)).await;
    caller.is_good();
    patiently("the folder is told", is_folder_told).await;
    // An empty folder in its place is no removal either.
    fs::create_dir(&plugins).expect("created");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_folder_told().await);
    fs::remove_dir(&plugins).expect("removed");
    fs::rename(&off, &plugins).expect("moved back");
    patiently("all is well again", async || is_well(&gateway).await).await;
    assert!(copies.is_dir(), "the last good copy is there");
    assert_eq!(digest(&gateway).await, first);
    caller.is_good();
    gateway.deploy("echo.wasm", &two);
    patiently("changes are noticed as before", async || {
        digest(&gateway).await != first
    })
    .await;
    gateway.remove("echo.wasm");
    patiently("one file removed is a removal", async || {
        let all = gateway.admin_json("/plugins").await;
        all["plugins"] == json!([]) && !copies.is_dir()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_is_tried_again_when_what_it_needs_is_there() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let path = gateway.folder().join("postern.toml");
    let before = fs::read_to_string(&path).expect("there");
    let refused = |n: usize| gateway.log().matches("configuration refused").count() >= n;

    let with_keys =
        format!("{before}\n[calls]\ndepth-max = 5\n[auth.api-keys]\nfile = \"keys.toml\"\n");
    fs::write(&path, &with_keys).expect("written");
    patiently("refused for want of a file", async || refused(1)).await;
    let keys = format!("[ann]\nhash = \"{ANN}\"\n");
    fs::write(gateway.folder().join("keys.toml"), keys).expect("written");
    patiently("taken once the file is there", async || {
        depth_max(&gateway).await == 5
    })
    .await;

    let address = free_address().expect("a free port");
    let taken = TcpListener::bind(address).expect("free");
    let with_second = format!(
        "{before}\n[calls]\ndepth-max = 6\n[listeners.second]\nprotocol = \"vstp\"\n\
         address = \"{address}\"\n"
    );
    fs::write(&path, &with_second).expect("written");
    patiently("refused for want of a port", async || refused(2)).await;
    drop(taken);
    patiently("taken once the port is free", async || {
        depth_max(&gateway).await == 6
    })
    .await;
    assert_eq!(
        gateway.log().matches("configuration refused").count(),
        2,
        "told once each"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_configuration_that_is_being_written_at_the_start_is_waited_for() {
    use std::{io::BufRead as _, process::Stdio};

    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::create(folder.path().join("postern.toml")).expect("created");
    // As it lies there, everybody may call.
    file.write_all(b"[log]\nlevel = \"error\"\n")
        .expect("written");
    let mut command = postern_tests::command_in(folder.path());
    let command = command.arg("check").stderr(Stdio::piped());
    let mut check = command.stdout(Stdio::piped()).spawn().expect("it runs");
    let told = std::io::BufReader::new(check.stderr.take().expect("piped"));
    let mut lines = told.lines().map(|line| line.expect("text"));
    let line = lines.next().expect("it says that it waits");
    assert!(
        line.contains("postern.toml is being written"),
        "it did not wait: {line}"
    );
    file.write_all(b"[auth]\nauthentication = \"requird\"\n")
        .expect("written");
    drop(file);
    let rest: Vec<String> = lines.collect();
    assert!(
        rest.iter().any(|line| line.contains("requird")),
        "the rest was not read: {rest:?}"
    );
    assert_eq!(check.wait().expect("it ends").code(), Some(1));
}
