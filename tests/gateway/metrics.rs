//! `/metrics` from outside: the families are those of host/docs/metrics.md, and what they count is
//! what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use postern_core::{BoxFuture, Call, Error, Handler, Headers, Kind, Reply};
use postern_net::{Counters, ServerConfig, Shutdown, TcpServer};
use postern_tests::{CallerTransport, Gateway, Setup, call, connect, free_address, patiently};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{figure, share};

/// What an exposition says.
#[derive(Debug, Default)]
struct Exposition {
    families: BTreeMap<String, Family>,
    samples: Vec<Sample>,
}

#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    help: String,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: String,
}

/// A row of the document's table. Of a label whose values are not free it has them.
#[derive(Debug)]
struct Row {
    family: Family,
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
}

impl Exposition {
    fn parse(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.lines().filter(|line| *line != "# EOF") {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, help] => {
                    let family = exposition.families.entry(name.to_owned()).or_default();
                    help.clone_into(&mut family.help);
                }
                ["#", "TYPE", name, kind] => {
                    let family = exposition.families.entry(name.to_owned()).or_default();
                    kind.clone_into(&mut family.kind);
                }
                _ => exposition.samples.push(Sample::parse(line)),
            }
        }
        exposition
    }

    /// The family that a sample is of: counters and histograms have suffixes.
    fn family(&self, sample: &Sample) -> &str {
        let names = ["_total", "_bucket", "_count", "_sum", ""]
            .into_iter()
            .filter_map(|end| {
                let name = sample.name.strip_suffix(end)?;
                let (name, _) = self.families.get_key_value(name)?;
                Some(name.as_str())
            });
        names
            .min_by_key(|name| name.len())
            .expect("its family is told before it")
    }

    /// The sum of the samples `name` that have these labels, and others beside.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels.all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        let found: Vec<_> = self.samples.iter().filter(has).collect();
        assert!(!found.is_empty(), "no {name} of {labels:?}");
        let values = found.iter().map(|sample| sample.value.parse::<u64>());
        values.map(|value| value.expect("a whole number")).sum()
    }
}

impl Sample {
    /// `name{label="value",...} value`. No value here has a quotation mark or a comma in it.
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("a brace");
        let label = |pair: &str| {
            let (name, value) = pair.split_once('=').expect("a label");
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        Self {
            name: name.to_owned(),
            labels: labels
                .split(',')
                .filter(|pair| !pair.is_empty())
                .map(label)
                .collect(),
            value: value.to_owned(),
        }
    }
}

/// Rows by family.
fn documented() -> BTreeMap<String, Row> {
    let document = include_str!("../../host/docs/metrics.md");
    let rows = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `postern_"));
    let row = |row: &str| {
        let cells: Vec<_> = row.trim_end_matches(" |").splitn(4, " | ").collect();
        let [name, kind, labels, help] = cells[..] else {
            panic!("not four cells: {row}");
        };
        // "`service`, `by` (component, native)": what follows a name up to the next is its values.
        let mut pieces = labels.split('`').skip(1);
        let mut labels = BTreeMap::new();
        while let (Some(name), Some(after)) = (pieces.next(), pieces.next()) {
            let values = after.trim().trim_end_matches(',').strip_prefix('(');
            let values = values.and_then(|values| values.strip_suffix(')'));
            let values = values.map(|values| values.split(", ").map(str::to_owned).collect());
            labels.insert(name.to_owned(), values);
        }
        let family = Family {
            kind: kind.to_owned(),
            help: help.to_owned(),
        };
        let name = format!("postern_{}", name.trim_end_matches('`'));
        (name, Row { family, labels })
    };
    rows.map(row).collect()
}

async fn scrape(gateway: &Gateway) -> Exposition {
    let (status, text) = gateway
        .admin("/metrics")
        .await
        .expect("the admin listener answers");
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    Exposition::parse(&text)
}

/// Answers with what it is sent.
struct Mirror;

impl Handler for Mirror {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let headers = Headers::new();
        Box::pin(async move { Ok(Reply::new(headers, call.body)) })
    }
}

async fn mirror() -> SocketAddr {
    let (config, counters) = (
        Arc::new(ServerConfig::default()),
        Arc::new(Counters::default()),
    );
    let address = ([127, 0, 0, 1], 0).into();
    let server = TcpServer::bind(address, config, Arc::new(Mirror), counters).await;
    let server = server.expect("a free port");
    let address = server.local_addr();
    tokio::spawn(server.serve(Shutdown::new()));
    address
}

/// A gateway with something of everything. `mirror` has two instances, of which one is dead; `echo`
/// has one beside the plugin, since a lone plugin needs no pick.
async fn gateway() -> Gateway {
    let (live, dead, peer) = (mirror().await, free_address(), free_address());
    let (dead, peer) = (dead.expect("a port"), peer.expect("a port"));
    let config = format!(
        "[directory]\nregistration = \"open\"\nprobe-interval = \"1h\"\nfailure-threshold = 1000\n\
         [peers.away]\naddress = \"tcp://{peer}\"\n\
         [instances.live]\nservice = \"mirror\"\naddresses = [\"tcp://{live}\"]\n\
         [instances.dead]\nservice = \"mirror\"\naddresses = [\"tcp://{dead}\"]\n\
         [instances.more]\nservice = \"echo\"\naddresses = [\"tcp://{live}\"]\n\
         [services.mirror]\nidempotent = [\"*\"]\nbreaker.failure-threshold = 2\n\
         outlier.consecutive-errors = 2\n\
         [services.echo]\nbalancer = \"plugin:cost-balancer\"\n\
         [limits.few]\nby = \"service\"\nrate = 1\nper = \"1h\"\nburst = 2\n\
         calls = [\"echo/Limited\"]\n\
         [extensions.audit-log]\ncalls = [\"echo/*\"]\n[events]\nqueue-messages-max = 1\n"
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.plugin("echo").plugin("cost-balancer");
    Gateway::start(setup.plugin("audit-log")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn families_are_those_of_the_document_with_its_types_and_labels() {
    let _machine = share().await;
    let gateway = gateway().await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    for target in ["echo/Echo", "mirror/Get", "nobody/Get"] {
        // What comes of it does not matter: it is counted.
        let _ = call(&*caller, target, "x").await;
    }
    let exposition = scrape(&gateway).await;
    let documented = documented();
    let names: BTreeSet<_> = exposition.families.keys().collect();
    assert_eq!(names, documented.keys().collect());
    for (name, family) in &exposition.families {
        assert_eq!(*family, documented[name].family, "{name}");
    }
    let mut seen = BTreeSet::new();
    for sample in &exposition.samples {
        let name = exposition.family(sample);
        let row = &documented[name];
        assert!(sample.value.parse::<f64>().is_ok(), "{sample:?}");
        seen.insert(name);
        let labels: BTreeSet<_> = sample
            .labels
            .keys()
            .filter(|label| *label != "le")
            .collect();
        assert_eq!(labels, row.labels.keys().collect(), "{sample:?}");
        for (label, values) in &row.labels {
            let value = &sample.labels[label];
            let is_known = values.as_ref().is_none_or(|values| values.contains(value));
            assert!(is_known, "{label} of {sample:?} is not documented");
        }
    }
    figure(&format!(
        "{} families of metrics, {} of them with samples, {} samples",
        names.len(),
        seen.len(),
        exposition.samples.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_breakers_and_ejections_are_counted() {
    let _machine = share().await;
    let gateway = gateway().await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    for _ in 0..8 {
        call(&*caller, "mirror/Get", "x").await.expect("answered");
    }
    let seen = scrape(&gateway).await;
    let of_service = |family: &str, label: &str, value: &str| {
        let name = format!("postern_service_{family}_total");
        seen.sum(&name, &[("service", "mirror"), (label, value)])
    };
    assert_eq!(of_service("tries", "try", "first"), 8);
    assert_eq!(of_service("tries", "try", "retry"), 2);
    assert_eq!(of_service("picks", "by", "native"), 10);
    let of_instance = |family: &str, instance: &str, labels: &[(&str, &str)]| {
        let labels = [&[("service", "mirror"), ("instance", instance)], labels].concat();
        seen.sum(&format!("postern_instance_{family}"), &labels)
    };
    assert_eq!(
        of_instance("tries_total", "live", &[("outcome", "success")]),
        8
    );
    assert_eq!(
        of_instance("tries_total", "dead", &[("outcome", "failure")]),
        2
    );
    assert_eq!(
        of_instance("breaker_changes_total", "dead", &[("to", "open")]),
        1
    );
    let cause = [("cause", "consecutive-errors")];
    assert_eq!(of_instance("ejections_total", "dead", &cause), 1);
    for level in ["breaker_open", "ejected"] {
        assert_eq!(of_instance(level, "dead", &[]), 1, "{level}");
        assert_eq!(of_instance(level, "live", &[]), 0, "{level}");
    }
    assert_eq!(seen.sum("postern_pool_sessions", &[("state", "idle")]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_extensions_and_components_are_counted() {
    let _machine = share().await;
    let gateway = gateway().await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    for n in 0..5 {
        let answered = call(&*caller, "echo/Limited", "x").await;
        let kind = answered.err().map(|error| error.kind);
        assert_eq!(kind, (n >= 2).then_some(Kind::ResourceExhausted));
    }
    let seen = scrape(&gateway).await;
    let calls = |outcome| {
        let labels = [
            ("service", "echo"),
            ("transport", "tcp"),
            ("outcome", outcome),
        ];
        seen.sum("postern_calls_total", &labels)
    };
    assert_eq!((calls("success"), calls("resource-exhausted")), (2, 3));
    let picks = [("service", "echo"), ("by", "component")];
    assert_eq!(seen.sum("postern_service_picks_total", &picks), 2);
    let entries = [
        ("plugin", "cost-balancer"),
        ("role", "balancer"),
        ("outcome", "answered"),
    ];
    assert!(seen.sum("postern_plugin_entries_total", &entries) >= 2);
    let audited = [("plugin", "audit-log"), ("outcome", "seen")];
    assert!(seen.sum("postern_extension_outcomes_total", &audited) >= 2);
    assert_eq!(
        seen.sum("postern_extension_live", &[("plugin", "audit-log")]),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_leases_are_counted() {
    let _machine = share().await;
    let gateway = gateway().await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    let entry = json!({"instance": "p", "service": "quotes", "addresses": ["tcp://127.0.0.1:9"]});
    let held = json!({"instance": "p", "incarnation": 0});
    let before = scrape(&gateway).await;
    for (method, body) in [("register", &entry), ("heartbeat", &held)] {
        let answered = call(&*caller, &format!("directory/{method}"), body.to_string()).await;
        answered.unwrap_or_else(|error| panic!("{method}: {error}"));
    }
    let seen = scrape(&gateway).await;
    let entries = |owner| seen.sum("postern_directory_entries", &[("owner", owner)]);
    let owners = ["plugin", "configuration", "provider", "peer"];
    assert_eq!(owners.map(entries), [1, 3, 1, 0]);
    let level = |what| seen.sum("postern_directory_levels", &[("what", what)]);
    let levels = ["leases", "drained", "peers", "peers-connected"];
    assert_eq!(levels.map(level), [1, 0, 1, 0]);
    let changes =
        |at: &Exposition, change| at.sum("postern_directory_changes_total", &[("change", change)]);
    let named = ["added", "renewed", "removed", "expired"];
    // What this gateway's plugins answer for is added and renewed, too.
    let gained = named.map(|change| changes(&seen, change) - changes(&before, change));
    assert_eq!(gained, [1, 1, 0, 0]);
    let gone = call(&*caller, "directory/unregister", held.to_string()).await;
    gone.expect("it is held");
    let seen = scrape(&gateway).await;
    assert_eq!(
        seen.sum("postern_directory_entries", &[("owner", "provider")]),
        0
    );
    assert_eq!(
        seen.sum("postern_directory_changes_total", &[("change", "removed")]),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_delivered_dropped_and_unheard_are_counted() {
    const N_EVENTS: u64 = 40;
    let _machine = share().await;
    let gateway = gateway().await;
    // Subscribes and does not read. What the system buffers is far less than what is published.
    let mut deaf = TcpStream::connect(gateway.http)
        .await
        .expect("the listener is open");
    let topics = json!({"topics": ["quotes.*"]}).to_string();
    let head = format!(
        "POST /v1/services/events/subscribe HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}",
        topics.len()
    );
    let request = format!("{head}\r\ncontent-type: application/json\r\n\r\n{topics}");
    deaf.write_all(request.as_bytes())
        .await
        .expect("it is taken");
    patiently("somebody has subscribed", async || {
        scrape(&gateway)
            .await
            .sum("postern_event_subscriptions", &[])
            == 1
    })
    .await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    let publish = async |topic: &str, payload: Vec<u8>| {
        let mut event = Call::unary("events", "publish", payload);
        event.headers.push("event-type", topic).expect("it fits");
        caller.call(event).await.expect("published")
    };
    for _ in 0..N_EVENTS {
        publish("quotes.usd", vec![b'x'; 900_000]).await;
    }
    publish("nobody.listens", vec![b'x']).await;
    let seen = scrape(&gateway).await;
    let events = |outcome| seen.sum("postern_events_total", &[("outcome", outcome)]);
    figure(&format!(
        "{N_EVENTS} events to a subscriber that does not read: {} delivered, {} dropped",
        events("delivered"),
        events("dropped")
    ));
    assert_eq!((events("published"), events("unheard")), (N_EVENTS + 1, 1));
    assert!(events("dropped") > 0);
    // One is in the queue.
    let settled = events("delivered") + events("dropped");
    assert!((N_EVENTS - 1..=N_EVENTS).contains(&settled), "{settled}");
}
