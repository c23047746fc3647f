//! Places calls where they are cheapest: cost is the time that an instance takes for a call,
//! smoothed, times the price that its owner asks. A small share of calls goes anywhere, so that an
//! instance that was dear is found to be cheap again.

use std::{collections::BTreeMap, time::Duration};

use postern_guest::{Balancer, Candidates, Failure, Instance, Outcome, Plugin, Result, config};

/// Share of the newest time in the smoothed one: the last ten calls make up nine tenths of it.
const SMOOTHING: f64 = 0.2;
/// A failed call costs as much as so many that did not.
const FAILURE_FACTOR_DEFAULT: f64 = 10.0;
/// Calls in a hundred that go anywhere.
const EXPLORE_PERCENT_DEFAULT: u8 = 5;
const PRICE_DEFAULT: f64 = 1.0;
/// Less than a microsecond costs as much, so that price counts there, too.
const MICROS_MIN: f64 = 1.0;

struct CostBalancer {
    explore_percent: u8,
    failure_factor: f64,
    members: Vec<Member>,
}

/// An instance that takes calls, or does not (weight 0).
#[derive(Debug, Clone, PartialEq)]
struct Member {
    id: String,
    takes_calls: bool,
    price: f64,
    /// Smoothed microseconds per call; `None` before the first.
    micros: Option<f64>,
}

impl Plugin for CostBalancer {
    fn start() -> Result<Self> {
        let explore_percent = config::get("explore-percent")?.unwrap_or(EXPLORE_PERCENT_DEFAULT);
        if explore_percent > 100 {
            let message = format!("config key `explore-percent` is {explore_percent}, at most 100");
            return Err(Failure::failed_precondition(message));
        }
        let failure_factor = config::get("failure-factor")?.unwrap_or(FAILURE_FACTOR_DEFAULT);
        if !(1.0..=1e6).contains(&failure_factor) {
            let message =
                format!("config key `failure-factor` is {failure_factor}, not within 1 to 1000000");
            return Err(Failure::failed_precondition(message));
        }
        Ok(Self {
            explore_percent,
            failure_factor,
            members: Vec::new(),
        })
    }
}

impl Balancer for CostBalancer {
    /// What was measured of an instance stays with its name.
    fn update(&mut self, instances: Vec<Instance>) {
        let known = self.members.drain(..);
        let known: BTreeMap<_, _> = known.map(|member| (member.id, member.micros)).collect();
        let member = |instance: Instance| Member {
            takes_calls: instance.weight > 0,
            price: price(&instance),
            micros: known.get(&instance.id).copied().flatten(),
            id: instance.id,
        };
        self.members = instances.into_iter().map(member).collect();
    }

    fn pick(&mut self, _key: u64, candidates: &Candidates) -> Option<usize> {
        let usable = || {
            let members = self.members.iter().enumerate();
            members.filter(|(index, member)| member.takes_calls && candidates.usable(*index))
        };
        let random = candidates.random();
        // The upper half of the number decides, the lower one chooses.
        if (random >> 32) % 100 < u64::from(self.explore_percent) {
            return nth(usable().map(|(index, _)| index), random);
        }
        let costs = || usable().filter_map(|(_, member)| member.cost());
        let least = costs().fold(f64::INFINITY, f64::min);
        // One that was not measured yet is taken for a cheap one: it has to be tried to be known.
        let cheapest =
            usable().filter(|(_, member)| member.cost().is_none_or(|cost| cost <= least));
        nth(cheapest.map(|(index, _)| index), random)
    }

    fn done(&mut self, index: usize, outcome: Outcome, time: Duration) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        let took = (time.as_secs_f64() * 1e6).max(MICROS_MIN);
        let sample = match outcome {
            Outcome::Success => took,
            // A quick failure is not to look cheap: it costs no less than a call that succeeded.
            Outcome::Failure | Outcome::Timeout => {
                took.max(member.micros.unwrap_or(took)) * self.failure_factor
            }
        };
        let smoothed = |before: f64| SMOOTHING.mul_add(sample - before, before);
        member.micros = Some(member.micros.map_or(sample, smoothed));
    }
}

postern_guest::export!(CostBalancer: Balancer);

impl Member {
    fn cost(&self) -> Option<f64> {
        self.micros.map(|micros| micros * self.price)
    }
}

/// What the owner asks for a microsecond; anything but a positive number is 1.
fn price(instance: &Instance) -> f64 {
    let price = instance
        .metadata("price")
        .and_then(|text| text.parse().ok());
    let is_price = |price: &f64| price.is_finite() && *price > 0.0;
    price.filter(is_price).unwrap_or(PRICE_DEFAULT)
}

/// One of `indices`, chosen by the lower half of a random number.
fn nth(mut indices: impl Iterator<Item = usize> + Clone, random: u64) -> Option<usize> {
    let n_indices = indices.clone().count() as u64;
    let chosen = (random & u64::from(u32::MAX)).checked_rem(n_indices)?;
    indices.nth(usize::try_from(chosen).ok()?)
}

#[cfg(test)]
mod tests;
