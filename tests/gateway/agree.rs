//! `postern check` and `postern run` are one: what one refuses the other refuses in the same words,
//! and what one takes the other takes.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use postern_tests::{
    CallerTransport, Finished, Gateway, Setup, call, command_in, component, connect,
};

use crate::share;

/// One configuration, and what both must say of it.
struct Case {
    what: &'static str,
    text: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    verdict: Verdict,
}

enum Verdict {
    Good,
    /// `run` does not start.
    Refused(&'static str),
    /// `run` starts without what is asked for, and says each of these.
    Missing(&'static [&'static str]),
}

/// `openssl ecparam -name secp384r1 -genkey | openssl ec -pubout`
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEoVIWVGx4gWSDKdYfk60vqVAYlkdk6yN8
tz115NRkf28aUyYMIJRH3gEVUFhTDljQFdN4TH7UT1+C5dgEPr4aUFLLnh00oslL
1oKtAKtTl8JUOHNxgRWMYcH7hncgb/3p
-----END PUBLIC KEY-----
";
const ANN: &str = "[ann]
hash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"
";

#[rustfmt::skip]
fn refused() -> Vec<Case> {
    let case = |what, text, says| Case { what, text, files: Vec::new(), verdict: Verdict::Refused(says) };
    let with = |file, content: &str, case| Case { files: vec![(file, content.into())], ..case };
    vec![
        case("an unknown key", "[cals]\ntimeout = \"1s\"", "unknown key"),
        case("a level that no filter takes", "[log]\nlevel = \"a[b=info\"", "log level"),
        case("two listeners at one address", "[listeners.a]\nprotocol = \"http\"\naddress = \"127.0.0.1:7\"\n[listeners.b]\nprotocol = \"http\"\naddress = \"127.0.0.1:7\"", "is taken by"),
        case("an extension of no listener", "[extensions.tag]\nlisteners = [\"htpp\"]", "no listener is called"),
        case("more instances than the directory takes", "[directory]\nentries-per-owner-max = 1\n[instances.a]\nservice = \"s\"\naddresses = [\"tcp://127.0.0.1:7\"]\n[instances.b]\nservice = \"s\"\naddresses = [\"tcp://127.0.0.1:7\"]", "exceed directory.entries-per-owner-max"),
        case("a peer without address", "[peers.a]", "is missing"),
        case("a limit that admits nothing", "[limits.a]\nrate = 0", "refuses every call"),
        case("a data directory that is a file", "data-dir = \"postern.toml\"", "data-dir postern.toml"),
        case("a data directory below a file", "data-dir = \"postern.toml/state\"", "data-dir postern.toml/state"),
        with(".postern/kv.redb", "garbage", case("a store that is none", "", "store .postern/kv.redb")),
        with(".postern/cache", "", case("a cache that is no folder", "", "cache folder .postern/cache")),
        case("a key file that is absent", "[auth.jwt.a]\npublic-key-file = \"none.pem\"", "none.pem is not there"),
        case("a secret file that is absent", "[auth.jwt.a]\nsecret-file = \"none\"", "none is not there"),
        with("key.pem", "garbage", case("a key that is none", "[auth.jwt.a]\npublic-key-file = \"key.pem\"", "no public key in PEM")),
        with("key.pem", P384, case("a key of another curve", "[auth.jwt.a]\npublic-key-file = \"key.pem\"\nalgorithms = [\"ES256\"]", "none of its keys verifies ES256")),
        with("key.pem", P384, case("a key of another type", "[auth.jwt.a]\npublic-key-file = \"key.pem\"\nalgorithms = [\"RS256\"]", "none of its keys verifies RS256")),
        with("keys.json", "{}", case("a set that is none", "[auth.jwt.a]\njwks-file = \"keys.json\"", "not a set of keys")),
        with("keys.json", "{\"keys\":[{\"kty\":\"other\"}]}", case("a set of keys of no use", "[auth.jwt.a]\njwks-file = \"keys.json\"", "no key in it that could verify")),
        with("ca.pem", "garbage", case("authorities that are none", "[auth.jwt.a]\njwks-url = \"https://id.example/keys\"\njwks-ca-file = \"ca.pem\"", "no certificate in PEM")),
        case("authorities that are absent", "[auth.jwt.a]\njwks-url = \"https://id.example/keys\"\njwks-ca-file = \"none.pem\"", "none.pem is not there"),
        case("API keys that are absent", "[auth.api-keys]\nfile = \"none.toml\"", "none.toml is not there"),
        with("keys.toml", "[ann]\nhsh = 1", case("API keys that are wrong", "[auth.api-keys]\nfile = \"keys.toml\"", "unknown key")),
        with("keys.toml", ANN, case("an owner that is named twice", "[auth.api-keys]\nfile = \"keys.toml\"\n[auth.api-keys.keys.ann]\nhash = \"sha256:1111111111111111111111111111111111111111111111111111111111111111\"", "an owner has one")),
        with("keys.toml", ANN, case("a key of two owners", "[auth.api-keys]\nfile = \"keys.toml\"\n[auth.api-keys.keys.bob]\nhash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"", "have the same API key")),
    ]
}

#[rustfmt::skip]
fn taken() -> Vec<Case> {
    let missing = |what, text, says| Case { what, text, files: Vec::new(), verdict: Verdict::Missing(says) };
    let good = |what, text| Case { what, text, files: Vec::new(), verdict: Verdict::Good };
    let echo = || component("echo").to_vec();
    vec![
        good("nothing at all", ""),
        Case { files: vec![("key.pem", P384.into())], ..good("a key that fits", "[auth.jwt.a]\npublic-key-file = \"key.pem\"\nalgorithms = [\"ES384\"]") },
        good("a service that a peer may have", "[peers.a]\naddress = \"tcp://127.0.0.1:7\"\n[services.default]\nfallback = { service = \"elsewhere\" }"),
        Case { files: vec![("plugins/tag.wasm", component("tag").to_vec()), ("plugins/echo.wasm", echo())], ..good("plugins that are there", "[extensions.tag]\n[services.default]\nfallback = { service = \"echo\" }") },
        missing("names that nobody has", "[extensions.ghost]\n[services.default]\nbalancer = \"plugin:spirit\"\nfallback = { service = \"nobody\" }\n[services.other]\nbalancer = \"plugin:wraith\"", &["there is no plugin ghost", "there is no plugin spirit", "there is no plugin wraith", "nobody answers for service nobody"]),
        Case {
            files: vec![
                ("plugins/a.wasm", echo()), ("plugins/a.toml", "service = \"one\"".into()),
                ("plugins/b.wasm", echo()), ("plugins/b.toml", "service = \"one\"".into()),
                ("plugins/folder.wasm", echo()), ("plugins/folder.toml", "[grants]\nfiles = [\"absent:/absent\"]".into()),
                ("plugins/small.wasm", echo()), ("plugins/small.toml", "[limits]\nmemory = \"64KiB\"".into()),
                ("plugins/wrong.wasm", echo()), ("plugins/wrong.toml", "servce = \"x\"".into()),
                ("plugins/bad.wasm", "garbage".into()),
                ("plugins/sick.wasm", component("not-serving").to_vec()),
            ],
            ..missing("plugins that cannot serve, or not as is asked", "[extensions.a]\n[services.default]\nbalancer = \"plugin:a\"", &[
                "service echo is held by plugin a", "granted folder absent does not exist", "the database is away", "magic",
                "and not balancer", "and not authenticator", "plugin small", "plugin wrong",
            ])
        },
    ]
}

#[tokio::test]
async fn check_and_run_refuse_the_same_in_the_same_words() {
    let _machine = share().await;
    refused().iter().for_each(judge);
}

#[tokio::test]
async fn check_and_run_take_the_same_and_say_what_is_missing() {
    let _machine = share().await;
    taken().iter().for_each(judge);
}

#[tokio::test]
async fn check_leaves_a_running_gateway_alone() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let check = gateway.postern(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let echo = connect(&gateway, CallerTransport::Tcp).await;
    call(&*echo, "echo/Echo", "1").await.expect("answered");
}

#[track_caller]
fn judge(case: &Case) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
        fs::write(path, content).expect("writable");
    };
    write("postern.toml", case.text.as_bytes());
    for (name, content) in &case.files {
        write(name, content);
    }
    let before = files(folder.path());
    let check: Finished = command(folder.path())
        .arg("check")
        .output()
        .expect("the binary runs")
        .into();
    assert_eq!(
        files(folder.path()),
        before,
        "{}: check leaves files",
        case.what
    );
    let (code, log) = run(folder.path());
    let what = case.what;
    let told = format!("{what}\ncheck: {check:?}\nrun: {code:?} {log}");
    let (says, starts): (&[&str], bool) = match &case.verdict {
        Verdict::Good => (&[], true),
        Verdict::Refused(says) => (std::slice::from_ref(says), false),
        Verdict::Missing(says) => (says, true),
    };
    assert_eq!(code == Some(1), !starts, "{told}");
    assert_eq!(
        check.code == Some(0),
        matches!(case.verdict, Verdict::Good),
        "{told}"
    );
    let is_without = log.contains("serving without");
    assert_eq!(
        is_without,
        matches!(case.verdict, Verdict::Missing(_)),
        "{told}"
    );
    for text in says {
        let said = format!("{}{}", check.out, check.err);
        assert!(said.contains(text), "check says not {text:?}: {told}");
        assert!(log.contains(text), "run says not {text:?}: {told}");
    }
}

fn command(folder: &Path) -> Command {
    let mut command = command_in(folder);
    for listener in ["LISTENERS_VSTP", "LISTENERS_HTTP", "ADMIN"] {
        command.env(format!("POSTERN_{listener}_ADDRESS"), "127.0.0.1:0");
    }
    command
}

/// Runs a gateway until it ends by itself or is ready; then it is ended. Its code if it ended by
/// itself, and what it said.
fn run(folder: &Path) -> (Option<i32>, String) {
    let log = folder.join("log");
    let file = fs::File::create(&log).expect("writable");
    let child = command(folder)
        .arg("run")
        .stdout(std::process::Stdio::null())
        .stderr(file)
        .spawn();
    let mut child = child.expect("the binary runs");
    let until = Instant::now() + Duration::from_secs(120);
    let code = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status.code();
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        if said.contains("\"message\":\"ready\"") || Instant::now() > until {
            child.kill().expect("it runs");
            child.wait().expect("it has ended");
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    (code, fs::read_to_string(&log).expect("readable"))
}

/// Every path below `folder`.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            found.push(path.display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Octets that are no text stand in many environments; only a key of ours must be text.
#[cfg(unix)]
#[test]
fn no_variable_of_another_stops_a_command() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let no_text = OsStr::from_bytes(b"\xff\xfe");
    let run_with = |name: &OsStr, value: &OsStr, arguments: &[&str]| -> Finished {
        let mut command = command(folder.path());
        let command = command.env(name, value).args(arguments);
        command.output().expect("the binary runs").into()
    };
    let arguments: [(&[&str], i32); 3] = [
        (&["check"], 0),
        (&["config", "show"], 0),
        (&["call", "--transport", "vstp://127.0.0.1:1", "a/B"], 1),
    ];
    for (arguments, code) in arguments {
        for name in [OsStr::new("LESSCHARSET"), no_text] {
            let finished = run_with(name, no_text, arguments);
            assert_eq!(finished.code, Some(code), "{name:?} {finished:?}");
            assert!(!finished.err.contains("panicked"), "{name:?} {finished:?}");
        }
        let link = OsStr::new("tcp://10.0.0.1:9900");
        let finished = run_with(OsStr::new("POSTERN_ADMIN_PORT"), link, arguments);
        assert_eq!(finished.code, Some(code), "{finished:?}");
    }
    let own = run_with(OsStr::new("POSTERN_DATA_DIR"), no_text, &["check"]);
    assert_eq!(own.code, Some(1), "{own:?}");
    assert!(own.err.contains("POSTERN_DATA_DIR"), "{own:?}");
    assert!(own.err.contains("not UTF-8"), "{own:?}");
}
