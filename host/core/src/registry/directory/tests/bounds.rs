//! How many entries there may be, at the edge and one past it.

use super::*;

#[test]
fn one_owner_has_its_limit() {
    let mut directory = small();
    let owner = provider("p");
    for n in 0..3 {
        register(&mut directory, 0, &owner, plain(&n.to_string())).expect("below the limit");
    }
    let refused = register(&mut directory, 0, &owner, plain("3"));
    assert_eq!(refused, Err(RegisterError::OwnerFull { limit: 3 }));
    // What is there may still be renewed, changed and replaced.
    register(&mut directory, 0, &owner, plain("0")).expect("renewed");
    let heavier = entry("1", |draft| draft.weight = 1);
    register(&mut directory, 0, &owner, heavier).expect("changed");
    directory
        .unregister(&owner, &InstanceId::new("2"), Incarnation(0))
        .expect("held");
    register(&mut directory, 0, &owner, plain("3")).expect("room again");
    check(&directory);
}

#[test]
fn strangers_leave_room_for_the_operator() {
    let mut directory = small();
    for n in 0..5 {
        let owner = provider(&n.to_string());
        register(&mut directory, 0, &owner, plain(&n.to_string())).expect("below the limit");
    }
    let refused = register(&mut directory, 0, &provider("5"), plain("5"));
    assert_eq!(refused, Err(RegisterError::Full { limit: 5 }));
    for (n, owner) in [Owner::Config, Owner::Local("a".into())]
        .into_iter()
        .enumerate()
    {
        directory
            .register(at(0), &owner, plain(&format!("o{n}")), None)
            .expect("reserved");
    }
    let refused = directory.register(at(0), &Owner::Config, plain("o2"), None);
    assert_eq!(refused, Err(RegisterError::Full { limit: 7 }));
    // Taking the place of a stranger needs no room.
    directory
        .register(at(0), &Owner::Config, plain("0"), None)
        .expect("taken over");
    assert_eq!(directory.stats().entries, 7);
    check(&directory);
}

#[test]
fn what_the_operator_has_beyond_its_reserve_leaves_less_for_others() {
    let mut directory = small();
    for (n, owner) in ["a", "b"].iter().enumerate() {
        for m in 0..3 {
            let owner = Owner::Local(Text::from(*owner));
            let entry = plain(&format!("{n}{m}"));
            directory
                .register(at(0), &owner, entry, None)
                .expect("below the limit");
        }
    }
    register(&mut directory, 0, &provider("p"), plain("p")).expect("the last");
    let refused = register(&mut directory, 0, &provider("q"), plain("q"));
    assert_eq!(refused, Err(RegisterError::Full { limit: 5 }));
    check(&directory);
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused_in_part_and_fetched_again() {
    let mut directory = small();
    let name = Text::from("gw");
    directory.on_peer_connected(at(0), &name);
    let told = |n: usize| -> Vec<ToldEntry> {
        let entries = (0..n).map(|n| plain(&n.to_string()));
        entries
            .map(|entry| ToldEntry { entry, ttl: None })
            .collect()
    };
    let cursor = Cursor {
        epoch: 9,
        revision: 4,
    };
    let replaced = directory
        .on_peer_snapshot(at(0), &name, told(5), cursor)
        .expect("connected");
    let refused = vec![(InstanceId::new("4"), RegisterError::OwnerFull { limit: 4 })];
    assert_eq!((replaced.added, replaced.refused), (4, refused));
    assert_eq!(directory.peer(&name).expect("known").cursor, None);
    directory
        .on_peer_snapshot(at(1), &name, told(4), cursor)
        .expect("connected");
    assert_eq!(directory.peer(&name).expect("known").cursor, Some(cursor));
    check(&directory);
}

#[test]
fn a_refused_registration_changes_nothing() {
    let mut directory = small();
    for n in 0..3 {
        directory
            .register(at(0), &Owner::Config, plain(&n.to_string()), None)
            .expect("room");
    }
    register(&mut directory, 0, &provider("p"), plain("x")).expect("room");
    let before = (directory.cursor(), found(&directory));
    // The operator's limit is reached, so the stranger keeps the name.
    let refused = directory.register(at(0), &Owner::Config, plain("x"), None);
    assert_eq!(refused, Err(RegisterError::OwnerFull { limit: 3 }));
    assert_eq!((directory.cursor(), found(&directory)), before);
    check(&directory);
}

/// Three entries an owner, four a peer, seven in all, two of them reserved.
fn small() -> Directory {
    let config = DirectoryConfig {
        entries_max: 7,
        entries_reserved: 2,
        entries_per_owner_max: 3,
        entries_per_peer_max: 4,
        ..DirectoryConfig::default()
    };
    Directory::new(config, 1).expect("good settings")
}
