//! Who is asked when, with a stopped clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use postern_core::registry::{Address, Draft, Ttl};

use super::*;
use crate::config::{Config, InstanceSettings};

/// Answers after 100 ms, as it is told to.
#[derive(Default)]
struct Answers {
    fails: AtomicBool,
    hangs: AtomicBool,
    n_asked: AtomicUsize,
    /// In seconds; 0 is none of its own.
    interval_max: AtomicUsize,
    n_open: Arc<AtomicUsize>,
    n_open_max: Arc<AtomicUsize>,
}

impl InstanceProber for Answers {
    fn probe(&self, _: Entry) -> BoxFuture<HealthOutcome> {
        self.n_asked.fetch_add(1, Relaxed);
        let (fails, hangs) = (self.fails.load(Relaxed), self.hangs.load(Relaxed));
        let (open, most) = (Arc::clone(&self.n_open), Arc::clone(&self.n_open_max));
        Box::pin(async move {
            most.fetch_max(open.fetch_add(1, Relaxed) + 1, Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            open.fetch_sub(1, Relaxed);
            if hangs {
                std::future::pending::<()>().await;
            }
            if fails {
                HealthOutcome::Failure
            } else {
                HealthOutcome::Success
            }
        })
    }

    fn interval_max(&self, _: &Entry) -> Option<Duration> {
        let seconds = self.interval_max.load(Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds as u64))
    }
}

fn stage(
    n: usize,
    change: impl FnOnce(&mut Config),
) -> (Arc<SharedDirectory>, Arc<Answers>, Shutdown) {
    let mut config = Config::default();
    for n in 0..n {
        let instance = InstanceSettings {
            service: Some("s".to_owned()),
            addresses: vec![address(n + 1)],
            ..InstanceSettings::default()
        };
        config.instances.insert(format!("i{n}"), instance);
    }
    change(&mut config);
    let directory = SharedDirectory::new(&config).expect("good settings");
    let (answers, shutdown) = (Arc::<Answers>::default(), Shutdown::new());
    let probes = run(
        Arc::clone(&directory),
        Arc::clone(&answers) as Arc<dyn InstanceProber>,
        shutdown.clone(),
    );
    tokio::spawn(probes);
    (directory, answers, shutdown)
}

fn address(port: usize) -> Address {
    let text = format!("tcp://10.0.0.1:{port}");
    Address::parse(&text).expect("an address")
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

fn health(directory: &SharedDirectory) -> Health {
    let snapshot = directory.snapshot();
    snapshot.service(&"s".into()).expect("a service").all()[0].health
}

#[tokio::test(start_paused = true)]
async fn each_instance_is_asked_once_an_interval_and_not_all_at_once() {
    let (_directory, answers, _shutdown) = stage(100, |_| ());
    seconds(10).await;
    let early = answers.n_asked.load(Relaxed);
    assert!(
        (10..=60).contains(&early),
        "{early} of 100 in a third of the interval"
    );
    seconds(290).await;
    let asked = answers.n_asked.load(Relaxed);
    assert!((900..=1100).contains(&asked), "{asked} in ten intervals");
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_asked_more_often_where_its_protocol_says_so() {
    let (_directory, answers, _shutdown) = stage(10, |_| ());
    // The schedule is made once others have run.
    answers.interval_max.store(10, Relaxed);
    seconds(300).await;
    let asked = answers.n_asked.load(Relaxed);
    assert!((280..=320).contains(&asked), "{asked} in thirty intervals");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_dialled_is_not_asked_and_not_taken_for_ill() {
    let (directory, answers, _shutdown) = stage(0, |_| ());
    answers.fails.store(true, Relaxed);
    let mut draft = Draft::new("i", "s");
    // Requests of HTTP go where the configuration says, and not where somebody else does.
    let address = Address::parse("http://10.0.0.1:1");
    draft.addresses = vec![address.expect("an address")];
    let entry = Entry::new(&draft).expect("an entry");
    let owner = Owner::Registered("ann".into());
    let taken = directory.change(|state, now| {
        let ttl = Ttl::new(Duration::from_secs(3600)).expect("a lease");
        state.machine.register(now, &owner, entry, Some(ttl))
    });
    taken.expect("taken");
    seconds(300).await;
    assert_eq!(answers.n_asked.load(Relaxed), 0);
    assert_eq!(health(&directory), Health::Up);
}

#[tokio::test(start_paused = true)]
async fn probes_at_one_time_are_bounded() {
    let (_directory, answers, _shutdown) = stage(50, |config| {
        config.directory.probe_interval = Duration::from_millis(100);
        config.directory.probe_concurrency = 4;
    });
    seconds(5).await;
    assert_eq!(answers.n_open_max.load(Relaxed), 4);
    // 4 at a time, 100 ms each: nobody is left out for ever.
    assert!(answers.n_asked.load(Relaxed) > 150);
}

#[tokio::test(start_paused = true)]
async fn three_failures_take_an_instance_down_and_two_successes_bring_it_back() {
    let each_3_s = |config: &mut Config| {
        config.directory.probe_down_interval = Duration::from_secs(3);
    };
    let (directory, answers, _shutdown) = stage(1, each_3_s);
    answers.fails.store(true, Relaxed);
    seconds(59).await;
    assert_eq!(health(&directory), Health::Up, "two probes at most");
    seconds(33).await;
    assert_eq!(health(&directory), Health::Down);
    answers.fails.store(false, Relaxed);
    seconds(8).await;
    assert_eq!(
        health(&directory),
        Health::Up,
        "what is down is asked each 3 s"
    );
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time_is_a_failure() {
    let (directory, answers, shutdown) = stage(1, |_| ());
    answers.hangs.store(true, Relaxed);
    seconds(110).await;
    assert_eq!(health(&directory), Health::Down);
    shutdown.drain();
    seconds(1).await;
    let asked = answers.n_asked.load(Relaxed);
    seconds(100).await;
    assert_eq!(
        answers.n_asked.load(Relaxed),
        asked,
        "nobody is asked after the end"
    );
}
