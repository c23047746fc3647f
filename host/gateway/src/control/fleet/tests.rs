//! Routes that follow the directory service by service, and what that costs.

use std::{collections::HashMap, time::Duration};

use postern_core::{
    Call, Kind,
    registry::{Address, InstanceId},
};
use postern_net::{ClientConfig, http::ValueDetails};
use postern_system::{clock, shard::Sharded};

use super::{
    super::{upstream_schemas::UpstreamSchemas, velithon_remote::VelithonUpstreams},
    *,
};
use crate::{
    config::InstanceSettings,
    pipeline::route::{RouteRefused, RouteTarget, Routes},
};

fn requests() -> Requests {
    let details = Arc::new(ValueDetails);
    Requests {
        http: Arc::default(),
        grpc: Arc::new(GrpcUpstreams::new(
            Arc::default(),
            details,
            UpstreamSchemas::default(),
            Arc::default(),
        )),
        velithon: Arc::new(VelithonUpstreams::new(Arc::default())),
    }
}

struct Fixture {
    config: Config,
    fleet: Fleet,
    routes: Routes,
    book: CallBook,
}

impl Fixture {
    /// A directory of `n_services`, each with an instance elsewhere, and their routes.
    fn new(n_services: usize) -> Self {
        let mut config = Config::default();
        config.directory.entries_max = 200_000;
        config.directory.entries_per_owner_max = 100_000;
        for n in 0..n_services {
            let instance = instance(&format!("s{n}"), 1);
            config.instances.insert(format!("i{n}"), instance);
        }
        let directory = SharedDirectory::new(&config).expect("good settings");
        let pool = Pool::new(config.pool.to_config(), ClientConfig::default());
        let fleet = Fleet::new(
            &config,
            directory,
            (pool.expect("good settings"), requests()),
            (Vec::new(), Arc::default()),
        );
        let fixture = Self {
            config,
            fleet,
            routes: Routes::default(),
            book: CallBook::default(),
        };
        fixture.routes.set_complete();
        fixture.publish();
        fixture
    }

    fn publish(&self) {
        let routes = self.fleet.routes(&BTreeMap::new(), &self.book);
        self.routes.publish(routes);
    }

    /// As the control does it; the services that it touched.
    fn publish_changes(&self) -> Vec<String> {
        let changed = self.fleet.changed_routes(&BTreeMap::new(), &self.book);
        let names = changed.iter().map(|(name, _)| name.to_string()).collect();
        for (name, route) in changed {
            match route {
                Some(route) => self.routes.put(&route),
                None => self.routes.remove(&name),
            }
        }
        names
    }

    fn apply(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.fleet.directory.apply(&self.config);
    }

    /// Whether a call of the service has somewhere to go, and how many instances there are.
    fn found(&self, service: &str) -> Result<usize, Kind> {
        let route = self.routes.find(&Call::unary(service.to_owned(), "m", ""));
        let route = route.map_err(|RouteRefused { error, .. }| error.kind)?;
        let RouteTarget::Cluster(cluster) = &route.target else {
            panic!("one that is elsewhere is called through its cluster");
        };
        Ok(cluster.numbers().instances.len())
    }
}

fn instance(service: &str, port: u16) -> InstanceSettings {
    let address = format!("tcp://10.0.0.1:{port}");
    InstanceSettings {
        service: Some(service.to_owned()),
        addresses: vec![Address::parse(&address).expect("an address")],
        ..InstanceSettings::default()
    }
}

#[tokio::test]
async fn routes_follow_the_services_that_changed_and_touch_no_other() {
    let mut fixture = Fixture::new(20);
    assert_eq!(fixture.publish_changes(), Vec::<String>::new());
    let kept = fixture.routes.all();
    fixture.apply(|config| {
        config
            .instances
            .insert("more".to_owned(), instance("s1", 2));
        config.instances.remove("i2");
        config
            .instances
            .insert("new".to_owned(), instance("new", 3));
        // Another service in the place of its own.
        config.instances.insert("i4".to_owned(), instance("s5", 4));
    });
    let touched = ["new", "s1", "s2", "s4", "s5"];
    assert_eq!(fixture.publish_changes(), touched);
    for (service, expected) in [
        ("new", Ok(1)),
        ("s1", Ok(2)),
        ("s2", Err(Kind::NotFound)),
        ("s3", Ok(1)),
        ("s4", Err(Kind::NotFound)),
        ("s5", Ok(2)),
    ] {
        assert_eq!(fixture.found(service), expected, "{service}");
    }
    let after = fixture.routes.all();
    for (name, route) in kept.iter().filter(|(name, _)| !touched.contains(&&***name)) {
        assert!(Arc::ptr_eq(route, &after[name]), "{name} was not touched");
    }
    // An instance that comes back is another.
    fixture.apply(|config| {
        config.instances.insert("i2".to_owned(), instance("s2", 2));
    });
    assert_eq!(fixture.publish_changes(), ["s2"]);
    assert_eq!(fixture.found("s2"), Ok(1));
    // Made anew as a whole, they are the same.
    let names = |fixture: &Fixture| -> Vec<_> { fixture.routes.all().into_keys().collect() };
    let before = names(&fixture);
    fixture.publish();
    assert_eq!(names(&fixture), before);
    assert_eq!(fixture.publish_changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_change_of_health_touches_its_service_and_the_last_instance_is_used() {
    let fixture = Fixture::new(3);
    let key = EntryKey {
        owner: Owner::Config,
        instance: InstanceId::new("i1"),
    };
    let directory = &fixture.fleet.directory;
    for _ in 0..10 {
        directory.on_outcome(&key, HealthSource::Probe, HealthOutcome::Failure);
    }
    // A lone instance that is down is used all the same: the threshold of panic.
    assert_eq!(fixture.publish_changes(), ["s1"]);
    assert_eq!(fixture.found("s1"), Ok(1));
}

/// What one change of the directory costs among 10,000 services, beside making all routes anew as the
/// table of one piece had it.
#[tokio::test]
async fn figures_of_one_change_among_many_services() {
    const ROUNDS: u32 = 10;
    let mut fixture = Fixture::new(10_000);
    let average = |fixture: &mut Fixture, publish: &dyn Fn(&Fixture)| {
        let mut spent = Duration::ZERO;
        for round in 0..ROUNDS {
            let name = format!("i{}", round * 97);
            let service = format!("s{}", round * 97);
            let change = vec![LocalService {
                weight: 2 + round,
                ..LocalService::new(service)
            }];
            let begun = clock::now();
            fixture.fleet.directory.set_local(&name, change);
            publish(fixture);
            spent += clock::since(begun);
            fixture.fleet.directory.remove_local(&name);
            fixture.publish_changes();
        }
        spent / ROUNDS
    };
    let whole = |fixture: &Fixture| {
        // The list of services was copied with each change, and so was that of clusters.
        let services = fixture.fleet.directory.snapshot();
        let services: BTreeMap<Text, Arc<ServiceInstances>> = services
            .services()
            .map(|service| (service.name().clone(), Arc::clone(service)))
            .collect();
        let routes = fixture.fleet.routes(&BTreeMap::new(), &fixture.book);
        let routes = routes.into_iter();
        let table: HashMap<Text, Sharded<Arc<Route>>> = routes
            .map(|route| {
                let name = route.service.clone();
                (name, Sharded::new(|| Arc::new(route.clone())))
            })
            .collect();
        drop((services, table));
    };
    let before = average(&mut fixture, &whole);
    let after = average(&mut fixture, &|fixture| {
        assert_eq!(fixture.publish_changes().len(), 1, "of 10,000 services");
    });
    let share = |cost: Duration| cost.as_secs_f64() * 100.0 * 100.0;
    println!(
        "figure: a change among 10,000 services: all anew {before:?}, {:.2} % of a core at 100 a \
         second; by service {after:?}, {:.3} %",
        share(before),
        share(after)
    );
}
