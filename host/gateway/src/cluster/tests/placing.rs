//! A balancer that is a plugin.

use std::sync::Arc;

use parking_lot::Mutex;
use postern_core::{
    Call, Kind,
    balance::{Balance, BalancerMemory, PickRequest, Set},
};

use super::{
    super::{BalancerSource, Pick, Picker, PlacedBalance, Verdict},
    fixture::{Does, Fixture},
};

/// Picks the last member, and nobody for the method `Left`.
struct Last {
    set: Arc<Set>,
    fallback: Box<dyn Balance>,
    told: Arc<Mutex<Vec<(usize, Verdict)>>>,
}

#[derive(Default)]
struct Source {
    is_there: Mutex<bool>,
    told: Arc<Mutex<Vec<(usize, Verdict)>>>,
}

impl Balance for Last {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        (0..self.set.len()).rev().find(|index| (ask.may)(*index))
    }

    fn memory(&self) -> BalancerMemory {
        self.fallback.memory()
    }
}

impl PlacedBalance for Last {
    fn place(&self, ask: &PickRequest<'_>, call: &Call) -> Option<Pick> {
        let (picked, by) = match &*call.method {
            "Left" => (self.fallback.pick(ask), Picker::Native),
            _ => (self.pick(ask), Picker::Component),
        };
        picked.map(|index| Pick { index, by })
    }

    fn done(&self, index: usize, verdict: Verdict, _: u64) {
        self.told.lock().push((index, verdict));
    }
}

impl BalancerSource for Source {
    fn balancer(
        &self,
        plugin: &str,
        _service: &str,
        set: &Arc<Set>,
        fallback: Box<dyn Balance>,
    ) -> Option<Arc<dyn PlacedBalance>> {
        assert_eq!(plugin, "last");
        let balancer = Last {
            set: Arc::clone(set),
            fallback,
            told: Arc::clone(&self.told),
        };
        self.is_there.lock().then(|| Arc::new(balancer) as _)
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_picks_is_told_and_is_replaced_where_it_does_not() {
    let source = Arc::new(Source::default());
    let change = |service: &mut super::super::ServicePolicy| {
        service.component = Some("last".into());
    };
    let mut fixture = Fixture::with(&["a", "b", "c"], Some(source.clone()), change, |_, _| {});
    fixture.calls("Get", 3).await;
    assert_eq!(
        fixture.n_calls("c"),
        1,
        "the native balancer decides meanwhile"
    );
    *source.is_there.lock() = true;
    fixture.rebuild();
    fixture.calls("Get", 10).await;
    assert_eq!(fixture.n_calls("c"), 11);
    fixture.tell("c", Does::Fail(Kind::Internal));
    fixture.calls("Get", 1).await;
    assert_eq!(source.told.lock().last(), Some(&(2, Verdict::Failure)));
    let n_told = source.told.lock().len();
    fixture.tell("c", Does::Answer);
    fixture.calls("Left", 3).await;
    assert_eq!(
        source.told.lock().len(),
        n_told,
        "others' picks are not told"
    );
    let numbers = fixture.numbers();
    assert_eq!((numbers.picks["component"], numbers.picks_left), (11, 3));
    assert_eq!(numbers.balancer, "plugin:last");
}
