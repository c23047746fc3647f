//! Several services in one component, called as the gateway calls it.

use postern_guest::{
    Failure, Health, Incoming, Kind, Octets, Service as _, fake::Host, services::worse,
};
use serde::Deserialize;

struct Users;
struct Groups;

#[derive(Deserialize)]
struct Id {
    id: u64,
}

#[postern_guest::service(part)]
impl Users {
    fn get(Id { id }: Id) -> u64 {
        id
    }
}

#[postern_guest::service(name = "acme.Groups", part)]
impl Groups {
    fn get(name: String) -> String {
        name
    }

    fn total(numbers: Incoming<u64>) -> Result<u64, Failure> {
        numbers.sum()
    }

    #[health]
    fn check() -> Health {
        Health::Degraded("slow".to_owned())
    }
}

postern_guest::services!(Users, Groups);

#[test]
fn a_method_of_one_name_is_of_the_service_that_is_called() {
    let host = Host::new();
    let call = |message: &str| host.call::<Users>("Get", message);
    assert_eq!(call(r#"{"id":7}"#), Ok(Octets::from("7")));
    let name = host.call::<Groups>("Get", "\"staff\"");
    assert_eq!(name, Ok(Octets::from("\"staff\"")));
    assert_eq!((Users::NAME, Groups::NAME), ("users", "acme.Groups"));
}

#[test]
fn a_component_serves_as_well_as_its_worst_service() {
    let (degraded, absent) = (
        Health::Degraded("slow".to_owned()),
        Health::NotServing("away".to_owned()),
    );
    for (one, other, expected) in [
        (Health::Serving, Health::Serving, Health::Serving),
        (Health::Serving, degraded.clone(), degraded.clone()),
        (degraded.clone(), Health::Serving, degraded.clone()),
        (degraded.clone(), absent.clone(), absent.clone()),
        (absent.clone(), degraded.clone(), absent.clone()),
    ] {
        assert_eq!(
            worse(one.clone(), other.clone()),
            expected,
            "{one:?}, {other:?}"
        );
    }
}

#[test]
fn a_service_that_is_not_listed_is_named_beside_those_that_are() {
    use postern_guest::services::{Described, unknown_service};
    let known = [Described::of::<Users>(), Described::of::<Groups>()];
    let failure = unknown_service("acme.Users", &known);
    let text = "no service `acme.Users` here; there are users, acme.Groups";
    assert_eq!((failure.kind, &*failure.message), (Kind::NotFound, text));
}
