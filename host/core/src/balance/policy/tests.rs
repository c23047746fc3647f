//! Names.

use super::*;

#[test]
fn every_policy_is_found_by_its_name() {
    for policy in Policy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
    }
}

#[test]
fn names_of_the_guide_are_understood() {
    for (name, expected) in [
        ("ROUND_ROBIN", Policy::RoundRobin),
        ("WEIGHTED", Policy::Weighted),
        ("LEAST_CONNECTIONS", Policy::LeastConnections),
    ] {
        assert_eq!(name.parse(), Ok(expected));
    }
}

#[test]
fn an_unknown_name_is_refused_with_those_that_there_are() {
    let error = Policy::from_str("random").expect_err("no such policy");
    let expected = "no balancing policy \"random\"; there are round-robin, weighted, \
                    least-connections, p2c-ewma, hash, sticky";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn only_two_policies_look_at_the_key() {
    let by_key = Policy::ALL.into_iter().filter(Policy::is_by_key);
    let names: Vec<_> = by_key.map(|policy| policy.name()).collect();
    assert_eq!(names, ["hash", "sticky"]);
}
