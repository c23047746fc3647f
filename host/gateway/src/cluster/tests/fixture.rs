//! A directory, policies and instances that do as they are told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Retry, Text,
    registry::{Directory, DirectoryConfig, Entry, EntryKey, Owner, ServiceInstance, entry::Draft},
};
use postern_system::clock::now;

use super::super::{
    BalancerSource, Cluster, Clusters, DecisionLog, InstanceNumbers, Policies, ServiceNumbers,
    ServicePolicy,
};

/// What an instance does with a call.
#[derive(Clone)]
pub(super) enum Does {
    Answer,
    AnswerAfter(Duration),
    /// Fails after it may have acted.
    Fail(Kind),
    /// Fails so, the caller being to blame.
    Refuse(Kind),
    /// Nothing begins: it cannot be reached.
    Unreachable,
    /// It is cut off in the middle.
    Cut,
    /// It takes no calls at present, and says what it wants of another try.
    PushBack(Retry),
    Hang,
    /// Streams that many messages, a second apart.
    Stream(u32),
}

pub(super) struct Double {
    pub(super) name: Text,
    does: Mutex<Does>,
    pub(super) n_calls: AtomicU64,
    pub(super) n_dropped: Arc<AtomicU64>,
}

pub(super) struct Fixture {
    pub(super) directory: Directory,
    pub(super) clusters: Clusters,
    pub(super) doubles: Arc<Mutex<BTreeMap<Text, Arc<Double>>>>,
    pub(super) policy: ServicePolicy,
    pub(super) zone: Option<Text>,
}

impl Fixture {
    pub(super) fn new(names: &[&str], change: impl FnOnce(&mut ServicePolicy)) -> Self {
        Self::with(names, None, change, |_, _| {})
    }

    pub(super) fn with(
        names: &[&str],
        source: Option<Arc<dyn BalancerSource>>,
        change: impl FnOnce(&mut ServicePolicy),
        describe: impl Fn(usize, &mut Draft),
    ) -> Self {
        let mut policy = ServicePolicy::default();
        change(&mut policy);
        let mut fixture = Self {
            directory: Directory::new(DirectoryConfig::default(), 1).expect("the defaults work"),
            clusters: Clusters::new(source, None),
            doubles: Arc::default(),
            policy,
            zone: None,
        };
        for (index, name) in names.iter().enumerate() {
            fixture.add(name, |draft| describe(index, draft));
        }
        if !names.is_empty() {
            fixture.rebuild();
        }
        fixture
    }

    pub(super) fn add(&mut self, name: &str, describe: impl FnOnce(&mut Draft)) {
        let mut draft = Draft::new(name, SERVICE);
        describe(&mut draft);
        self.enter(Owner::Config, &draft);
    }

    pub(super) fn enter(&mut self, owner: Owner, draft: &Draft) {
        let entry = Entry::new(draft).expect("a good entry");
        let registered = self.directory.register(now(), &owner, entry, None);
        registered.expect("registered");
        let name = draft.instance.0.clone();
        let double = Double {
            name: name.clone(),
            does: Mutex::new(Does::Answer),
            n_calls: AtomicU64::new(0),
            n_dropped: Arc::default(),
        };
        let mut doubles = self.doubles.lock();
        doubles.entry(name).or_insert_with(|| Arc::new(double));
    }

    pub(super) fn remove(&mut self, name: &str) {
        let key = EntryKey {
            owner: Owner::Config,
            instance: Draft::new(name, SERVICE).instance,
        };
        let life = postern_core::registry::Incarnation::default();
        let gone = self.directory.unregister(&key.owner, &key.instance, life);
        gone.expect("it was there");
    }

    pub(super) fn rebuild(&mut self) -> Arc<Cluster> {
        let policies = Policies::new(self.policy.clone(), [], self.zone.clone());
        let doubles = Arc::clone(&self.doubles);
        let connect = |instance: &ServiceInstance| {
            let double = doubles.lock().get(&instance.record.key.instance.0).cloned();
            double.map(|double| double as Arc<dyn Handler>)
        };
        let snapshot = self.directory.snapshot();
        let all = self.clusters.rebuild(&snapshot, &policies, &connect);
        Arc::clone(&all[&Text::from_static(SERVICE)])
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.clusters.get(SERVICE).expect("it is there")
    }

    pub(super) fn tell(&self, name: &str, does: Does) {
        *self.double(name).does.lock() = does;
    }

    pub(super) fn double(&self, name: &str) -> Arc<Double> {
        Arc::clone(&self.doubles.lock()[&Text::from(name)])
    }

    pub(super) fn n_calls(&self, name: &str) -> u64 {
        self.double(name).n_calls.load(Relaxed)
    }

    pub(super) fn call(&self, method: &str) -> BoxFuture<Result<Reply, Error>> {
        self.cluster().call(call(method), &DecisionLog::off())
    }

    /// Makes that many calls, one after the other; says how many failed.
    pub(super) async fn calls(&self, method: &str, n: u32) -> u32 {
        let mut n_failed = 0;
        for _ in 0..n {
            n_failed += u32::from(self.call(method).await.is_err());
        }
        n_failed
    }

    /// What a failing call and its decisions tell.
    pub(super) async fn fails(&self, method: &str) -> (Error, String) {
        let decision_log = DecisionLog::on();
        let error = self.cluster().call(call(method), &decision_log).await;
        let why = decision_log.decisions().expect("on").to_string();
        (error.expect_err("it fails"), why)
    }

    pub(super) fn numbers(&self) -> ServiceNumbers {
        self.cluster().numbers()
    }

    pub(super) fn instance(&self, name: &str) -> InstanceNumbers {
        let instances = self.numbers().instances;
        let mut instances = instances.into_iter();
        instances
            .find(|i| i.instance == name)
            .expect("it takes calls")
    }

    /// Nothing of any call is left.
    pub(super) fn assert_idle(&self) {
        let numbers = self.numbers();
        for instance in &numbers.instances {
            assert_eq!(instance.in_flight, 0, "{}", instance.instance);
        }
        assert_eq!((numbers.waiting, numbers.admitted.unwrap_or(0)), (0, 0));
    }
}

impl Handler for Double {
    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        self.n_calls.fetch_add(1, Relaxed);
        let does = self.does.lock().clone();
        let mut dropped = Dropped(Some(Arc::clone(&self.n_dropped)));
        let name = self.name.clone();
        Box::pin(async move {
            let error =
                |kind, blame, retry| Err(Error::new(kind, blame, "told to").with_retry(retry));
            let result = match does {
                Does::Answer => Ok(Reply::one(name.into_bytes())),
                Does::AnswerAfter(time) => {
                    tokio::time::sleep(time).await;
                    Ok(Reply::one(name.into_bytes()))
                }
                Does::Fail(kind) => error(kind, Blame::Upstream, Retry::Never),
                Does::Refuse(kind) => error(kind, Blame::Client, Retry::Never),
                Does::Unreachable => error(Kind::Unavailable, Blame::Upstream, Retry::Elsewhere),
                Does::Cut => error(Kind::Unavailable, Blame::Upstream, Retry::IfIdempotent),
                Does::PushBack(retry) => error(Kind::Unavailable, Blame::Upstream, retry),
                Does::Hang => std::future::pending().await,
                Does::Stream(n) => Ok(stream(n)),
            };
            dropped.disarm();
            result
        })
    }
}

/// Counts a call that was dropped before it ended.
struct Dropped(Option<Arc<AtomicU64>>);

impl Dropped {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Relaxed);
        }
    }
}

fn stream(n: u32) -> Reply {
    let messages = futures_util::stream::unfold(0, move |done| async move {
        if done == n {
            return None;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok("message".into()), done + 1))
    });
    Reply::new(
        postern_core::Headers::new(),
        postern_core::Body::Messages(postern_core::BodyStream::new(messages)),
    )
}

pub(super) fn call(method: &str) -> Call {
    Call::unary(SERVICE, method, "{}")
}

pub(super) fn due(call: Call, after: Duration) -> Call {
    let mut call = call;
    call.context.deadline = Some(now() + after);
    call
}

pub(super) fn text(reply: Result<Reply, Error>) -> String {
    match reply.expect("answered").body {
        postern_core::Body::One(body) => String::from_utf8_lossy(&body).into_owned(),
        postern_core::Body::Empty
        | postern_core::Body::Messages(_)
        | postern_core::Body::Octets(_) => String::new(),
    }
}

pub(super) const SERVICE: &str = "users";
pub(super) const SECOND: Duration = Duration::from_secs(1);
