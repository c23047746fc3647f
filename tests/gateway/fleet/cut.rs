//! Three gateways, each a host of its own. Between `a` and `b` packets get lost, silently; `c` hears
//! both all the time. What each side may lose meanwhile, and when, is host/docs/directory.md, "Peers".

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use postern_core::{BoxFuture, Call, Error, Handler, Reply};
use postern_net::{Counters, ServerConfig, Shutdown, TcpServer};
use postern_tests::{CallerTransport, Gateway, Host, Network, Setup, call, connect, patiently};
use serde_json::json;

use super::instances;
use crate::{figure, own};

const PEER_WAIT: Duration = Duration::from_millis(500);
/// What `directory.md` adds to `peer-wait`.
const ANSWER: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(3);
const LEASE: Duration = Duration::from_secs(2);
/// For a machine that does other things as well.
const SLACK: Duration = Duration::from_millis(1_500);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// The longest that Linux waits before it sends another SYN, within the 5 s that connecting may take.
const SYN: Duration = Duration::from_secs(2);
const N_CALLS: u64 = 30;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// An instance as operators see it: name, then health and whether it is stale.
type Listing = BTreeMap<String, String>;

/// Calls through one gateway: who answered how many, and what failed.
#[derive(Debug)]
struct Served {
    by: BTreeMap<String, u64>,
    failed: Vec<String>,
}

/// What calls itself `p` and answers for `quotes`.
struct Provider;

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_two_of_three_loses_what_the_grace_allows_and_heals() {
    let _machine = own().await;
    let test = "fleet::cut::a_cut_between_two_of_three_loses_what_the_grace_allows_and_heals";
    let Some(network) = Network::enter(test, &NAMES) else {
        return;
    };
    let hosts = network.hosts();
    let gateways = join_all(hosts.iter().map(|host| start(host, hosts))).await;
    let all = [0, 1, 2].map(|place| &gateways[place]);
    let heartbeats = tokio::spawn(provide(all[1].vstp, hosts[1].test()));
    let whole = ["a/users", "b/users", "c/users", "p"];
    equal(&all, &whole).await;
    served("before", &all, [&whole[..3]; 3]).await;

    // Shorter than the lease, which is shorter than the grace.
    let begin = Instant::now();
    network.cut(&hosts[0], &hosts[1]);
    let (lost, ()) = tokio::join!(
        observe(&all, &whole, || begin.elapsed()
            > Duration::from_millis(1_500)),
        served_at_once("in a short cut", &all),
    );
    network.heal(&hosts[0], &hosts[1]);
    figure(&format!("a cut of {:.1?}: lost {lost:?}", begin.elapsed()));
    assert!(lost.is_empty(), "{lost:?}");
    equal(&all, &whole).await;

    long_cut(&network, &all, &whole).await;

    network.heal(&hosts[0], &hosts[1]);
    let (known, up) = equal(&all, &whole).await;
    figure(&format!(
        "healed: all know the same after {known:.1?}, and that it is up after {up:.1?}"
    ));
    assert!(known < RETRY_MAX + SYN + SLACK, "{known:?}");
    served("after healing", &all, [&whole[..3]; 3]).await;

    heartbeats.abort();
    let silent = Instant::now();
    let lost = observe(&all, &whole, || silent.elapsed() > LEASE + SLACK).await;
    figure(&format!("no heartbeat: lease of {LEASE:?}, gone {lost}"));
    assert_eq!(lost.0.len(), 3, "{lost:?}");
    assert!(lost.0.keys().all(|(_, instance)| instance == "p"));
    // A quarter of the lease may have passed since the last heartbeat.
    let in_time = LEASE * 3 / 4..LEASE + SLACK;
    assert!(
        lost.0.values().all(|after| in_time.contains(after)),
        "{lost:?}"
    );
}

/// A cut for longer than loss, lease and grace together: what goes, and when, and who serves.
async fn long_cut(network: &Network, all: &[&Gateway; 3], whole: &[&str]) {
    let hosts = network.hosts();
    let begin = Instant::now();
    network.cut(&hosts[0], &hosts[1]);
    let noticed = PEER_WAIT + ANSWER;
    let end = noticed + GRACE + SLACK;
    let (lost, ()) = tokio::join!(
        observe(all, whole, || begin.elapsed() > end),
        served_at_once("early in a long cut", all),
    );
    figure(&format!("a long cut: gone {lost}"));
    let expected = [
        (("a", "b/users"), GRACE),
        (("a", "p"), LEASE),
        (("b", "a/users"), GRACE),
    ];
    let names: BTreeSet<_> = lost.0.keys().map(|(at, of)| (&**at, &**of)).collect();
    assert_eq!(names, expected.iter().map(|(key, _)| *key).collect());
    for ((at, instance), kept) in expected {
        let gone = lost.0[&(at.to_owned(), instance.to_owned())];
        let bound = noticed + kept + SLACK;
        assert!(
            gone >= kept && gone <= bound,
            "{instance} gone from {at} after {gone:?}, not between {kept:?} and {bound:?}"
        );
    }
    let sides: [&[&str]; 3] = [
        &["a/users", "c/users"],
        &["b/users", "c/users"],
        &["a/users", "b/users", "c/users"],
    ];
    served("late in a long cut", all, sides).await;
    let quotes = join_all(all.map(quote)).await;
    let found: Vec<_> = quotes.iter().map(Result::is_ok).collect();
    figure(&format!(
        "late in a long cut: p answers through a, b, c: {found:?}"
    ));
    assert_eq!(found, [false, true, true], "{quotes:?}");
}

/// The gateway of `host`, which has all others for peers.
async fn start(host: &Host, hosts: &[Host]) -> Gateway {
    let (name, address) = (host.name(), host.address());
    // What fails is tried again at once, or what is measured is a breaker.
    let mut config = format!(
        "[directory]\nname = \"{name}\"\nadvertise = [\"tcp://{address}:9191\"]\n\
         registration = \"open\"\nprobe-interval = \"500ms\"\nprobe-down-interval = \"200ms\"\n\
         probe-timeout = \"200ms\"\nhold = \"0s\"\npeer-wait = \"{PEER_WAIT:?}\"\n\
         peer-retry-max = \"{RETRY_MAX:?}\"\npeer-grace = \"{GRACE:?}\"\npeer-sync = \"1s\"\n\
         [services.default]\nidempotent = [\"*\"]\nper-try-timeout = \"300ms\"\n\
         breaker.timeout = \"500ms\"\noutlier.base-ejection-time = \"500ms\"\n\
         [listeners.fleet]\nprotocol = \"vstp\"\naddress = \"{address}:9191\"\n\
         transports = [\"tcp\"]\ninsecure = true\n"
    );
    for peer in hosts.iter().filter(|peer| *peer != host) {
        let (name, address) = (peer.name(), peer.address());
        config += &format!("[peers.{name}]\naddress = \"tcp://{address}:9191\"\n");
    }
    let setup = Setup {
        config,
        host: Some(host.clone()),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("users")).await
}

/// Answers, registers itself at a gateway and sends heartbeats; never ends by itself.
async fn provide(gateway: std::net::SocketAddr, own: std::net::IpAddr) {
    let config = Arc::new(ServerConfig::default());
    let server = TcpServer::bind(
        (own, 0).into(),
        config,
        Arc::new(Provider),
        Arc::new(Counters::default()),
    );
    let server = server.await.expect("a free port");
    let address = format!("tcp://{}", server.local_addr());
    let _serving = tokio::spawn(server.serve(Shutdown::new()));
    let target = postern_net::Target::tcp(gateway);
    let client = postern_net::Client::connect(target, postern_net::ClientConfig::default()).await;
    let client = client.expect("the gateway takes connections");
    let entry = json!({
        "instance": "p", "service": "quotes", "addresses": [address],
        "ttl-ms": LEASE.as_millis(), "incarnation": 1,
    });
    let registered = call(&client, "directory/register", entry.to_string()).await;
    registered.expect("registration is open");
    loop {
        tokio::time::sleep(LEASE / 4).await;
        let held = json!({"instance": "p", "incarnation": 1}).to_string();
        let renewed = call(&client, "directory/heartbeat", held).await;
        renewed.expect("the lease goes on");
    }
}

async fn quote(gateway: &Gateway) -> Result<bytes::Bytes, Error> {
    call(
        &*connect(gateway, CallerTransport::Tcp).await,
        "quotes/Get",
        "x",
    )
    .await
}

/// Calls through one gateway after the other. `expected` are the instances that share in those
/// through the first, second, third gateway; nobody else may answer.
async fn served(when: &str, gateways: &[&Gateway; 3], expected: [&[&str]; 3]) {
    for ((name, gateway), expected) in NAMES.iter().zip(gateways).zip(expected) {
        let served = serve(name, gateway).await;
        show(when, name, &served);
        let names: Vec<_> = served.by.keys().collect();
        assert_eq!(names, expected, "{when}: {served:?}");
        let share = N_CALLS / expected.len() as u64;
        let is_even = |n_calls: &u64| n_calls.abs_diff(share) <= 3;
        assert!(served.by.values().all(is_even), "{when}: {served:?}");
    }
}

/// Calls through all gateways at once.
async fn served_at_once(when: &str, gateways: &[&Gateway; 3]) {
    let rounds = NAMES.iter().zip(gateways);
    let rounds = join_all(rounds.map(|(name, gateway)| serve(name, gateway))).await;
    for (name, served) in NAMES.iter().zip(rounds) {
        show(when, name, &served);
    }
}

fn show(when: &str, gateway: &str, served: &Served) {
    let n_failed = served.failed.len();
    figure(&format!(
        "{when}: {N_CALLS} calls through {gateway}, answered by {:?}, {n_failed} failed",
        served.by
    ));
    assert!(served.failed.is_empty(), "{when}: {served:?}");
}

async fn serve(name: &str, gateway: &Gateway) -> Served {
    let before = instances(gateway).await;
    let caller = connect(gateway, CallerTransport::Tcp).await;
    let mut failed = Vec::new();
    for _ in 0..N_CALLS {
        if let Err(error) = call(&*caller, "users/ListUsers", "{}").await {
            failed.push(error.to_string());
        }
    }
    let mut by = instances(gateway).await;
    // What is here answers those that others passed on as well.
    by.remove(&format!("{name}/users"));
    for (name, n_calls) in &mut by {
        // One that went and came back counts from zero.
        let before = before.get(name).copied().unwrap_or_default();
        *n_calls = n_calls.checked_sub(before).unwrap_or(*n_calls);
    }
    let elsewhere = by.values().sum::<u64>() + failed.len() as u64;
    by.insert(format!("{name}/users"), N_CALLS - elsewhere);
    by.retain(|_, n_calls| *n_calls > 0);
    Served { by, failed }
}

/// What the directory of a gateway has, but for the other service of `users`, which comes and goes with it.
async fn listing(gateway: &Gateway) -> Listing {
    let directory = gateway.admin_json("/directory").await;
    let services = directory["services"].as_array().cloned();
    let services = services.into_iter().flatten();
    let services = services.filter(|service| service["service"] != "user.UserService");
    let instances = services.flat_map(|service| {
        let instances = service["instances"].as_array().cloned();
        instances.unwrap_or_default()
    });
    let state = |instance: serde_json::Value| {
        let name = instance["instance"].as_str().expect("a name").to_owned();
        let stale = if instance["stale"] == true {
            " stale"
        } else {
            ""
        };
        (
            name,
            format!("{}{stale}", instance["health"].as_str().unwrap_or("?")),
        )
    };
    instances.map(state).collect()
}

/// Waits until every gateway knows of `whole` and nothing else, none of it stale, and until all of it
/// is up everywhere: after which times.
async fn equal(gateways: &[&Gateway; 3], whole: &[&str]) -> (Duration, Duration) {
    let begin = Instant::now();
    let mut known = None;
    patiently("all directories are equal", async || {
        let pictures = join_all(gateways.map(listing)).await;
        let has_whole = |listing: &Listing| listing.keys().eq(whole);
        let are = |state: fn(&str) -> bool| {
            let states = pictures.iter().flat_map(|listing| listing.values());
            pictures.iter().all(has_whole) && states.map(String::as_str).all(state)
        };
        if are(|state| !state.ends_with("stale")) {
            known.get_or_insert_with(|| begin.elapsed());
        }
        are(|state| state == "up")
    })
    .await;
    (known.expect("what is up is known"), begin.elapsed())
}

/// When, from the beginning, an instance was first missing at a gateway: by gateway and instance.
#[derive(Debug)]
struct Lost(BTreeMap<(String, String), Duration>);

impl Lost {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((gateway, instance), after) in &self.0 {
            write!(f, "[{instance} from {gateway} after {after:.1?}] ")?;
        }
        Ok(())
    }
}

/// Looks at every directory until `is_over`.
async fn observe(gateways: &[&Gateway; 3], whole: &[&str], is_over: impl Fn() -> bool) -> Lost {
    let begin = Instant::now();
    let mut lost = BTreeMap::new();
    while !is_over() {
        for (at, gateway) in NAMES.iter().zip(gateways) {
            let listing = listing(gateway).await;
            for instance in whole.iter().filter(|name| !listing.contains_key(**name)) {
                let key = ((*at).to_owned(), (*instance).to_owned());
                lost.entry(key).or_insert_with(|| begin.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Lost(lost)
}

impl Handler for Provider {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async move { Ok(Reply::new(postern_core::Headers::new(), call.body)) })
    }
}
