//! The service called as the gateway calls it, and the store after changes that were cut off.

use postern_guest::{Failure, Kind, Octets, fake::Host, kv};
use serde_json::{Value, json};

use crate::{User, Users, store};

fn call(method: &str, request: Value) -> Result<Value, Failure> {
    let request = Octets::from(request.to_string());
    // Every call sees the store of this thread's host.
    let reply = <Users as postern_guest::Service>::call(method, request.0)?;
    Ok(serde_json::from_slice(&reply).expect("replies are JSON"))
}

#[track_caller]
fn create(name: &str, email: &str) -> String {
    let user = call("CreateUser", json!({ "name": name, "email": email })).unwrap();
    user["id"].as_str().expect("users have an id").to_owned()
}

#[track_caller]
fn refused(method: &str, request: Value, kind: Kind, text: &str) {
    let failure = call(method, request).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (kind, text));
}

#[test]
fn a_user_is_created_and_found() {
    let host = Host::new();
    let created = call(
        "CreateUser",
        json!({ "name": " Ada ", "email": "ada@example.org" }),
    )
    .unwrap();
    let id = &created["id"];
    let expected = json!({ "id": id, "name": "Ada", "email": "ada@example.org", "revision": 1 });
    assert_eq!(created, expected);
    assert_eq!(call("GetUser", json!({ "id": id })), Ok(expected));
    assert_eq!(host.log()[0].message, "created");
    let unknown = "0".repeat(28);
    let text = format!("no user has id `{unknown}`");
    refused("GetUser", json!({ "id": unknown }), Kind::NotFound, &text);
    refused(
        "GetUser",
        json!({ "id": "../x" }),
        Kind::NotFound,
        "no user has id `../x`",
    );
}

#[test]
fn an_address_belongs_to_one_user() {
    let host = Host::new();
    create("Ada", "ada@example.org");
    let second = json!({ "name": "Eve", "email": "ADA@example.org" });
    let text = "email `ADA@example.org` belongs to another user";
    refused("CreateUser", second, Kind::AlreadyExists, text);
    assert_eq!(host.kv_keys().len(), 2);
}

#[test]
fn bad_requests_are_refused_with_their_value() {
    let _host = Host::new();
    let text = "name of 0 characters is not 1 to 100";
    let request = json!({ "name": "", "email": "ada@example.org" });
    refused("CreateUser", request, Kind::InvalidArgument, text);
    let request = json!({ "name": "Ada", "email": "ada" });
    refused(
        "CreateUser",
        request,
        Kind::InvalidArgument,
        "email `ada` has no `@`",
    );
    let text =
        "message is not a valid `GetUser`: unknown field `name`, expected `id` at line 1 column 7";
    refused(
        "GetUser",
        json!({ "name": "Ada" }),
        Kind::InvalidArgument,
        text,
    );
    let text = "nothing to change: give `name` or `email`";
    refused(
        "UpdateUser",
        json!({ "id": "x" }),
        Kind::InvalidArgument,
        text,
    );
}

#[test]
fn pages_hold_every_user_once_in_order() {
    let _host = Host::new();
    let mut ids: Vec<String> = (0..7).map(|n| create("Ada", &format!("a{n}@b"))).collect();
    ids.sort();
    let mut seen = Vec::new();
    let mut token = Value::Null;
    loop {
        let page = call("ListUsers", json!({ "page_size": 3, "page_token": token })).unwrap();
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 3);
        seen.extend(
            users
                .iter()
                .map(|user| user["id"].as_str().unwrap().to_owned()),
        );
        token = page["next_page_token"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen, ids);
}

#[test]
fn a_page_has_1_to_100_users() {
    let _host = Host::new();
    for (page_size, ok) in [(0, false), (1, true), (100, true), (101, false)] {
        assert_eq!(
            call("ListUsers", json!({ "page_size": page_size })).is_ok(),
            ok,
            "{page_size}"
        );
    }
    assert_eq!(call("ListUsers", json!({})), Ok(json!({ "users": [] })));
}

#[test]
fn an_update_changes_what_it_names_and_moves_the_address() {
    let host = Host::new();
    let id = create("Ada", "ada@example.org");
    let user = call("UpdateUser", json!({ "id": id, "name": "Ada L." })).unwrap();
    assert_eq!(
        (&user["name"], &user["revision"]),
        (&json!("Ada L."), &json!(2))
    );
    let user = call("UpdateUser", json!({ "id": id, "email": "al@example.org" })).unwrap();
    assert_eq!(
        (&user["email"], &user["revision"]),
        (&json!("al@example.org"), &json!(3))
    );
    assert_eq!(
        host.kv_keys(),
        ["email/al@example.org".to_owned(), format!("user/{id}")]
    );
    create("Eve", "ada@example.org");
    let text = "email `ada@example.org` belongs to another user";
    let request = json!({ "id": id, "email": "ada@example.org" });
    refused("UpdateUser", request, Kind::AlreadyExists, text);
    let respelt = call("UpdateUser", json!({ "id": id, "email": "AL@example.org" })).unwrap();
    assert_eq!(respelt["email"], "AL@example.org");
}

#[test]
fn an_update_of_another_revision_is_aborted() {
    let _host = Host::new();
    let id = create("Ada", "ada@example.org");
    call(
        "UpdateUser",
        json!({ "id": id, "name": "A", "revision": 1 }),
    )
    .unwrap();
    let text = format!("user `{id}` is at revision 2, not 1");
    refused(
        "UpdateUser",
        json!({ "id": id, "name": "B", "revision": 1 }),
        Kind::Aborted,
        &text,
    );
}

#[test]
fn a_deleted_user_is_gone_and_its_address_free() {
    let host = Host::new();
    let id = create("Ada", "ada@example.org");
    assert_eq!(
        call("DeleteUser", json!({ "id": id })).unwrap()["name"],
        "Ada"
    );
    assert_eq!(host.kv_keys(), Vec::<String>::new());
    let text = format!("no user has id `{id}`");
    refused("DeleteUser", json!({ "id": id }), Kind::NotFound, &text);
    refused(
        "UpdateUser",
        json!({ "id": id, "name": "x" }),
        Kind::NotFound,
        &text,
    );
    create("Eve", "ada@example.org");
}

#[test]
fn a_creation_that_was_cut_off_leaves_no_user_and_no_address() {
    let _host = Host::new();
    let id = "0".repeat(28);
    let half = User {
        id: id.clone(),
        name: "Ada".into(),
        email: "a@b".into(),
        revision: 1,
    };
    kv::set(&format!("user/{id}"), &half).unwrap();
    assert_eq!(store::find(&id), Ok(None));
    assert_eq!(call("ListUsers", json!({})), Ok(json!({ "users": [] })));
    create("Eve", "a@b");
    assert_eq!(store::find(&id), Ok(None));
}

#[test]
fn a_deletion_that_was_cut_off_has_happened() {
    let _host = Host::new();
    let id = create("Ada", "a@b");
    kv::delete("email/a@b").unwrap();
    assert_eq!(store::find(&id), Ok(None));
    create("Eve", "a@b");
}

#[test]
fn a_move_that_was_cut_off_keeps_the_new_address_for_its_user() {
    let host = Host::new();
    let id = create("Ada", "old@b");
    kv::set("email/new@b", &json!({ "id": id, "token": "t" })).unwrap();
    let request = json!({ "name": "Eve", "email": "new@b" });
    let text = "email `new@b` belongs to another user";
    refused("CreateUser", request.clone(), Kind::AlreadyExists, text);
    call("UpdateUser", json!({ "id": id, "email": "new@b" })).unwrap();
    assert_eq!(
        host.kv_keys(),
        ["email/new@b".to_owned(), format!("user/{id}")]
    );
    kv::delete(&format!("user/{id}")).unwrap();
    call("CreateUser", request).unwrap();
}

#[test]
fn a_store_that_fails_fails_the_call() {
    let host = Host::new();
    host.fail_kv(Failure::unavailable("disk full"));
    let request = json!({ "name": "Ada", "email": "ada@example.org" });
    refused("CreateUser", request, Kind::Unavailable, "disk full");
}
