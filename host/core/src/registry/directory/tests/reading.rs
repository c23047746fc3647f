//! What discovery and the snapshot show, and to whom.

use super::*;

#[test]
fn discovery_gives_the_whole_set_in_stable_order() {
    let mut directory = directory();
    for n in [5, 3, 9, 1] {
        let owner = provider(&format!("p{n}"));
        register(&mut directory, 0, &owner, plain(&format!("i{n}"))).expect("new");
    }
    fail(&mut directory, &provider("p3"), "i3");
    for _ in 0..3 {
        assert_eq!(names(&found(&directory)), ["i1", "i3", "i5", "i9"]);
    }
    let of_all = Query {
        caller: Caller::Trusted,
        ..Query::default()
    };
    assert_eq!(directory.discover(&of_all), found(&directory));
}

#[test]
fn a_caller_never_learns_of_what_it_may_not_use() {
    let mut directory = directory();
    let closed = entry("closed", |draft| {
        draft.permissions = ["trade".into()].into()
    });
    let secret = entry("secret", |draft| {
        draft.service = "secret".into();
        draft.permissions = ["trade".into()].into();
    });
    for entry in [closed, secret, plain("open")] {
        directory
            .register(at(0), &Owner::Config, entry, None)
            .expect("new");
    }
    let seen = |held: &[&'static str]| {
        let caller = Caller::Holding(held.iter().map(|name| Text::from_static(name)).collect());
        let query = Query {
            caller,
            ..Query::default()
        };
        let watch = WatchQuery {
            query: query.clone(),
            ..WatchQuery::default()
        };
        let found = directory.watch_snapshot(&watch).records.len();
        let discovered = directory.discover(&query);
        assert_eq!(found, discovered.len());
        names(&discovered)
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(&[]), ["open"]);
    assert_eq!(seen(&["other"]), ["open"]);
    assert_eq!(seen(&["trade"]), ["closed", "open", "secret"]);
}

#[test]
fn versions_select_among_the_instances_of_a_service() {
    let mut directory = directory();
    for (name, version) in [("one", "1.4.0"), ("two", "2.0.0"), ("old", "0.9.0")] {
        let entry = entry(name, |draft| draft.version = Version::parse(version).ok());
        directory
            .register(at(0), &Owner::Config, entry, None)
            .expect("new");
    }
    let snapshot = directory.snapshot();
    let service = snapshot.service(&"s".into()).expect("registered");
    let check = |range: &str, expected: &[&str]| {
        let query = Query {
            version: Some(Range::parse(range).expect(range)),
            ..Query::service("s", Caller::Trusted)
        };
        assert_eq!(names(&directory.discover(&query)), expected);
        assert_eq!(names(&service.select(&query).instances), expected);
    };
    check("1", &["one"]);
    check(">=1", &["one", "two"]);
    check("*", &["old", "one", "two"]);
    check("3", &[]);
}

#[test]
fn a_snapshot_builds_anew_only_what_changed() {
    let mut directory = directory();
    let of =
        |name: &str, service: &'static str| entry(name, |draft| draft.service = service.into());
    directory
        .register(at(0), &Owner::Config, of("a", "x"), None)
        .expect("new");
    directory
        .register(at(0), &Owner::Config, of("b", "y"), None)
        .expect("new");
    assert!(directory.is_changed());
    let first = directory.snapshot();
    assert!(!directory.is_changed());
    assert!(Arc::ptr_eq(&first, &directory.snapshot()));

    directory
        .register(at(1), &Owner::Config, of("c", "y"), None)
        .expect("new");
    let second = directory.snapshot();
    let service = |snapshot: &Snapshot, name: &'static str| {
        Arc::clone(snapshot.service(&name.into()).expect(name))
    };
    assert!(Arc::ptr_eq(&service(&first, "x"), &service(&second, "x")));
    assert_eq!(names(service(&first, "y").all()), ["b"]);
    assert_eq!(names(service(&second, "y").all()), ["b", "c"]);
    assert_eq!((first.revision(), second.revision()), (2, 3));

    // A service that moves leaves nothing behind.
    directory
        .register(at(2), &Owner::Config, of("a", "z"), None)
        .expect("moved");
    let third = directory.snapshot();
    assert!(third.service(&"x".into()).is_none());
    assert_eq!(
        third
            .services()
            .map(|s| s.name().to_string())
            .collect::<Vec<_>>(),
        ["y", "z"]
    );
    check(&directory);
}

#[test]
fn outcomes_reach_the_snapshot_and_flapping_is_let_up_by_time() {
    let mut directory = directory();
    let owner = Owner::Config;
    for name in ["a", "b"] {
        directory
            .register(at(0), &owner, plain(name), None)
            .expect("new");
    }
    let usable = |directory: &mut Directory| {
        let snapshot = directory.snapshot();
        let service = snapshot.service(&"s".into()).expect("registered");
        names(service.usable()).join(" ")
    };
    assert_eq!(usable(&mut directory), "a b");
    fail(&mut directory, &owner, "a");
    assert_eq!(usable(&mut directory), "b");
    succeed(&mut directory, &owner, "a");
    assert_eq!(usable(&mut directory), "a b");
    fail(&mut directory, &owner, "a");
    succeed(&mut directory, &owner, "a");
    assert_eq!(usable(&mut directory), "b");
    assert_eq!(directory.poll_timeout(), Some((at(30), "hold")));
    assert_eq!(directory.poll(at(29)), []);
    assert!(!directory.is_changed());
    assert_eq!(
        directory.poll(at(30)),
        [DirectoryEvent::Recovered(key_of(&owner, "a"))]
    );
    assert_eq!(usable(&mut directory), "a b");
    let unknown = key_of(&owner, "nobody");
    let told = directory.on_outcome(
        at(31),
        &unknown,
        HealthSource::Probe,
        HealthOutcome::Failure,
    );
    assert_eq!(told, None);
}
