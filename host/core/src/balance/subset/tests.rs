//! Who matches, and who is picked when nobody does.

use std::sync::Arc;

use super::*;
use crate::balance::{
    Policy,
    tests::{build, counts, members},
};
use crate::{balance::tests::ask, testing::Rng};

/// Three members: in the regions eu, us, eu; of versions 1, 1, 2.
fn three() -> Arc<Set> {
    let mut members = members(&[1; 3]);
    for (member, (region, version)) in
        members
            .iter_mut()
            .zip([("eu", "1"), ("us", "1"), ("eu", "2")])
    {
        member.metadata = [("region".into(), region.into())].into();
        member.version = Some(version.into());
    }
    Arc::new(Set::new(members))
}

fn subset(metadata: &[(&str, &str)], version: Option<&str>) -> Subset {
    let metadata = metadata.iter();
    Subset {
        metadata: metadata
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        version: version.map(Text::from),
    }
}

fn check(metadata: &[(&str, &str)], version: Option<&str>, expected: &[&str]) {
    let found = three().matching(&subset(metadata, version));
    let ids: Vec<_> = found
        .members()
        .iter()
        .map(|member| member.id.to_string())
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn matches_by_metadata_and_version() {
    check(&[], None, &["a", "b", "c"]);
    check(&[("region", "eu")], None, &["a", "c"]);
    check(&[("region", "eu")], Some("2"), &["c"]);
    check(&[], Some("1"), &["a", "b"]);
    check(&[("region", "e")], None, &[]);
    check(&[("region", "eu"), ("tier", "gold")], None, &[]);
    check(&[], Some("3"), &[]);
}

#[test]
fn a_subset_shares_the_loads() {
    let set = three();
    let part = set.matching(&subset(&[("region", "us")], None));
    let _call = part.members()[0].begin();
    assert_eq!(set.members()[1].load.in_flight(), 1);
    let balance = build(Policy::RoundRobin, &Arc::new(part));
    assert_eq!(counts(&*balance, 1, 3), [3]);
}

#[test]
fn the_preferred_region_comes_first_and_anybody_after_it() {
    let set = three();
    let balance = build(Policy::RoundRobin, &set);
    let mut rng = Rng::new(1);
    let mut pick = |region, may: &dyn Fn(usize) -> bool| {
        let ask = ask(&mut rng, may);
        subset(&[("region", region)], None).prefer(&set, &*balance, &ask)
    };
    let eu = [(); 4].map(|()| pick("eu", &|_| true).expect("somebody"));
    assert_eq!(eu, [0, 2, 0, 2]);
    assert_eq!(pick("us", &|_| true), Some(1));
    assert_eq!(pick("us", &|member_idx| member_idx == 2), Some(2));
    assert!(pick("asia", &|_| true).is_some());
    assert_eq!(pick("eu", &|_| false), None);
}
