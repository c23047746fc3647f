//! Two gateways over TCP sessions on loopback: what is said at one is known at the other, through
//! cuts and restarts.

use std::net::SocketAddr;

use postern_core::{BoxFuture, Call, Handler, Principal, Reply};
use postern_net::{Counters, ServerConfig, TcpServer};
use postern_system::clock;
use tokio::task::JoinHandle;

use super::*;

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service behind an authenticator that knows one token.
struct AuthenticatedService(service::Service);

impl Handler for AuthenticatedService {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        if call.headers.get_str("authorization").as_deref() == Some("Bearer secret") {
            call.context.principal = Some(Arc::new(Principal {
                name: "east".into(),
                roles: vec!["fleet".into()],
                claims: Vec::new(),
            }));
        }
        self.0.call(call)
    }
}

/// A gateway that is followed: a directory behind a server that can be cut.
struct West {
    directory: Arc<SharedDirectory>,
    address: SocketAddr,
    server: Option<(Shutdown, JoinHandle<()>)>,
}

impl West {
    async fn open(address: &str) -> Self {
        let directory = directory(|config| {
            config.directory.name = Some("west".to_owned());
            config.directory.peer_role = "fleet".to_owned();
        });
        let address = address.parse().expect("an address");
        let mut west = Self {
            directory,
            address,
            server: None,
        };
        west.heal().await;
        let announced = format!("tcp://0.0.0.0:{}", west.address.port());
        west.directory
            .set_addresses(vec![super::address(&announced)]);
        west
    }

    async fn heal(&mut self) {
        let service = AuthenticatedService(service::Service::new(Arc::clone(&self.directory)));
        let config = Arc::new(ServerConfig {
            drain_timeout: Duration::ZERO,
            ..ServerConfig::default()
        });
        let server = TcpServer::bind(
            self.address,
            config,
            Arc::new(service),
            Arc::<Counters>::default(),
        );
        let server = server.await.expect("the port is free");
        self.address = server.local_addr();
        let shutdown = Shutdown::new();
        let task = tokio::spawn(server.serve(shutdown.clone()));
        self.server = Some((shutdown, task));
    }

    async fn cut(&mut self) {
        let (shutdown, task) = self.server.take().expect("it is open");
        shutdown.end();
        task.await.expect("it ends");
    }

    fn put(&self, plugin: &str) {
        self.directory
            .set_local(plugin, vec![LocalService::new("s")]);
    }
}

/// A gateway that follows one.
fn east(
    west: SocketAddr,
    token: Option<&str>,
    change: impl FnOnce(&mut Config),
) -> Arc<SharedDirectory> {
    let token = token
        .map(|token| format!("token = \"{token}\""))
        .unwrap_or_default();
    let text = format!(
        "[directory]\npeer-wait = \"500ms\"\npeer-retry-max = \"250ms\"\n\
         [peers.west]\naddress = \"tcp://{west}\"\n{token}\n"
    );
    let parsed = crate::config::parse("east", &text, &BTreeMap::new());
    let (mut config, _) = parsed.unwrap_or_else(|faults| panic!("{}", faults.draw(false)));
    change(&mut config);
    let directory = SharedDirectory::new(&config).expect("good settings");
    tokio::spawn(Arc::clone(&directory).run(Shutdown::new()));
    directory
}

/// What a gateway finds, without owner and lease.
fn found(directory: &SharedDirectory) -> Vec<(String, bool)> {
    let query = Query::service("s", Caller::Trusted);
    let found = directory.discover(&query).into_iter();
    found
        .map(|instance| (instance.record.entry.instance.to_string(), instance.stale))
        .collect()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = clock::now();
    while !is_so() {
        assert!(clock::since(started) < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn fresh(names: &[&str]) -> Vec<(String, bool)> {
    names
        .iter()
        .map(|name| ((*name).to_owned(), false))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_has_another_learns_keeps_through_a_cut_and_is_equal_after() {
    let mut west = West::open("127.0.0.1:0").await;
    west.put("a");
    let east = east(west.address, None, |_| ());
    eventually("a", || found(&east) == fresh(&["west/a/s"])).await;
    west.put("b");
    eventually("b", || found(&east) == fresh(&["west/a/s", "west/b/s"])).await;
    let learned = east.discover(&Query::service("s", Caller::Trusted));
    let reached = learned[0].record.entry.addresses[0].to_string();
    assert_eq!(reached, format!("tcp://{}", west.address));

    west.cut().await;
    eventually("the loss", || east.numbers().peers_connected == 0).await;
    west.directory.remove_local("a");
    west.put("c");
    assert_eq!(
        found(&east).len(),
        2,
        "no live provider is lost within the grace"
    );
    assert!(found(&east).iter().all(|(_, stale)| *stale));
    assert!(east.view().peers[0].error.is_some());

    west.heal().await;
    eventually("c", || found(&east) == fresh(&["west/b/s", "west/c/s"])).await;
    assert_eq!(east.numbers().peers_connected, 1);
    assert_eq!(east.view().peers[0].error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_has_at_a_path_is_called_through_it_and_what_cannot_be_dialled_is_kept() {
    let west = West::open("127.0.0.1:0").await;
    let mut config = Config::default();
    config.directory.name = Some("west".to_owned());
    for (name, address) in [("a", "unix:///run/a.sock"), ("b", "ws://10.0.0.1:1")] {
        let instance = InstanceSettings {
            service: Some("s".to_owned()),
            addresses: vec![super::address(address)],
            ..Default::default()
        };
        config.instances.insert(name.to_owned(), instance);
    }
    let _ = west.directory.apply(&config);
    let east = east(west.address, None, |_| ());
    eventually("both", || found(&east) == fresh(&["a", "b"])).await;
    let learned = east.discover(&Query::service("s", Caller::Trusted));
    let reached = learned
        .iter()
        .map(|one| one.record.entry.addresses[0].to_string());
    let through = format!("tcp://{}", west.address);
    assert_eq!(reached.collect::<Vec<_>>(), [&*through, "ws://10.0.0.1:1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_has_another_epoch_and_is_read_anew() {
    let mut west = West::open("127.0.0.1:0").await;
    for plugin in ["a", "b", "c"] {
        west.put(plugin);
    }
    let east = east(west.address, None, |_| ());
    eventually("all", || found(&east).len() == 3).await;
    west.cut().await;
    let mut west = West::open(&west.address.to_string()).await;
    west.put("d");
    eventually("d", || found(&east) == fresh(&["west/d/s"])).await;
    west.cut().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_does_not_say_in_its_grace_goes() {
    let mut west = West::open("127.0.0.1:0").await;
    west.put("a");
    let east = east(west.address, None, |config| {
        config.directory.peer_grace = Duration::from_secs(1);
    });
    eventually("a", || found(&east).len() == 1).await;
    west.cut().await;
    eventually("the end of the grace", || found(&east).is_empty()).await;
    west.heal().await;
    eventually("a again", || found(&east) == fresh(&["west/a/s"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_entries_are_told_to_gateways_that_have_the_role_only() {
    let west = West::open("127.0.0.1:0").await;
    let mut draft = Draft::new("closed", "s");
    draft.addresses = vec![address("tcp://10.0.0.1:9")];
    draft.permissions = ["trade".into()].into();
    draft.vnets = ["trading".into()].into();
    let entry = Entry::new(&draft).expect("an entry");
    let owner = Owner::Registered("ann".into());
    let taken = west.directory.change(|state, now| {
        state
            .machine
            .register(now, &owner, entry, Some(Ttl::default()))
    });
    taken.expect("taken");
    west.put("open");
    let stranger = east(west.address, None, |_| ());
    let friend = east(west.address, Some("secret"), |_| ());
    let elsewhere = east(west.address, Some("secret"), |config| {
        let peer = config.peers.get_mut("west").expect("a peer");
        peer.vnets = vec!["trading".to_owned()];
    });
    let off = east(west.address, Some("secret"), |config| {
        let peer = config.peers.get_mut("west").expect("a peer");
        peer.enabled = false;
    });
    eventually("both", || {
        found(&friend) == fresh(&["closed", "west/open/s"])
    })
    .await;
    eventually("the open one", || {
        found(&stranger) == fresh(&["west/open/s"])
    })
    .await;
    eventually("the one of the network", || {
        found(&elsewhere) == fresh(&["closed"])
    })
    .await;
    assert_eq!(
        found(&off),
        fresh(&[]),
        "a peer that is off is not followed"
    );
    // What was learned is not told on.
    let told = friend.state.lock().machine.exportable();
    assert_eq!(told.records.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_here_holds_for_what_a_peer_tells() {
    let mut west = West::open("127.0.0.1:0").await;
    west.put("a");
    let east = east(west.address, None, |_| ());
    eventually("a", || found(&east).len() == 1).await;
    assert_eq!(east.drain("west/a/s").expect("it is there"), 1);
    assert_eq!(weights(&east, "s"), [("west/a/s".to_owned(), 0)]);
    west.cut().await;
    west.heal().await;
    west.put("b");
    eventually("b", || found(&east).len() == 2).await;
    let expected = [("west/a/s".to_owned(), 0), ("west/b/s".to_owned(), 100)];
    assert_eq!(weights(&east, "s"), expected);
    assert_eq!(
        weights(&west.directory, "s")
            .iter()
            .filter(|(_, w)| *w == 0)
            .count(),
        0
    );
    east.undrain("west/a/s").expect("it was drained");
    assert_eq!(weights(&east, "s")[0].1, 100);
}
