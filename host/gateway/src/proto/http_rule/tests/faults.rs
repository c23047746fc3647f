//! Rules that are refused when a schema is loaded.

use super::{super::routes, fixture::pool};

/// All faults of a rule of `Get`, with the types of `types`.
fn faults(rule: &str) -> Vec<String> {
    let text = format!(
        "syntax = \"proto3\";\npackage p;\nimport \"google/api/annotations.proto\";\nservice S {{\n\
         rpc Get(In) returns (Out) {{ option (google.api.http) = {{ {rule} }}; }}\n}}\n\
         message Out {{ string text = 1; }}\n\
         message Inner {{ string name = 1; repeated string tags = 2; }}\n\
         message In {{ string name = 1; Inner inner = 2; repeated Inner list = 3; map<string, string> map = 4; }}\n"
    );
    let pool = pool("dir/s.proto", &text);
    let faults = routes(&pool, ["p.S"]).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(rule: &str, expected: &[&str]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|one| format!("dir/s.proto:5: {one}"))
        .collect();
    assert_eq!(faults(rule), expected, "{rule}");
}

#[test]
fn faults_name_file_method_and_binding() {
    check("get: \"/v1/{name}\"", &[]);
    check(
        "get: \"v1\"",
        &["p.S.Get: path \"v1\" does not begin with a slash"],
    );
    check(
        "get: \"/v1/{nam}\" additional_bindings { get: \"/v2/{name}\" } additional_bindings { get: \"/v3/{inner.x}\" body: \"y\" }",
        &[
            "p.S.Get: {nam} of the path: p.In has no field \"nam\"; did you mean \"name\"?",
            "p.S.Get, additional binding 2: {inner.x} of the path: p.Inner has no field \"x\"",
            "p.S.Get, additional binding 2: body \"y\": p.In has no field \"y\"",
        ],
    );
}

#[test]
fn fields_are_of_a_kind_that_can_stand_there() {
    for (rule, expected) in [
        (
            "get: \"/{inner}\"",
            "{inner} of the path is a message; a path has single values only",
        ),
        (
            "get: \"/{inner.tags}\"",
            "{inner.tags} of the path is a repeated field; a path has single values only",
        ),
        (
            "get: \"/{map}\"",
            "{map} of the path is a map; a path has single values only",
        ),
        (
            "get: \"/{list.name}\"",
            "{list.name} of the path: \"list\" is a repeated field and has no fields of its own here",
        ),
        (
            "get: \"/{name.x}\"",
            "{name.x} of the path: \"name\" is one value and has no fields of its own here",
        ),
        (
            "post: \"/a\" body: \"list\"",
            "body \"list\" is a repeated field; a body is one field of the request itself",
        ),
        (
            "post: \"/a\" body: \"inner.name\"",
            "body \"inner.name\": p.In has no field \"inner.name\"",
        ),
        (
            "post: \"/{name}\" body: \"name\"",
            "\"name\" is the body and stands in the path",
        ),
        (
            "get: \"/a\" response_body: \"txt\"",
            "response_body \"txt\": p.Out has no field \"txt\"; did you mean \"text\"?",
        ),
        (
            "body: \"*\"",
            "the rule names no method of HTTP: write get, put, post, delete, patch or custom",
        ),
        (
            "custom { kind: \"A B\" path: \"/a\" }",
            "\"A B\" is no method of HTTP",
        ),
        (
            "get: \"/{name=**}/x\"",
            "\"**\" takes all that is left, and something follows it",
        ),
    ] {
        check(rule, &[&format!("p.S.Get: {expected}")]);
    }
    check(
        "get: \"/a\" additional_bindings { get: \"/b\" additional_bindings { get: \"/c\" } }",
        &[
            "p.S.Get, additional binding 1: the rule has additional bindings within additional bindings",
        ],
    );
}

#[test]
fn two_bindings_take_different_requests() {
    check(
        "get: \"/v1/{name}\" additional_bindings { get: \"/v1/{inner.name=*}\" }",
        &["p.S.Get, additional binding 1: it takes the same requests as p.S.Get"],
    );
    check(
        "get: \"/v1/{name}\" additional_bindings { post: \"/v1/{name}\" body: \"*\" }",
        &[],
    );
    check(
        "get: \"/v1/{name}\" additional_bindings { get: \"/v1/{name}:x\" } additional_bindings { get: \"/v1/{name=**}\" }",
        &[],
    );
    // One that leaves the method open takes what is left.
    check(
        "custom { kind: \"*\" path: \"/v1\" } additional_bindings { get: \"/v1\" }",
        &[],
    );
}
