//! Plugins that stand in the way of calls, in their order. The chain is replaced whole when a plugin
//! or the configuration changes; a call goes on with the one that it began with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use postern_core::{
    Blame, Call, Error, Kind, Text,
    extension::{
        Asked, Authenticator, Authorizer, CallOutcome, Flow, FrameExtension, RequestInterceptor,
        ResponseInterceptor, Step,
    },
};
use postern_system::{clock, shard::ShardedCounter};
use tracing::warn;

use super::authentic::Remembered;
use crate::config::{Extension, Fail};

/// The chain in force.
#[derive(Default)]
pub(crate) struct Extensions {
    chain: ArcSwap<Chain>,
    /// Whether a link of the chain sees frames.
    sees_frames: Arc<AtomicBool>,
}

/// Every link, the first to see a call first.
#[derive(Default)]
pub(crate) struct Chain {
    links: Vec<ChainLink>,
    /// Whether every link sees every call, as most do.
    covers_all: bool,
    has: Has,
    /// What its authenticators have said of credentials.
    remembered: Remembered,
}

/// What there is in a chain, so that a call does not look for what is not there.
#[derive(Debug, Clone, Copy, Default)]
struct Has {
    missing: bool,
    authenticators: bool,
    responses: bool,
    authorizers: bool,
}

/// One plugin in the chain.
#[derive(Clone)]
pub(crate) struct ChainLink {
    pub plugin: Text,
    pub settings: Extension,
    pub part: Part,
    pub counts: Arc<LinkCounts>,
}

/// What a plugin does in the chain.
#[derive(Clone)]
pub(crate) enum Part {
    /// Whatever of these it is.
    Live {
        authenticator: Option<Arc<dyn Authenticator>>,
        requests: Option<Arc<dyn RequestInterceptor>>,
        responses: Option<Arc<dyn ResponseInterceptor>>,
        authorizer: Option<Arc<dyn Authorizer>>,
        frames: Option<Arc<dyn FrameExtension>>,
    },
    /// It should stand here and does not; why.
    Missing(Text),
}

/// What became of what one link saw.
#[derive(Debug, Default)]
pub(crate) struct LinkCounts {
    pub(crate) seen: ShardedCounter,
    pub answered: AtomicU64,
    pub refused: AtomicU64,
    /// Broken or missing, and gone on without.
    pub failed_open: AtomicU64,
    /// Broken or missing, and refused for that.
    pub failed_closed: AtomicU64,
    /// Whether it fails open for its traps, whatever its settings say.
    is_passed_by: AtomicBool,
    /// Milliseconds, on the chain's clock, until which nothing more is logged.
    quiet_until: AtomicU64,
}

/// One link, for operators.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct LinkView {
    pub plugin: String,
    pub order: u32,
    /// `open` or `closed`.
    pub fail: &'static str,
    pub is_live: bool,
    /// Why it does not stand where it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub seen: u64,
    pub answered: u64,
    pub refused: u64,
    pub failed_open: u64,
    pub failed_closed: u64,
}

/// The links that see one call, and what they are told of it when it has ended.
pub(super) struct ActiveChain {
    chain: Arc<Chain>,
    /// Indices of its links in the chain, in order; `None`: of all links.
    places: Option<Vec<usize>>,
    asked: Option<Arc<Asked>>,
    start: Instant,
}

/// What became of a call on its way in.
pub(super) enum Intercepted {
    On(Box<Call>),
    /// The outcome, and how many links of the active chain are to see it.
    Ended(CallOutcome, usize),
}

impl Extensions {
    pub(crate) fn publish(&self, chain: Chain) {
        let sees_frames = chain.links.iter().any(|link| link.part.frames().is_some());
        self.chain.store(Arc::new(chain));
        self.sees_frames.store(sees_frames, Relaxed);
    }

    pub(super) fn sees_frames(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.sees_frames)
    }

    #[must_use]
    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.chain.load_full()
    }

    /// As `chain`, for as long as it takes to look at it.
    pub(super) fn load(&self) -> Guard<Arc<Chain>> {
        self.chain.load()
    }
}

impl FromIterator<ChainLink> for Chain {
    fn from_iter<I: IntoIterator<Item = ChainLink>>(links: I) -> Self {
        let mut links: Vec<_> = links.into_iter().collect();
        links.sort_by(|a, b| {
            let order = a.settings.order.cmp(&b.settings.order);
            order.then_with(|| a.plugin.cmp(&b.plugin))
        });
        let covers_all = links.iter().all(|link| link.settings.covers_all());
        let any = |part: fn(&Part) -> bool| links.iter().any(|link| part(&link.part));
        let has = Has {
            missing: any(|part| matches!(part, Part::Missing(_))),
            authenticators: any(|part| part.authenticator().is_some()),
            responses: any(|part| part.responses().is_some()),
            authorizers: any(|part| part.authorizer().is_some()),
        };
        Self {
            links,
            covers_all,
            has,
            remembered: Remembered::default(),
        }
    }
}

impl Chain {
    #[must_use]
    pub(crate) fn links(&self) -> &[ChainLink] {
        &self.links
    }

    /// Whether there are authenticators in it.
    pub(super) const fn authenticates(&self) -> bool {
        self.has.authenticators
    }

    /// The links that see `call`, which came through `listener` at `start`.
    pub(super) fn activate(
        self: Arc<Self>,
        call: &Call,
        listener: Option<&str>,
        start: Instant,
    ) -> ActiveChain {
        let places = (!self.covers_all).then(|| {
            let covers =
                |link: &ChainLink| link.settings.covers(&call.service, &call.method, listener);
            let places = self.links.iter().enumerate();
            let covering = places.filter(|(_, link)| covers(link));
            covering.map(|(idx, _)| idx).collect()
        });
        ActiveChain {
            chain: self,
            places,
            asked: None,
            start,
        }
    }
}

impl ActiveChain {
    fn link(&self, place: usize) -> Option<&ChainLink> {
        let idx = match &self.places {
            Some(places) => *places.get(place)?,
            None => place,
        };
        self.chain.links.get(idx)
    }

    fn links(&self) -> impl DoubleEndedIterator<Item = (usize, &ChainLink)> {
        (0..self.n_links()).filter_map(|place| Some((place, self.link(place)?)))
    }

    /// What was said of credentials, where the active chain has somebody to ask about them.
    pub(super) fn remembered(&self) -> Option<&Remembered> {
        let is_asked = self.chain.has.authenticators && self.authenticators().next().is_some();
        is_asked.then_some(&self.chain.remembered)
    }

    /// The authenticators of the active chain, which a call without a principal is shown to.
    pub(super) fn authenticators(
        &self,
    ) -> impl Iterator<Item = (&ChainLink, &Arc<dyn Authenticator>)> {
        self.links()
            .filter_map(|(_, link)| Some((link, link.part.authenticator()?)))
    }

    /// Refuses a call that a missing link should have seen, unless it is open.
    ///
    /// # Errors
    /// `unavailable`, naming the plugin.
    pub(super) fn check_missing(&self) -> Result<(), Error> {
        if !self.chain.has.missing {
            return Ok(());
        }
        for (_, link) in self.links() {
            if let Part::Missing(reason) = &link.part {
                link.fail(reason)?;
            }
        }
        Ok(())
    }

    /// As `on_request`, which never fails by itself.
    pub(super) async fn pass(&mut self, call: Box<Call>) -> Result<Intercepted, Error> {
        Ok(self.on_request(call).await)
    }

    /// Shows the call to every interceptor of requests, in order.
    async fn on_request(&mut self, mut call: Box<Call>) -> Intercepted {
        let has_responses = |(_, link): (usize, &ChainLink)| link.part.responses().is_some();
        if self.chain.has.responses && self.links().any(has_responses) {
            self.asked = Some(Asked::of(&call, self.start));
        }
        for place in 0..self.n_links() {
            let Some(link) = self.link(place) else { break };
            let Some(interceptor) = link.part.requests() else {
                continue;
            };
            link.counts.seen.count();
            let flow = match interceptor.on_request(call) {
                Step::Done(flow) => flow,
                Step::Later(flow) => flow.await,
            };
            call = match flow {
                Flow::Proceed(call) => call,
                Flow::Answer(reply) => {
                    link.counts.answered.fetch_add(1, Relaxed);
                    return Intercepted::Ended(Ok(*reply), place);
                }
                Flow::Refuse(error) => {
                    link.counts.refused.fetch_add(1, Relaxed);
                    return Intercepted::Ended(Err(*error), place);
                }
                Flow::Broken(call, error) => match link.fail(&error.message) {
                    Ok(()) => call,
                    Err(error) => return Intercepted::Ended(Err(error), place),
                },
            };
        }
        Intercepted::On(call)
    }

    /// Whether an authorizer is to be asked about the calls of the active chain.
    pub(super) fn is_judged(&self) -> bool {
        let has_authorizer = |(_, link): (usize, &ChainLink)| link.part.authorizer().is_some();
        self.chain.has.authorizers && self.links().any(has_authorizer)
    }

    /// Asks every authorizer whether the call may be made.
    pub(super) async fn authorize(&self, asked: &Arc<Asked>) -> Result<(), Error> {
        for (_, link) in self.links() {
            let Some(authorizer) = link.part.authorizer() else {
                continue;
            };
            link.counts.seen.count();
            if let Err(fault) = authorizer.authorize(asked).finish().await {
                link.judge(fault)?;
            }
        }
        Ok(())
    }

    /// Shows the outcome to the interceptors of responses at the first `n_links` places, the last of
    /// them first.
    pub(super) async fn on_response(
        &self,
        n_links: usize,
        mut outcome: CallOutcome,
    ) -> CallOutcome {
        let Some(asked) = &self.asked else {
            return outcome;
        };
        for (place, link) in self.links().rev() {
            let Some(interceptor) = link.part.responses().filter(|_| place < n_links) else {
                continue;
            };
            if link.part.requests().is_none() {
                link.counts.seen.count();
            }
            let seen = match interceptor.on_response(asked, outcome) {
                Step::Done(seen) => seen,
                Step::Later(seen) => seen.await,
            };
            outcome = match seen.broken {
                None => seen.outcome,
                Some(broken) => link.fail(&broken.message).and(seen.outcome),
            };
        }
        outcome
    }

    pub(super) fn n_links(&self) -> usize {
        let links = self.chain.links.len();
        self.places.as_ref().map_or(links, Vec::len)
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }
}

impl Part {
    /// What it does to frames. Of what is missing nobody knows whether it was meant for them; the
    /// calls that it should have seen are refused, on every listener.
    pub(super) const fn frames(&self) -> Option<&Arc<dyn FrameExtension>> {
        match self {
            Self::Live { frames, .. } => frames.as_ref(),
            Self::Missing(_) => None,
        }
    }

    fn authenticator(&self) -> Option<&Arc<dyn Authenticator>> {
        match self {
            Self::Live { authenticator, .. } => authenticator.as_ref(),
            Self::Missing(_) => None,
        }
    }

    fn requests(&self) -> Option<&Arc<dyn RequestInterceptor>> {
        match self {
            Self::Live { requests, .. } => requests.as_ref(),
            Self::Missing(_) => None,
        }
    }

    fn responses(&self) -> Option<&Arc<dyn ResponseInterceptor>> {
        match self {
            Self::Live { responses, .. } => responses.as_ref(),
            Self::Missing(_) => None,
        }
    }

    fn authorizer(&self) -> Option<&Arc<dyn Authorizer>> {
        match self {
            Self::Live { authorizer, .. } => authorizer.as_ref(),
            Self::Missing(_) => None,
        }
    }
}

impl ChainLink {
    /// What an extension that did not say yes means for the call.
    pub(super) fn judge(&self, fault: postern_core::extension::AuthFault) -> Result<(), Error> {
        use postern_core::extension::AuthFault;
        match fault {
            AuthFault::Refused(error) => {
                self.counts.refused.fetch_add(1, Relaxed);
                Err(error)
            }
            AuthFault::Broken(error) => self.fail(&error.message),
        }
    }

    /// Counts and logs that the link could not do its part.
    ///
    /// # Errors
    /// `unavailable` where it fails closed.
    pub(super) fn fail(&self, reason: &str) -> Result<(), Error> {
        let plugin = &self.plugin;
        let is_passed_by = self.counts.is_passed_by.load(Relaxed);
        let fail = if is_passed_by {
            Fail::Open
        } else {
            self.settings.fail
        };
        let count = match fail {
            Fail::Open => &self.counts.failed_open,
            Fail::Closed => &self.counts.failed_closed,
        };
        count.fetch_add(1, Relaxed);
        if self.counts.may_log(clock::now()) {
            let fail = fail.name();
            warn!(%plugin, fail, reason, "an extension cannot do its part");
        }
        match fail {
            Fail::Open => Ok(()),
            Fail::Closed => {
                let message = format!("extension {plugin} cannot do its part: {reason}");
                Err(Error::new(Kind::Unavailable, Blame::Gateway, message))
            }
        }
    }
}

impl From<&ChainLink> for LinkView {
    fn from(link: &ChainLink) -> Self {
        let counts = &link.counts;
        let reason = match &link.part {
            Part::Live { .. } => None,
            Part::Missing(reason) => Some(reason.to_string()),
        };
        Self {
            plugin: link.plugin.to_string(),
            order: link.settings.order,
            fail: link.settings.fail.name(),
            is_live: reason.is_none(),
            reason,
            seen: counts.seen.value(),
            answered: counts.answered.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            failed_open: counts.failed_open.load(Relaxed),
            failed_closed: counts.failed_closed.load(Relaxed),
        }
    }
}

impl LinkView {
    /// Its numbers by name.
    #[must_use]
    pub(crate) fn counts(&self) -> [(&'static str, u64); 5] {
        [
            ("seen", self.seen),
            ("answered", self.answered),
            ("refused", self.refused),
            ("failed-open", self.failed_open),
            ("failed-closed", self.failed_closed),
        ]
    }
}

impl LinkCounts {
    pub(crate) fn set_passed_by(&self, is_passed_by: bool) {
        self.is_passed_by.store(is_passed_by, Relaxed);
    }

    /// At most one line in `LOG_INTERVAL`: a broken extension meets every call.
    fn may_log(&self, now: Instant) -> bool {
        let now_ms = millis(now);
        let until = self.quiet_until.load(Relaxed);
        let next = now_ms.saturating_add(millis_of(LOG_INTERVAL));
        now_ms >= until
            && self
                .quiet_until
                .compare_exchange(until, next, Relaxed, Relaxed)
                .is_ok()
    }
}

/// Milliseconds since the first time this was asked, plus one.
fn millis(now: Instant) -> u64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let begin = *BEGIN.get_or_init(|| now);
    millis_of(now.saturating_duration_since(begin)).saturating_add(1)
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const LOG_INTERVAL: Duration = Duration::from_secs(10);
