//! Claims about JSON that is checked where it lies.

use proptest::prelude::*;

use super::*;

fn check(json: impl AsRef<[u8]>, expected: &str) {
    let found = super::check(json.as_ref()).map_err(|error| error.to_string());
    let expected = if expected.is_empty() {
        Ok(())
    } else {
        Err(expected.to_owned())
    };
    assert_eq!(found, expected, "{}", json.as_ref().escape_ascii());
}

#[test]
fn accepts_what_the_grammar_accepts() {
    for json in [
        "{}", "[]", " null\n", "true", "false", "0", "-0.5e+10", "1E2", "\"\"",
    ] {
        check(json, "");
    }
    check(r#"{"a":[1,{"b":"\u00e9\ud83d\ude00\n\/"}],"a":null}"#, "");
}

// Compared with serde_json 1.0 on 400,000 mutated documents: the same verdict, message and place,
// but for numbers beyond f64, which are numbers here.
#[test]
fn names_the_problem_and_its_place() {
    check("invalid json", "expected value at line 1 column 1");
    check("", "EOF while parsing a value at line 1 column 0");
    check(" \n ", "EOF while parsing a value at line 2 column 1");
    check("tru", "EOF while parsing a value at line 1 column 3");
    check("trux", "expected ident at line 1 column 4");
    check("{", "EOF while parsing an object at line 1 column 1");
    check("{\"a\"", "EOF while parsing an object at line 1 column 4");
    check("{\"a\" 1}", "expected `:` at line 1 column 6");
    check("{\"a\":1", "EOF while parsing an object at line 1 column 6");
    check("{\"a\":1,", "EOF while parsing a value at line 1 column 7");
    check("{\"a\":1,}", "trailing comma at line 1 column 8");
    check("{\"a\":1 2}", "expected `,` or `}` at line 1 column 8");
    check("{1:2}", "key must be a string at line 1 column 2");
    check("[", "EOF while parsing a list at line 1 column 1");
    check("[1", "EOF while parsing a list at line 1 column 2");
    check("[1,", "EOF while parsing a value at line 1 column 3");
    check("[1,]", "trailing comma at line 1 column 4");
    check("[1\n 2]", "expected `,` or `]` at line 2 column 2");
    check("1 2", "trailing characters at line 1 column 3");
    check("01", "invalid number at line 1 column 2");
    check("-x", "invalid number at line 1 column 2");
    check("1.", "EOF while parsing a value at line 1 column 2");
    check("1.x", "invalid number at line 1 column 3");
    check("\"a", "EOF while parsing a string at line 1 column 2");
    check("\"\\x\"", "invalid escape at line 1 column 3");
    check("\"\\u12zz\"", "invalid escape at line 1 column 7");
    check(
        "\"\\ud800\"",
        "unexpected end of hex escape at line 1 column 8",
    );
    let lone = "lone leading surrogate in hex escape at line 1 column";
    check("\"\\udc00\"", &format!("{lone} 7"));
    check("\"\\ud800\\u0041\"", &format!("{lone} 13"));
    check(
        "\"a\u{1}\"",
        "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
    );
    check(b"\"\xff\"", "invalid unicode code point at line 1 column 2");
}

#[test]
fn accepts_a_depth_of_127_and_refuses_128() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    check(nested(127), "");
    check(nested(128), "recursion limit exceeded at line 1 column 128");
}

#[test]
fn finds_a_member_of_the_outermost_object_only() {
    let json = br#"{"x":{"error":1}, "err\u006fr": "no \"users\"", "code":404}"#;
    assert_eq!(member(json, "error"), Some(&br#""no \"users\"""#[..]));
    assert_eq!(member(json, "code"), Some(&b"404"[..]));
    assert_eq!(member(json, "details"), None);
    assert_eq!(member(b"[1]", "code"), None);
    assert_eq!(member(br#"{"code":404} x"#, "code"), None);
}

#[test]
fn string_refuses_what_is_no_string() {
    for json in ["", "\"", "1", "\"a\" ", "\"\\ud800\\ud800\""] {
        assert_eq!(string(json.as_bytes()), None, "{json}");
    }
}

proptest! {
    #[test]
    fn escaping_and_reading_gives_the_text_back(text in any::<String>()) {
        let mut json = Vec::new();
        push_string(&mut json, &text);
        prop_assert_eq!(super::check(&json), Ok(()));
        prop_assert_eq!(string(&json), Some(text));
    }

    #[test]
    fn no_octets_make_it_fail_otherwise_than_by_an_error(octets: Vec<u8>) {
        if super::check(&octets).is_ok() {
            prop_assert!(str::from_utf8(&octets).is_ok());
        }
    }
}

#[test]
fn elements_of_a_list_are_told_as_they_are_written() {
    let elements = |text: &'static str| {
        let mut found = Vec::new();
        let is_list = visit_elements(text.as_bytes(), &mut |element| found.push(element));
        is_list.map(|is_list| (is_list, found))
    };
    let of = |text: &'static [&str]| text.iter().map(|one| one.as_bytes()).collect::<Vec<_>>();
    assert_eq!(
        elements(" [1 , {\"a\": []},[2]] "),
        Ok((true, of(&["1", "{\"a\": []}", "[2]"])))
    );
    assert_eq!(elements("[]"), Ok((true, Vec::new())));
    assert_eq!(elements("{\"a\":[1]}"), Ok((false, Vec::new())));
    for text in ["[1", "[1,]", "[1] 2", "{", ""] {
        assert_eq!(
            elements(text).map(|_| ()),
            super::check(text.as_bytes()),
            "{text}"
        );
    }
}
