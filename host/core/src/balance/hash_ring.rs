//! By key: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016).
//!
//! Each member stands at many points of a ring of 2^64 places; a key belongs to the first member at
//! or after its own place. A member that leaves takes only its points along, so that only its own
//! keys move; a member that may not be picked is passed over in the same way.
//!
//! **Points.** A member's points follow from its id alone; how many it has follows from its weight:
//! `POINTS * weight / unit`, at least one, where `unit` is the largest weight of the set rounded up
//! to a power of two. The heaviest member has 256 to 512 points, so that equal members differ by
//! some 5 % in share. The rounding keeps the others' points where they are when weights change,
//! unless the largest weight passes a power of two. A set of more than 512 members has fewer points
//! each.
//!
//! **Bound.** No member takes a call that would lift it above `ceil(factor * average)`, where
//! average is its share by weight of all calls in flight, this one included. Who is full passes the
//! call on clockwise. The bound counts members that may be picked; calls in flight elsewhere are
//! not known. Weights count in full from the start here: slow start would move keys as time passes.

use std::sync::Arc;

use super::{Balance, Member, PickRequest, Set, hash};

/// Points of a member of the largest weight. More make shares more even and the ring longer: the
/// deviation is one part in the root of this.
const POINTS: u64 = 512;
/// Points of all members together: 3 MB.
const POINTS_ALL: u64 = 1 << 18;
/// Points looked at before the search goes by members. With half of the members full, one pick in
/// 2^64 comes so far; only sets that are nearly all full or down do so often.
const WALK: usize = 64;

pub(super) struct HashRing {
    set: Arc<Set>,
    /// Places in rising order, and the member at each.
    places: Box<[u64]>,
    owners: Box<[usize]>,
    /// Percent; `None` does not bound.
    load_factor_percent: Option<u32>,
}

/// What a member may bear in this pick.
struct Bound {
    numerator: u128,
    denominator: u128,
}

impl HashRing {
    pub(super) fn new(set: Arc<Set>, load_factor_percent: Option<u32>) -> Self {
        let (places, owners) = points(&set).into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        Self {
            set,
            places: places.into(),
            owners: owners.into(),
            load_factor_percent,
        }
    }

    /// The members clockwise from `place`, as often as they have points there.
    fn clockwise(&self, place: u64) -> impl Iterator<Item = usize> {
        let start = self.places.partition_point(|point| *point < place);
        let (before, after) = self.owners.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).copied()
    }

    fn bound(&self, ask: &PickRequest<'_>) -> Option<Bound> {
        let percent = self.load_factor_percent?;
        let mut n_calls = 1_u128;
        let mut weights = 0_u128;
        for (member_idx, member) in self.set.members().iter().enumerate() {
            if member.weight > 0 && ask.may(member_idx) {
                n_calls += u128::from(member.load.in_flight());
                weights += u128::from(member.weight);
            }
        }
        Some(Bound {
            // A factor under 1 would leave a call nowhere to go.
            numerator: n_calls * u128::from(percent.max(100)),
            denominator: weights * 100,
        })
    }

    /// Stands for the rest of the walk, without its length: of the members that fit, the one whose
    /// id and the key give the largest number, whatever it weighs.
    fn search(&self, key: u64, fits: impl Fn(usize, &Member) -> bool) -> Option<usize> {
        let members = self.set.members().iter().enumerate();
        let fitting = members.filter(|(member_idx, member)| fits(*member_idx, member));
        fitting
            .max_by_key(|(_, member)| hash::mix(key ^ hash(member.id.as_bytes())))
            .map(|(member_idx, _)| member_idx)
    }
}

impl Balance for HashRing {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let key = hash::mix(ask.key.unwrap_or(ask.random));
        let bound = self.load_factor_percent.is_some();
        // Its bound is at least one call, so that the others need not be counted.
        let is_free = |member: &Member| !bound || member.load.in_flight() == 0;
        let owner = self.clockwise(key).take(WALK).find(|idx| ask.may(*idx));
        if let Some(owner) = owner
            && is_free(self.set.get(owner)?)
        {
            return Some(owner);
        }
        let bound = self.bound(ask);
        let fits = |member_idx: usize, member: &Member| {
            let has_room = bound.as_ref().is_none_or(|bound| bound.has_room(member));
            member.weight > 0 && has_room && ask.may(member_idx)
        };
        let fits_at = |idx: &usize| self.set.get(*idx).is_some_and(|member| fits(*idx, member));
        let found = self.clockwise(key).take(WALK).find(fits_at);
        // While calls end and begin beside this one a bound may hold for nobody.
        found
            .or_else(|| self.search(key, fits))
            .or(owner)
            .or_else(|| self.set.any(key, ask))
    }
}

impl Bound {
    /// Whether one call more is within `ceil(numerator * weight / denominator)`. A whole number is
    /// below a quotient rounded up exactly if it is below the quotient, which needs no division.
    fn has_room(&self, member: &Member) -> bool {
        let in_flight = u128::from(member.load.in_flight());
        in_flight * self.denominator < self.numerator * u128::from(member.weight)
    }
}

/// The ring's points in rising order; a place that two members share goes to the lower index.
fn points(set: &Set) -> Vec<(u64, usize)> {
    let heaviest = set.members().iter().map(|member| member.weight).max();
    let unit = u64::from(heaviest.unwrap_or(0)).next_power_of_two();
    let n_members = (set.len() as u64).max(1).next_power_of_two();
    let most = POINTS.min(POINTS_ALL / n_members).max(1);
    let mut points = Vec::new();
    for (member_idx, member) in set.members().iter().enumerate() {
        let seed = hash(member.id.as_bytes());
        let n_points = (most * u64::from(member.weight)).div_ceil(unit);
        points.extend((0..n_points).map(|step| (hash::nth(seed, step), member_idx)));
    }
    points.sort_unstable();
    points.dedup_by_key(|(place, _)| *place);
    points
}

#[cfg(test)]
mod tests;
