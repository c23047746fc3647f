//! Certificates that are replaced while calls go on and connections come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use postern_core::Handler;
use postern_net::Client;
use postern_tests::{Load, call, patiently};
use tokio::task::JoinHandle;

use super::{
    authority::{Authority, Pair, VALID},
    edge::{Edge, Secured},
};
use crate::{figure, share};

const N_RENEWALS: usize = 6;

/// Opens sessions one after the other, each with a call, until it is told to stop.
struct Comers {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Comers {
    fn start(edge: &Arc<Edge>, authorities: &Arc<[Authority; 2]>, secured: Secured) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (stopped, edge, authorities) =
            (Arc::clone(&stop), Arc::clone(edge), Arc::clone(authorities));
        let task = tokio::spawn(async move {
            let (mut n_done, mut failures) = (0, Vec::new());
            let trusted: Vec<_> = authorities.iter().collect();
            while !stopped.load(Ordering::Relaxed) {
                match come(&edge, secured, &trusted).await {
                    Ok(()) => n_done += 1,
                    Err(failure) => failures.push(failure),
                }
            }
            (n_done, failures)
        });
        Self { stop, task }
    }

    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

/// A session of its own with one call.
async fn come(edge: &Edge, secured: Secured, trusted: &[&Authority]) -> Result<(), String> {
    let client = edge.session(secured, trusted, None).await;
    let client: Client = client.map_err(|error| error.to_string())?;
    let answer = call(&client, "echo/Echo", "{}").await;
    client.close().await;
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_under_load_on_tls_quic_and_wss_and_no_call_fails() {
    let _machine = share().await;
    let authorities = Arc::new([Authority::new("one"), Authority::new("other")]);
    let pair = |n: usize| -> Pair {
        let signer = &authorities[n % 2];
        signer.pair("edge", u64::try_from(n).expect("few") + 1, VALID)
    };
    let edge = Arc::new(Edge::start(&pair(0), "", &[]).await);
    let both: Vec<_> = authorities.iter().collect();
    let mut loads = Vec::new();
    for secured in Secured::ALL {
        let client = edge.session(secured, &both, None).await;
        let client: Arc<dyn Handler> = Arc::new(client.expect("both are believed"));
        let body = Bytes::from("{}");
        let load = Load::start(&client, "echo/Echo", &body, 2, Duration::from_millis(1));
        loads.push((secured, load, Comers::start(&edge, &authorities, secured)));
    }
    for n in 1..=N_RENEWALS {
        edge.renew(&pair(n));
        let [new, old] = [&authorities[n % 2], &authorities[(n + 1) % 2]];
        for secured in Secured::ALL {
            patiently("new connections see the new certificate", async || {
                come(&edge, secured, &[new]).await.is_ok()
            })
            .await;
            let refused = come(&edge, secured, &[old]).await;
            let refused = refused.expect_err("the one before is shown no more");
            assert!(refused.contains("UnknownIssuer"), "{secured:?}: {refused}");
        }
    }
    for (secured, load, comers) in loads {
        let outcome = load.stop().await;
        let (n_comers, failures) = comers.stop().await;
        figure(&format!(
            "{N_RENEWALS} certificates renewed, {secured:?}: {}, {n_comers} new connections",
            outcome.answered
        ));
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert!(failures.is_empty(), "{secured:?}: {failures:?}");
        assert!(!outcome.answered.is_empty() && n_comers > N_RENEWALS);
    }
}
