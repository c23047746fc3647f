//! Hostile guests: each is stopped with its reason, in Rust, JavaScript and Python, and a neighbour goes on answering
//! meanwhile. How long its calls take then is a figure of `neighbours.rs` and of ADR 61.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Error, Handler, Kind};
use postern_tests::{CallerTransport, Gateway, Load, Setup, call, component, connect};

use crate::{figure, share};

/// What a guest does, and what comes of it.
struct Attack {
    name: &'static str,
    method: &'static str,
    body: &'static str,
    /// Whether it is a stream.
    streams: bool,
    kind: Kind,
    /// In what the caller reads.
    said: &'static str,
    /// Under which the trap is counted; none where the guest is refused and not stopped.
    reason: Option<&'static str>,
}

/// Short, so that the tests are. A busy machine may take long for this much processor time.
const LIMITS: &str = "[calls]\n\
    timeout = \"5m\"\n\
    [plugins.limits]\n\
    time = \"10m\"\n\
    cpu = \"2s\"\n\
    log-call-bytes = \"128KiB\"\n";

/// For a guest that computes nothing.
const STREAM_LIMITS: &str = "[plugins.limits]\nstream-time = \"2s\"\n";

const CPU: &str = "exceeded its processor time limit 2 s";
const LOGGED: &str = "more than 128 KiB logged and printed";

const fn attack(
    name: &'static str,
    (method, body): (&'static str, &'static str),
    (kind, said): (Kind, &'static str),
    reason: &'static str,
) -> Attack {
    Attack {
        name,
        method,
        body,
        streams: false,
        kind,
        said,
        reason: Some(reason),
    }
}

impl Attack {
    const fn streaming(self) -> Self {
        Self {
            streams: true,
            ..self
        }
    }

    const fn refused(self) -> Self {
        Self {
            reason: None,
            ..self
        }
    }
}

/// What Rust and JavaScript do alike.
const ATTACKS: [Attack; 6] = [
    attack(
        "endless loop",
        ("Loop", "null"),
        (Kind::DeadlineExceeded, CPU),
        "cpu-limit",
    ),
    attack(
        "endless loop in a stream",
        ("LoopAfter", "null"),
        (Kind::DeadlineExceeded, CPU),
        "cpu-limit",
    )
    .streaming(),
    attack(
        "log flood",
        ("FloodLog", "{\"lines\":1000000000,\"bytes\":100}"),
        (Kind::Internal, LOGGED),
        "log-limit",
    ),
    attack(
        "flood of standard output",
        ("FloodPrint", "null"),
        (Kind::Internal, LOGGED),
        "log-limit",
    ),
    attack(
        "host-call flood",
        ("HostCalls", "{\"count\":1000000000}"),
        (
            Kind::Internal,
            "more than 10000 calls of imported functions",
        ),
        "host-call-limit",
    ),
    attack(
        "huge output",
        ("BigOutput", "{\"bytes\":9000000}"),
        (
            Kind::Internal,
            "output of 9000000 octets exceeds the limit of 8388608",
        ),
        "output-limit",
    ),
];

const DRIP: Attack = attack(
    "slow-drip stream",
    ("Drip", "{\"ms\":50}"),
    (Kind::DeadlineExceeded, "exceeded its stream time limit 2 s"),
    "stream-time-limit",
)
.streaming();

/// What Rust does in its own way.
const IN_RUST: [Attack; 3] = [
    attack(
        "memory bomb",
        ("Allocate", "null"),
        (Kind::Internal, "out of memory limit 64 MiB"),
        "memory-limit",
    ),
    attack(
        "deep recursion",
        ("Recurse", "null"),
        (Kind::Internal, "stack overflow"),
        "stack-overflow",
    ),
    attack(
        "a call that calls itself",
        ("CallItself", "null"),
        (
            Kind::ResourceExhausted,
            "8 plugins call one another, the limit is 8",
        ),
        "",
    )
    .refused(),
];

/// What JavaScript does in its own way: an engine that gets no more memory throws, and what is thrown is a failure.
const IN_JAVASCRIPT: [Attack; 3] = [
    attack(
        "memory bomb",
        ("Allocate", "null"),
        (Kind::Internal, "out of memory"),
        "",
    )
    .refused(),
    attack(
        "deep recursion",
        ("Recurse", "null"),
        (Kind::Internal, "stack overflow"),
        "stack-overflow",
    ),
    attack(
        "a call that calls itself",
        ("CallItself", "null"),
        (
            Kind::ResourceExhausted,
            "8 plugins call one another, the limit is 8",
        ),
        "",
    )
    .refused(),
];

/// What Python does in its own way: it counts how deep it is, and it throws when there is no memory.
const IN_PYTHON: [Attack; 3] = [
    attack(
        "memory bomb",
        ("Allocate", "null"),
        (Kind::Internal, "MemoryError"),
        "",
    )
    .refused(),
    attack(
        "deep recursion",
        ("Recurse", "null"),
        (Kind::Internal, "RecursionError"),
        "",
    )
    .refused(),
    attack(
        "a call that calls itself",
        ("CallItself", "null"),
        (
            Kind::ResourceExhausted,
            "8 plugins call one another, the limit is 8",
        ),
        "",
    )
    .refused(),
];

/// How the call of `attack` ends, also behind the messages of a stream.
async fn made(handler: &dyn Handler, plugin: &str, attack: &Attack) -> Result<Bytes, Error> {
    if !attack.streams {
        return call(handler, &format!("{plugin}/{}", attack.method), attack.body).await;
    }
    let mut request = Call::unary(plugin, attack.method, "");
    let message = Ok(Bytes::from_static(attack.body.as_bytes()));
    request.body = Body::Messages(BodyStream::new(stream::iter([message])));
    let reply = handler.call(request).await?;
    let Body::Messages(mut messages) = reply.body else {
        return Ok(Bytes::new());
    };
    while let Some(message) = messages.next().await {
        message?;
    }
    Ok(Bytes::new())
}

/// Traps of `plugin` by `reason`, as `/metrics` has them.
async fn traps(gateway: &Gateway, plugin: &str, reason: &str) -> u64 {
    let (_, text) = gateway.admin("/metrics").await.expect("numbers");
    let of_plugin = format!("postern_plugin_traps_total{{plugin=\"{plugin}\",");
    let of_reason = format!("reason=\"{reason}\"}} ");
    let lines = text.lines().filter(|line| line.starts_with(&*of_plugin));
    let mut values = lines.filter_map(|line| line.split_once(&*of_reason));
    let value = values.next().and_then(|(_, value)| value.parse().ok());
    value.expect("it is counted")
}

/// Makes each attack by `plugin`: it ends as it should, and the calls of a neighbour meanwhile all succeed.
async fn check(gateway: &Gateway, plugin: &str, attacks: impl Iterator<Item = &Attack>) {
    let (hostile, neighbour) = (
        connect(gateway, CallerTransport::Tcp).await,
        connect(gateway, CallerTransport::Tcp).await,
    );
    for attack in attacks {
        let name = format!("{} ({plugin})", attack.name);
        let before = match attack.reason {
            Some(reason) => traps(gateway, plugin, reason).await,
            None => 0,
        };
        let body = Bytes::from_static(b"1");
        let load = Load::start(&neighbour, "echo/Echo", &body, 2, Duration::from_millis(2));
        let made = made(&*hostile, plugin, attack).await;
        let outcome = load.stop().await;
        let error = made.expect_err(&name);
        assert_eq!(error.kind, attack.kind, "{name}: {error}");
        assert!(error.message.contains(attack.said), "{name}: {error}");
        if let Some(reason) = attack.reason {
            let counted = traps(gateway, plugin, reason).await;
            assert_eq!(counted, before + 1, "{name} counts as {reason}");
        }
        assert!(
            outcome.failures.is_empty(),
            "{name}: {:?}",
            outcome.failures
        );
        assert!(!outcome.answered.is_empty(), "{name}: nobody asked");
        figure(&format!("echo beside {name}: {}", outcome.answered));
        if !plugin.starts_with("tables") {
            call(&*hostile, &format!("{plugin}/Echo"), "1")
                .await
                .unwrap_or_else(|error| panic!("{plugin} serves on after {name}: {error}"));
        }
    }
}

/// A gateway with the hostile `plugin` and a neighbour.
async fn gateway(config: &str, plugin: &str) -> Gateway {
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let manifest = "[grants]\nservices = [\"misb*\"]\n";
    gateway.deploy(&format!("{plugin}.toml"), manifest.as_bytes());
    gateway.deploy(&format!("{plugin}.wasm"), &component(plugin));
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    let echo = format!("{plugin}/Echo");
    let is_served = async {
        while call(&*caller, &echo, "1").await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Native code of a component in Python takes most of a minute, which a start does not wait for.
    let served = tokio::time::timeout(Duration::from_secs(240), is_served).await;
    assert!(served.is_ok(), "{plugin} serves\n{}", gateway.log());
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_guest_in_rust_is_stopped_with_its_reason_and_a_neighbour_answers() {
    let _machine = share().await;
    let limited = gateway(LIMITS, "misbehave").await;
    check(&limited, "misbehave", ATTACKS.iter().chain(&IN_RUST)).await;
    let limited = gateway(STREAM_LIMITS, "misbehave").await;
    check(&limited, "misbehave", [DRIP].iter()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_guest_in_javascript_is_stopped_with_its_reason_and_a_neighbour_answers() {
    let _machine = share().await;
    let limited = gateway(LIMITS, "misbehave-js").await;
    let attacks = ATTACKS.iter().chain(&IN_JAVASCRIPT);
    check(&limited, "misbehave-js", attacks).await;
    let limited = gateway(STREAM_LIMITS, "misbehave-js").await;
    check(&limited, "misbehave-js", [DRIP].iter()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hostile_guest_in_python_is_stopped_with_its_reason_and_a_neighbour_answers() {
    let _machine = share().await;
    let limited = gateway(LIMITS, "misbehave-python").await;
    let attacks = ATTACKS.iter().chain(&IN_PYTHON);
    check(&limited, "misbehave-python", attacks).await;
    let limited = gateway(STREAM_LIMITS, "misbehave-python").await;
    check(&limited, "misbehave-python", [DRIP].iter()).await;
}

/// It computes nothing, so that only the clock stops it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_sleeps_meets_the_time_limit() {
    let _machine = share().await;
    let limited = gateway("[plugins.limits]\ntime = \"300ms\"\n", "misbehave").await;
    let asleep = attack(
        "sleep",
        ("Sleep", "{\"ms\":3600000}"),
        (Kind::DeadlineExceeded, "exceeded its time limit 300 ms"),
        "time-limit",
    );
    check(&limited, "misbehave", [asleep].iter()).await;
}

/// What neither Rust nor JavaScript can do: tables grow by an instruction that no compiler of theirs makes.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_bomb_is_stopped_with_its_reason_and_a_neighbour_answers() {
    let _machine = share().await;
    let text = include_str!("../../host/wasm/tests/plugin/guest/all.wat");
    let component = wat::parse_str(text).expect("the guest's text is right");
    let setup = Setup {
        config: LIMITS.to_owned(),
        ..Setup::default()
    };
    let setup = setup.file("tables.wasm", component);
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let bomb = attack(
        "table bomb",
        ("bomb", "null"),
        (Kind::Internal, "out of table limit 40000 elements"),
        "table-limit",
    );
    check(&gateway, "tables", [bomb].iter()).await;
}

/// The callers of one instance that an endless call holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_too_many_is_told_when_to_come_again() {
    let _machine = share().await;
    let limits = "[plugins.limits]\ntime = \"1m\"\n[plugins.instances]\nmax = 1\nqueue = 0\n";
    let setup = Setup {
        config: limits.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let looping = {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move { call(&*handler, "misbehave/Loop", "null").await })
    };
    let mut told = String::new();
    for _ in 0..1000 {
        let path = "/v1/services/misbehave/Echo";
        let answer = crate::annotations::over_http(&gateway, path, "1").await;
        told = String::from_utf8_lossy(&answer).into_owned();
        if told.starts_with("HTTP/1.1 429 ") {
            break;
        }
    }
    assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
    assert!(told.contains("\r\nretry-after: 1\r\n"), "{told}");
    let expected = "0 calls already wait for an instance of plugin misbehave";
    assert!(told.contains(expected), "{told}");
    looping.abort();
}
