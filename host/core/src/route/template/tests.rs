//! Which paths a template takes, what its parameters are, and what is no template.

use super::*;

#[track_caller]
fn check(template: &str, path: &str, expected: Option<&[(&str, &str)]>) {
    let template = PathTemplate::parse(template).expect("a template");
    let path = RequestPath::parse(path).expect("a path");
    let params = template.params(&path);
    let params = params.as_ref().map(|params| {
        let pairs = params.iter().map(|one| (one.name.as_str(), &*one.value));
        pairs.collect::<Vec<_>>()
    });
    assert_eq!(params.as_deref(), expected, "{template} {path:?}");
}

#[test]
fn literals_and_parameters_take_a_segment_each() {
    check("/", "/", Some(&[]));
    check("/users/{id}", "/users/7", Some(&[("id", "7")]));
    check("/users/{id}", "/users/a%2Fb", Some(&[("id", "a/b")]));
    check("/%75sers", "/user%73", Some(&[]));
    for path in [
        "/users",
        "/users/",
        "/users/7/",
        "/Users/7",
        "/users//7",
        "/",
    ] {
        check("/users/{id}", path, None);
    }
    check("/users/", "/users/", Some(&[]));
    check("/users/", "/users", None);
}

#[test]
fn a_typed_parameter_takes_what_reads_so() {
    for (kind, good, bad) in [
        (
            "int",
            &["7", "-7", "0"][..],
            &["7.5", "+7", "07", "x", "9223372036854775808"][..],
        ),
        (
            "number",
            &["7", "7.5", "-1e3"],
            &["x", "NaN", "\"7\"", ".5", "1."],
        ),
        ("bool", &["true", "false"], &["1", "True"]),
    ] {
        let template = format!("/{{p:{kind}}}");
        for value in good {
            check(&template, &format!("/{value}"), Some(&[("p", value)]));
        }
        for value in bad {
            check(&template, &format!("/{value}"), None);
        }
    }
}

#[test]
fn a_rest_takes_one_segment_or_more_of_any_form() {
    check("/files/{path*}", "/files/", Some(&[("path", "")]));
    check("/files/{path*}", "/files/a/b/", Some(&[("path", "a/b/")]));
    check("/files/{path*}", "/files//a", Some(&[("path", "/a")]));
    check("/files/{path*}", "/files", None);
    check("/{path*}", "/", Some(&[("path", "")]));
    let template = PathTemplate::parse("/f/{path*}").expect("a template");
    let path = RequestPath::parse("/f/a%20b/c").expect("a path");
    let params = template.params(&path).expect("taken");
    assert_eq!((&*params[0].value, params[0].raw), ("a b/c", "a%20b/c"));
}

#[test]
fn what_is_no_template_is_refused_with_its_part() {
    let refused = |text: &str| PathTemplate::parse(text).expect_err(text).to_string();
    for (text, expected) in [
        ("users", "path \"users\" does not begin with a slash"),
        (
            "/a{b}",
            "segment \"a{b}\" is neither text nor one parameter such as {id}",
        ),
        (
            "/{a}{b}",
            "\"a}{b\" is no name of a parameter: letters, digits, dashes and underscores",
        ),
        (
            "/a?b",
            "segment \"a?b\" is neither text nor one parameter such as {id}",
        ),
        (
            "/a//b",
            "segment \"\" is empty, \".\" or \"..\", which no request has there",
        ),
        (
            "/a/%2e%2e",
            "segment \"%2e%2e\" is empty, \".\" or \"..\", which no request has there",
        ),
        ("/%ff", "segment \"%ff\" is not percent-encoded utf-8"),
        (
            "/{}",
            "\"\" is no name of a parameter: letters, digits, dashes and underscores",
        ),
        (
            "/{a:float}",
            "\"float\" is no type; write int, number, bool or string",
        ),
        ("/{a}/{a*}", "parameter \"a\" stands twice in the path"),
        (
            "/a/*/b",
            "segment \"*\" is no wildcard: write {name} for one segment, {name*} for all that is left",
        ),
        (
            "/{a*}/b",
            "\"a\" takes all that is left, and something follows it",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn what_is_taken_below_a_prefix_has_as_many_segments() {
    let takes = |text: &str, n_segments| {
        let template = PathTemplate::parse(text).expect("a template");
        template.takes_below(&["ws"], n_segments)
    };
    assert!(takes("/ws", 0) && !takes("/ws", 1) && !takes("/ws/", 1));
    assert!(takes("/ws/{a}/{b}", 2) && takes("/ws/a/b", 2) && takes("/ws/{a}/b", 2));
    assert!(takes("/ws/{rest*}", 2) && takes("/ws/{a}/{rest*}", 2));
    assert!(!takes("/ws/{rest*}", 0) && !takes("/ws/{a}/{b}/{rest*}", 2));
    assert!(!takes("/ws/a", 2) && !takes("/ws/a/b/c", 2) && !takes("/ws/a/", 2));
    assert!(!takes("/{ws}/a/b", 2) && !takes("/wsx/a/b", 2) && !takes("/{rest*}", 2));
}

#[test]
fn a_prefix_is_literal() {
    let begins = |text: &str| {
        let template = PathTemplate::parse(text).expect("a template");
        template.begins_with(&["v1", "services"])
    };
    assert!(begins("/v1/services") && begins("/v1/services/{x}"));
    assert!(!begins("/v1/{x*}") && !begins("/v1/servicesx") && !begins("/v1"));
}
