//! A service at one moment: who can answer, who picks, by which policy. Immutable; calls read it
//! without a lock, and a call that began under one ends its tries under it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{
    Call, Handler, Text, Transport,
    balance::{Balance, PickRequest, Set, Subset},
    registry::{EntryRecord, Owner, Range},
};
use postern_system::random;

use super::{
    breaking::Pass,
    endpoint::Endpoint,
    placing::{Pick, Picker, PlacedBalance},
    policy::ServicePolicy,
    policy_state::PolicyState,
};

pub(super) struct ClusterSnapshot {
    pub(super) service: Text,
    pub(super) policy: Arc<ServicePolicy>,
    pub(super) balancer_name: Text,
    pub(super) set: Arc<Set>,
    /// In the order of the set.
    pub(super) candidates: Vec<Candidate>,
    pub(super) balancer: Balancer,
    pub(super) policy_state: PolicyState,
    /// Fewer were up than the directory's threshold asks for, so that all are here.
    pub(super) is_panic: bool,
    /// Every instance in the directory, those that take no calls too.
    pub(super) n_known: usize,
    /// Transports of those among them that the gateway does not dial. In order.
    pub(super) undialled: Vec<Transport>,
    /// The gateway adds nothing to a call, so that it may go straight to the only instance.
    pub(super) is_plain: bool,
    /// Methods of which every instance that knows them says that they may be repeated. Sorted.
    pub(super) idempotent: Vec<Text>,
}

/// One instance that takes calls.
pub(super) struct Candidate {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) record: Arc<EntryRecord>,
}

pub(super) enum Balancer {
    Native(Box<dyn Balance>),
    Placed(Arc<dyn PlacedBalance>),
}

/// What a call wants of an instance, and whom it has tried.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) key: Option<u64>,
    pub(super) version: Option<Range>,
    pub(super) subset: Option<Subset>,
    /// Numbers of the endpoints that it was sent to.
    pub(super) tried: Vec<u64>,
    /// Whether those are to be left out where there are others.
    pub(super) elsewhere: bool,
}

/// Who gets the try.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) index: usize,
    pub(super) pass: Pass,
    /// The component decided.
    pub(super) by_component: bool,
    pub(super) left_to_native: bool,
    pub(super) is_out_of_subset: bool,
    pub(super) is_ejected: bool,
}

/// Decisions nobody gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nobody {
    /// The service has no instance that takes calls.
    Empty,
    /// None that this caller may know of.
    Hidden,
    Version,
    Subset,
    /// Those whose breakers are open, and after how long the first lets a probe through.
    Open {
        names: Vec<Text>,
        retry_after: Duration,
    },
}

impl ClusterSnapshot {
    /// Picks an instance and takes its breaker's pass.
    pub(super) fn choose(&self, call: &Call, wish: &Wish, now: Instant) -> Result<Chosen, Nobody> {
        if let Some(ejection) = &self.policy_state.ejection {
            ejection.poll(&self.candidates, now);
        }
        // Members whose breaker said no to this very pick.
        let mut refused = BTreeSet::new();
        loop {
            let Some((pick, is_out_of_subset, is_ejected)) = self.pick(call, wish, now, &refused)
            else {
                return Err(self.nobody(call, wish, now));
            };
            let Some(candidate) = self.candidates.get(pick.index) else {
                return Err(Nobody::Empty);
            };
            match candidate.endpoint.breaking.try_admit(now) {
                Ok(pass) => {
                    let is_placed = matches!(self.balancer, Balancer::Placed(_));
                    let by_component = is_placed && pick.by == Picker::Component;
                    return Ok(Chosen {
                        index: pick.index,
                        pass,
                        by_component,
                        left_to_native: is_placed && !by_component,
                        is_out_of_subset,
                        is_ejected,
                    });
                }
                Err(_) => {
                    refused.insert(pick.index);
                }
            }
        }
    }

    /// In three steps, each with fewer wishes: not who was tried, not who is ejected.
    fn pick(
        &self,
        call: &Call,
        wish: &Wish,
        now: Instant,
        refused: &BTreeSet<usize>,
    ) -> Option<(Pick, bool, bool)> {
        let random = random::even();
        let can = |index: usize, candidate: &Candidate| {
            !refused.contains(&index)
                && self.suits(candidate, index, call, wish, true)
                && candidate.endpoint.breaking.may(now)
        };
        let with = |holds: &dyn Fn(&Candidate) -> bool| {
            let may = |index: usize| {
                let candidate = self.candidates.get(index);
                candidate.is_some_and(|candidate| holds(candidate) && can(index, candidate))
            };
            let ask = PickRequest {
                now,
                random,
                key: wish.key,
                may: &may,
            };
            self.within(call, wish, &ask)
        };
        let is_in = |candidate: &Candidate| !candidate.endpoint.is_ejected();
        let is_new = |candidate: &Candidate| !wish.tried.contains(&candidate.endpoint.number);
        let mut picked = None;
        if wish.elsewhere && !wish.tried.is_empty() {
            picked = with(&|index| is_in(index) && is_new(index));
        }
        if let Some((pick, is_out)) = picked.or_else(|| with(&is_in)) {
            return Some((pick, is_out, false));
        }
        // One that is ejected beside nobody is better than none.
        with(&|_| true).map(|(pick, is_out)| (pick, is_out, true))
    }

    /// A pick within the preferred subset, or within all where that has nobody.
    fn within(&self, call: &Call, wish: &Wish, ask: &PickRequest<'_>) -> Option<(Pick, bool)> {
        let Some(subset) = &wish.subset else {
            return self.ask_balancer(ask, call).map(|pick| (pick, false));
        };
        let matches = |index| self.set.get(index).is_some_and(|m| subset.matches(m));
        let may = |index| matches(index) && (ask.may)(index);
        if let Some(pick) = self.ask_balancer(&PickRequest { may: &may, ..*ask }, call) {
            return Some((pick, false));
        }
        self.ask_balancer(ask, call).map(|pick| (pick, true))
    }

    fn ask_balancer(&self, ask: &PickRequest<'_>, call: &Call) -> Option<Pick> {
        match &self.balancer {
            Balancer::Placed(balancer) => balancer.place(ask, call),
            Balancer::Native(balancer) => balancer.pick(ask).map(|index| Pick {
                index,
                by: Picker::Native,
            }),
        }
    }

    /// Whether the instance is what the caller may use and asks for.
    fn suits(
        &self,
        candidate: &Candidate,
        index: usize,
        call: &Call,
        wish: &Wish,
        with_subset: bool,
    ) -> bool {
        let entry = &candidate.record.entry;
        is_permitted(&entry.permissions, call)
            && (candidate.is_local() || !self.stays_here(call))
            && (wish.version.as_ref()).is_none_or(|range| range.accepts(entry.version.as_ref()))
            && (!with_subset || !self.policy.subset.is_required || self.is_in_subset(index, wish))
    }

    /// Whether the call may not go on to another gateway: one has sent it here, to an instance of
    /// this one. Two that pass a call to and fro would balance nothing.
    fn stays_here(&self, call: &Call) -> bool {
        let context = &call.context;
        let is_passed_on = context.depth > 0 && context.peer.transport != Transport::Plugin;
        is_passed_on && self.candidates.iter().any(Candidate::is_local)
    }

    fn is_in_subset(&self, index: usize, wish: &Wish) -> bool {
        let member = self.set.get(index);
        (wish.subset.as_ref()).is_none_or(|subset| member.is_some_and(|m| subset.matches(m)))
    }

    fn nobody(&self, call: &Call, wish: &Wish, now: Instant) -> Nobody {
        if self.candidates.is_empty() {
            return Nobody::Empty;
        }
        let visible =
            |candidate: &&Candidate| is_permitted(&candidate.record.entry.permissions, call);
        if !self.candidates.iter().any(|candidate| visible(&candidate)) {
            return Nobody::Hidden;
        }
        let suiting = |with_subset| {
            let candidates = self.candidates.iter().enumerate();
            candidates.filter(move |(index, candidate)| {
                self.suits(candidate, *index, call, wish, with_subset)
            })
        };
        if suiting(false).next().is_none() {
            return Nobody::Version;
        }
        if suiting(true).next().is_none() {
            return Nobody::Subset;
        }
        let mut retry_after = Duration::MAX;
        let mut names = Vec::new();
        for (_, candidate) in suiting(true) {
            names.push(candidate.endpoint.name().clone());
            retry_after = retry_after.min(candidate.endpoint.breaking.wait(now));
        }
        Nobody::Open { names, retry_after }
    }

    /// Whether `method` may be repeated.
    pub(super) fn is_idempotent(&self, method: &Text) -> bool {
        let patterns = &self.policy.idempotent;
        self.idempotent.binary_search(method).is_ok()
            || patterns.iter().any(|pattern| pattern.matches(method))
    }
}

impl Candidate {
    /// It is a plugin of this gateway.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.record.key.owner, Owner::Local(_))
    }
}

impl Balancer {
    pub(super) fn native(&self) -> &dyn Balance {
        match self {
            Self::Native(balancer) => &**balancer,
            Self::Placed(balancer) => &**balancer,
        }
    }
}

impl fmt::Debug for ClusterSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSnapshot")
            .field("service", &self.service)
            .field("places", &self.candidates.len())
            .finish_non_exhaustive()
    }
}

/// A caller needs one of the permissions that an entry asks for; roles are what it has.
fn is_permitted(permissions: &BTreeSet<Text>, call: &Call) -> bool {
    if permissions.is_empty() {
        return true;
    }
    let principal = call.context.principal.as_ref();
    principal.is_some_and(|principal| {
        principal
            .roles
            .iter()
            .any(|role| permissions.contains(role))
    })
}
