//! A plugin of which two versions get calls: which of the two gets each. Stands in the place of the plugin's
//! handler as long as one is tried, so that a lone version is called as if there were none.

use std::{collections::BTreeSet, sync::Arc};

use postern_core::{BoxFuture, Call, Error, Handler, Reply, Text};
use postern_system::random;

use super::{
    meter::{Arm, Meter},
    shadow::{Shadow, StateForCopy},
};
use crate::{
    cluster::HashOn,
    config::{Canary, CanaryMode, HeaderMatch},
};

/// Two versions and how calls are divided between them.
pub(crate) struct VersionSplit {
    stable: Arc<dyn Handler>,
    canary: Arc<dyn Handler>,
    /// Services that the canary answers for. Calls of others are the stable version's.
    services: BTreeSet<Text>,
    share: Share,
    meter: Arc<Meter>,
    /// There where the canary gets copies.
    shadow: Option<Shadow>,
}

/// Which calls the canary gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    /// Of 2^64.
    weight: u64,
    header: Option<HeaderMatch>,
    sticky: Option<HashOn>,
}

impl VersionSplit {
    /// # Panics
    /// For a shadow, outside of a tokio runtime.
    pub(crate) fn new(
        (stable, canary): (Arc<dyn Handler>, Arc<dyn Handler>),
        services: BTreeSet<Text>,
        settings: &Canary,
        (label, state): (&str, StateForCopy),
    ) -> Self {
        let meter = Meter::new();
        let shadow = match settings.mode {
            CanaryMode::Split => None,
            CanaryMode::Shadow => {
                let names = settings.compare_headers.iter();
                let names: Vec<Text> = names.map(|name| name.as_str().into()).collect();
                let calls_max = usize::try_from(settings.shadow_calls).unwrap_or(usize::MAX);
                let canary = Arc::clone(&canary);
                Some(Shadow::new(
                    (canary, state),
                    Arc::clone(&meter),
                    names,
                    calls_max,
                    label,
                ))
            }
        };
        Self {
            stable,
            canary,
            services,
            share: Share::new(settings),
            meter,
            shadow,
        }
    }

    pub(crate) const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(crate) const fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    fn is_picked(&self, call: &Call) -> bool {
        self.services.contains(&call.service) && self.share.has(call)
    }

    fn arm(&self, call: &Call) -> Arm {
        match self.shadow.is_none() && self.is_picked(call) {
            true => Arm::Canary,
            false => Arm::Stable,
        }
    }

    const fn handler(&self, arm: Arm) -> &Arc<dyn Handler> {
        match arm {
            Arm::Stable => &self.stable,
            Arm::Canary => &self.canary,
        }
    }

    fn answer(&self, arm: Arm, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let metered = self.meter.begin(arm, call.context.deadline);
        let copy = self.shadow.as_ref().filter(|_| self.is_picked(&call));
        let copied = copy.and_then(|shadow| shadow.copy(&call));
        let answering = metered.watch(self.handler(arm).call(call));
        match copied {
            Some(copied) => copied.watch(answering),
            None => answering,
        }
    }
}

impl Handler for VersionSplit {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.answer(self.arm(&call), call)
    }

    /// Calls of each version stay together, so that it may answer them in one entry.
    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        if self.shadow.is_some() {
            return calls.into_iter().map(|call| self.call(call)).collect();
        }
        let arms: Vec<Arm> = calls.iter().map(|call| self.arm(call)).collect();
        let metered: Vec<_> = calls
            .iter()
            .zip(&arms)
            .map(|(call, arm)| self.meter.begin(*arm, call.context.deadline))
            .collect();
        let (mut of_stable, mut of_canary) = (Vec::new(), Vec::new());
        for (call, arm) in calls.into_iter().zip(&arms) {
            match arm {
                Arm::Stable => of_stable.push(call),
                Arm::Canary => of_canary.push(call),
            }
        }
        let answer = |arm, calls: Vec<Call>| match calls.is_empty() {
            true => Vec::new(),
            false => self.handler(arm).call_batch(calls),
        };
        let mut stable = answer(Arm::Stable, of_stable).into_iter();
        let mut canary = answer(Arm::Canary, of_canary).into_iter();
        let mut answers = Vec::with_capacity(arms.len());
        for (arm, metered) in arms.into_iter().zip(metered) {
            let next = match arm {
                Arm::Stable => stable.next(),
                Arm::Canary => canary.next(),
            };
            answers.push(match next {
                Some(answering) => metered.watch(answering),
                None => metered.watch(Box::pin(std::future::ready(Err(unanswered())))),
            });
        }
        answers
    }
}

/// A handler gives as many answers as it gets calls.
fn unanswered() -> Error {
    Error::internal("a batch was answered with fewer replies than it had calls")
}

impl Share {
    fn new(settings: &Canary) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of 0 to 0.9 of 2^64"
        )]
        let weight = (settings.weight.share() * 2_f64.powi(64)) as u64;
        Self {
            weight,
            header: settings.header.clone(),
            sticky: settings.sticky.as_ref().map(|key| key.0.clone()),
        }
    }

    fn has(&self, call: &Call) -> bool {
        if self
            .header
            .as_ref()
            .is_some_and(|header| is_met(header, call))
        {
            return true;
        }
        let key = self.sticky.as_ref().and_then(|sticky| sticky.key(call));
        key.map_or_else(random::even, mix) < self.weight
    }
}

fn is_met(header: &HeaderMatch, call: &Call) -> bool {
    let mut values = call.headers.values(header.name.as_bytes());
    match &header.value {
        None => values.next().is_some(),
        Some(wanted) => values.any(|value| *value == *wanted.as_bytes()),
    }
}

/// Spreads keys anew: balancers go by the same hash, and their instances are not to be the share's.
const fn mix(key: u64) -> u64 {
    let mixed = (key ^ SALT ^ (key >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

const SALT: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use postern_core::{Body, Principal};

    use super::*;
    use crate::config::{Config, Manifest};

    /// Answers with its name, and how many calls came together.
    struct Named(&'static str);

    impl Handler for Named {
        fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
            self.call_batch(vec![call]).remove(0)
        }

        fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
            let n_calls = calls.len();
            let answer = |call: Call| -> BoxFuture<Result<Reply, Error>> {
                let text = format!("{} {} of {n_calls}", self.0, call.method);
                Box::pin(std::future::ready(Ok(Reply::one(text))))
            };
            calls.into_iter().map(answer).collect()
        }
    }

    fn split(canary: &str) -> VersionSplit {
        let text = format!("[canary]\n{canary}\n");
        let manifest = Manifest::parse("m", &text, &Config::default()).expect("valid");
        let settings = manifest.canary.0.expect("a table");
        let handlers = (Arc::new(Named("old")) as _, Arc::new(Named("new")) as _);
        let services = ["users".into()].into();
        let state: StateForCopy = Box::new(|| None);
        VersionSplit::new(handlers, services, &settings, ("users@2", state))
    }

    fn text(answering: BoxFuture<Result<Reply, Error>>) -> String {
        let reply = answering.now_or_never().expect("ready").expect("a reply");
        match reply.body {
            Body::One(body) => String::from_utf8_lossy(&body).into_owned(),
            other @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => panic!("{other:?}"),
        }
    }

    fn call(headers: &[(&str, &str)]) -> Call {
        let mut call = Call::unary("users", "x", "");
        for (name, value) in headers {
            call.headers.push(*name, *value).expect("short");
        }
        call
    }

    #[test]
    fn a_share_goes_to_the_new_version_by_chance() {
        let split = split("weight = \"25%\"");
        let n_new = (0..4000).filter(|_| text(split.call(call(&[]))).starts_with("new"));
        // 1,000 are expected; 160 more or less are six standard deviations.
        let n_new = n_new.count();
        assert!((840..=1160).contains(&n_new), "{n_new}");
        let counts = [Arm::Stable, Arm::Canary].map(|arm| split.meter().counts(arm).calls);
        assert_eq!(counts, [4000 - n_new as u64, n_new as u64]);
    }

    #[test]
    fn a_header_leads_to_the_new_version_whatever_its_weight() {
        let exact = split("weight = \"0%\"\nheader = \"x-canary: yes\"");
        let any = split("weight = \"0%\"\nheader = \"x-canary\"");
        for (split, headers, expected) in [
            (&exact, &[][..], "old"),
            (&exact, &[("x-canary", "yes")][..], "new"),
            (&exact, &[("x-canary", "no")][..], "old"),
            (
                &exact,
                &[("x-canary", "no"), ("x-canary", "yes")][..],
                "new",
            ),
            (&any, &[("x-canary", "no")][..], "new"),
            (&any, &[][..], "old"),
        ] {
            let answer = text(split.call(call(headers)));
            assert!(answer.starts_with(expected), "{headers:?}: {answer}");
        }
    }

    #[test]
    fn a_service_that_the_new_version_lacks_stays_with_the_old_one() {
        let split = split("weight = \"0%\"\nheader = \"x-canary\"");
        let mut call = call(&[("x-canary", "1")]);
        call.service = "groups".into();
        assert!(text(split.call(call)).starts_with("old"));
    }

    #[test]
    fn a_caller_that_sticks_meets_one_version_only() {
        let split = split("weight = \"50%\"\nsticky = \"principal\"");
        let answer = |name: usize| {
            let mut call = call(&[]);
            call.context.principal = Some(Arc::new(Principal {
                name: name.to_string().into(),
                ..Principal::default()
            }));
            text(split.call(call))
        };
        let first: Vec<_> = (0..64).map(answer).collect();
        assert!((0..8).all(|_| (0..64).map(answer).eq(first.iter().cloned())));
        let n_new = first.iter().filter(|answer| answer.starts_with("new"));
        assert!((8..56).contains(&n_new.count()));
    }

    #[test]
    fn calls_of_a_batch_stay_together_by_version_and_answers_stay_in_order() {
        let split = split("weight = \"0%\"\nheader = \"x-canary\"");
        let named = |method: &str, headers: &[(&str, &str)]| Call {
            method: method.into(),
            ..call(headers)
        };
        let calls = vec![
            named("a", &[]),
            named("b", &[("x-canary", "1")]),
            named("c", &[]),
            named("d", &[]),
        ];
        let answers: Vec<_> = split.call_batch(calls).into_iter().map(text).collect();
        assert_eq!(
            answers,
            ["old a of 3", "new b of 1", "old c of 3", "old d of 3"]
        );
    }
}
