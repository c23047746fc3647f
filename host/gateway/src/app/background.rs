//! What goes on beside calls from the start of a gateway to its end.

use std::{sync::Arc, time::Duration};

use postern_net::{
    Counters, Shutdown, SocketListener,
    http::{HttpConfig, serve_router},
};
use tokio::{sync::watch, task::JoinSet};

use super::{gateway::Gateway, issuing};
use crate::{
    admin, certificates::ADMIN as ADMIN_TLS, consul, directory::probes, memory,
    readiness::ReasonKind,
};

/// Begins all of it. It ends with the gateway's shutdown, or, where it tells how that goes, with `last`.
pub(super) fn spawn(
    gateway: &Arc<Gateway>,
    admin: Option<SocketListener>,
    last: &Shutdown,
) -> JoinSet<()> {
    let control = gateway.control();
    let shutdown = gateway.shutdown();
    let mut tasks = JoinSet::new();
    if let Some(listener) = admin {
        tasks.spawn(serve_admin(listener, Arc::clone(gateway), last.clone()));
    }
    let fleet = control.fleet();
    let directory = fleet.directory();
    tasks.spawn(Arc::clone(directory).run(shutdown.clone()));
    let probing = probes::run(Arc::clone(directory), fleet.prober(), shutdown.clone());
    tasks.spawn(probing);
    let leaving = Arc::clone(gateway);
    tasks.spawn(async move { leaving.leave().await });
    let (events, draining) = (control.events().clone(), shutdown.clone());
    tasks.spawn(async move {
        draining.draining().await;
        // Subscriptions would hold the drain up.
        events.end_all();
    });
    tasks.spawn(follow_expiry(Arc::clone(gateway), last.clone()));
    tasks.spawn(issuing::issue(Arc::clone(gateway), shutdown.clone()));
    let kept = control.events().topics().health().outage();
    for (subject, outage) in [("", control.store_health().outage()), ("events", kept)] {
        tasks.spawn(follow_store(
            Arc::clone(gateway),
            (subject, outage),
            last.clone(),
        ));
    }
    tasks.spawn(follow_stores(Arc::clone(gateway), last.clone()));
    tasks.spawn(consul::follow(Arc::clone(gateway)));
    tasks.spawn(memory::give_back(shutdown.clone()));
    tasks.spawn(Arc::clone(gateway.mqtt()).run(shutdown.clone()));
    tasks
}

async fn serve_admin(listener: SocketListener, gateway: Arc<Gateway>, last: Shutdown) {
    let limits = HttpConfig {
        drain_timeout: ADMIN_DRAIN,
        ..admin::limits()
    };
    let (counters, tls) = (
        Arc::<Counters>::default(),
        gateway.certificates().of(ADMIN_TLS),
    );
    let router = admin::router(gateway);
    serve_router(listener, tls, router, limits, counters, last).await;
}

/// Asks plugins how they are, for ever.
pub(super) async fn check_health(gateway: &Gateway) {
    let mut interval = tokio::time::interval(gateway.loaded().config.plugins.health_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick comes at once, and deployments have just asked.
    interval.tick().await;
    loop {
        interval.tick().await;
        gateway.control().check_health().await;
    }
}

/// Tells the readiness which certificates expire, until the end.
async fn follow_expiry(gateway: Arc<Gateway>, last: Shutdown) {
    tokio::select! {
        () = gateway.certificates().follow_expiry(gateway.readiness()) => {}
        () = last.draining() => {}
    }
}

/// Tells the readiness how a store is, until the end. That of events has the subject `events`.
async fn follow_store(
    gateway: Arc<Gateway>,
    (subject, mut outage): (&'static str, watch::Receiver<Option<Arc<str>>>),
    last: Shutdown,
) {
    let readiness = gateway.readiness();
    loop {
        let reason = outage.borrow_and_update().clone();
        match reason {
            Some(reason) => {
                let message = format!("the store cannot be written: {reason}");
                readiness.raise(ReasonKind::Store, subject, message);
            }
            None => readiness.clear(ReasonKind::Store, subject),
        }
        tokio::select! {
            changed = outage.changed() => if changed.is_err() { return },
            () = last.draining() => return,
        }
    }
}

/// Tells the readiness which stores of others are away, until the end.
async fn follow_stores(gateway: Arc<Gateway>, last: Shutdown) {
    tokio::select! {
        () = gateway.stores().follow(gateway.readiness()) => {}
        () = last.draining() => {}
    }
}

/// For what operators have under way when everything else has ended.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
