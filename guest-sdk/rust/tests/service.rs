//! What `#[postern_guest::service]` makes of a block, called as the gateway calls it.

use std::cell::Cell;

use postern_guest::{
    Failure, Health, Incoming, Kind, Octets, Outgoing, Service, call,
    fake::Host,
    kv,
    service::{Method, Shape},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Greeting {
    name: String,
}

#[derive(Serialize)]
struct Greeted {
    text: String,
}

#[derive(Default)]
struct FrontDesk {
    greeted: Cell<u32>,
}

/// Greets
/// people.
///
/// And counts them.
#[postern_guest::service]
impl FrontDesk {
    /// Says hello.
    fn say_hello(&self, Greeting { name }: Greeting) -> Result<Greeted, Failure> {
        self.greeted.set(self.greeted.get() + 1);
        if name.is_empty() {
            return Err(Failure::not_found("nobody is called ``"));
        }
        Ok(Greeted {
            text: format!("hello {name}"),
        })
    }

    /// How many were greeted.
    #[method(name = "HowMany", idempotent)]
    fn count(&self) -> u32 {
        self.greeted.get()
    }

    fn parse(text: Octets) -> Result<i32, Failure> {
        Ok(str::from_utf8(&text)?.parse()?)
    }

    fn set_note(note: String) -> Result<(), Failure> {
        call::add_header("x-noted", "yes")?;
        kv::set("note", &note)
    }

    fn own_errors(code: u8) -> Result<(), OwnError> {
        Err(OwnError(code))
    }

    fn total(numbers: Incoming<i64>) -> Result<i64, Failure> {
        numbers.sum()
    }

    fn count_to(last: u32, mut out: Outgoing<u32>) -> Result<(), Failure> {
        (1..=last).try_for_each(|number| out.send(number))
    }

    fn shout(lines: Incoming<String>, mut out: Outgoing<String>) {
        for line in lines.flatten() {
            let _ = out.send(line.to_uppercase());
        }
    }

    #[health]
    fn check() -> Health {
        match kv::get::<String>("note") {
            Ok(_) => Health::Serving,
            Err(failure) => Health::Degraded(failure.message),
        }
    }
}

struct OwnError(u8);

impl From<OwnError> for Failure {
    fn from(OwnError(code): OwnError) -> Self {
        Self::aborted(format!("code {code}"))
    }
}

fn check(method: &str, message: &str, expected: Result<&str, Failure>) {
    let host = Host::new();
    assert_eq!(
        host.call::<FrontDesk>(method, message),
        expected.map(Octets::from),
        "{method}"
    );
}

#[test]
fn methods_are_found_by_name_and_carry_json() {
    check(
        "SayHello",
        r#"{"name":"Ada"}"#,
        Ok(r#"{"text":"hello Ada"}"#),
    );
    check(
        "SayHello",
        r#"{"name":""}"#,
        Err(Failure::not_found("nobody is called ``")),
    );
    check("Parse", "42", Ok("42"));
    check("SetNote", "\"x\"", Ok("null"));
}

#[test]
fn foreign_errors_become_failures() {
    let text = "invalid digit found in string";
    check("Parse", "4x", Err(Failure::invalid_argument(text)));
    check("OwnErrors", "7", Err(Failure::aborted("code 7")));
}

#[test]
fn an_unknown_method_names_the_known_ones() {
    let text = "service `front-desk` has no method `say_hello`; it has SayHello, HowMany, Parse, \
                SetNote, OwnErrors, Total, CountTo, Shout";
    check("say_hello", "", Err(Failure::not_found(text)));
    let host = Host::new();
    assert_eq!(
        host.call_stream::<FrontDesk>("say_hello"),
        Err(Failure::not_found(text))
    );
}

#[test]
fn bad_json_is_refused_at_its_place() {
    let text = "message is not a valid `Greeting`: missing field `name` at line 2 column 1";
    check("SayHello", "{\n}", Err(Failure::invalid_argument(text)));
}

#[test]
fn a_value_lives_as_long_as_its_instance() {
    let host = Host::new();
    for greeted in ["1", "2"] {
        host.call::<FrontDesk>("SayHello", r#"{"name":"Ada"}"#)
            .unwrap();
        assert_eq!(
            host.call::<FrontDesk>("HowMany", ""),
            Ok(Octets::from(greeted))
        );
    }
}

#[test]
fn headers_and_keys_reach_the_host() {
    let host = Host::new();
    host.call::<FrontDesk>("SetNote", "\"x\"").unwrap();
    assert_eq!(
        host.reply_headers(),
        [("x-noted".to_owned(), "yes".to_owned())]
    );
    assert_eq!(host.kv_keys(), ["note"]);
}

#[test]
fn a_client_stream_gives_one_reply() {
    let host = Host::new();
    host.incoming(1).incoming(2).incoming(39);
    assert_eq!(
        host.call_stream::<FrontDesk>("Total"),
        Ok(vec![Octets::from("42")])
    );
    assert_eq!(
        host.call_stream::<FrontDesk>("Total"),
        Ok(vec![Octets::from("0")])
    );
}

#[test]
fn a_client_stream_ends_with_the_failure_of_a_message() {
    let host = Host::new();
    host.incoming(1).incoming("two").incoming(3);
    let failure = host.call_stream::<FrontDesk>("Total").unwrap_err();
    assert_eq!(failure.kind, Kind::InvalidArgument);
    assert!(failure.message.contains("`i64`"), "{failure}");
}

#[test]
fn a_server_stream_takes_one_request() {
    let host = Host::new();
    host.incoming(3);
    let replies = host.call_stream::<FrontDesk>("CountTo").unwrap();
    assert_eq!(replies, ["1", "2", "3"].map(Octets::from));
}

#[test]
fn both_directions_can_stream_and_skip_what_they_cannot_read() {
    let host = Host::new();
    host.incoming("a").incoming(7).incoming("b");
    let replies = host.call_stream::<FrontDesk>("Shout").unwrap();
    assert_eq!(replies, ["\"A\"", "\"B\""].map(Octets::from));
}

#[test]
fn a_broken_stream_is_told_once_and_then_over() {
    let host = Host::new();
    host.incoming_fails(Failure::unavailable("gone"))
        .incoming(1);
    let mut incoming = Incoming::<i64>::of_call();
    assert_eq!(incoming.receive(), Err(Failure::unavailable("gone")));
    assert_eq!(incoming.receive(), Ok(None));
}

#[test]
fn unary_and_streaming_methods_meet_the_other_kind_of_call() {
    let host = Host::new();
    host.incoming(Octets::from("42"));
    assert_eq!(
        host.call_stream::<FrontDesk>("Parse"),
        Ok(vec![Octets::from("42")])
    );
    let failure = host.call::<FrontDesk>("Total", "1").unwrap_err();
    assert_eq!(failure.kind, Kind::Unimplemented);
}

#[test]
fn health_is_what_the_service_says() {
    let host = Host::new();
    assert_eq!(FrontDesk::health(), Health::Serving);
    host.fail_kv(Failure::unavailable("disk full"));
    assert_eq!(
        FrontDesk::health(),
        Health::Degraded("disk full".to_owned())
    );
}

#[test]
fn the_service_describes_itself() {
    let service = (FrontDesk::NAME, FrontDesk::VERSION, FrontDesk::SUMMARY);
    assert_eq!(
        service,
        ("front-desk", env!("CARGO_PKG_VERSION"), "Greets people.")
    );
    let [hello, count, .., total, count_to, shout] = FrontDesk::METHODS else {
        panic!("{:?}", FrontDesk::METHODS);
    };
    let expected = Method {
        name: "SayHello",
        summary: "Says hello.",
        shape: Shape::Unary,
        request: "Greeting",
        response: "Greeted",
        idempotent: false,
    };
    assert_eq!(hello, &expected);
    let told = (count.name, count.request, count.response, count.idempotent);
    assert_eq!(told, ("HowMany", "", "u32", true));
    let shapes = [total, count_to, shout].map(|m| (m.shape, m.request, m.response));
    assert_eq!(
        shapes,
        [
            (Shape::ClientStream, "i64", "i64"),
            (Shape::ServerStream, "u32", "u32"),
            (Shape::Bidirectional, "String", "String"),
        ]
    );
}

/// Some types have schemas by themselves, others by a derive, and others none.
mod described {
    use postern_guest::{Incoming, JsonSchema, Octets, Outgoing};
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize)]
    struct Silent {
        _any: u8,
    }
    /// Where something is.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Place {
        /// In degrees.
        north: f64,
        #[serde(default)]
        note: String,
    }
    #[derive(Serialize, JsonSchema)]
    struct Found {
        places: Vec<Place>,
    }
    pub(super) struct Places;

    #[postern_guest::service]
    impl Places {
        fn near(place: Place) -> Found {
            Found {
                places: vec![place],
            }
        }
        fn count(_: Silent) -> Option<u32> {
            None
        }
        fn copy(octets: Octets) -> Octets {
            octets
        }
        fn all(_: Incoming<Place>, mut out: Outgoing<Place>) {
            let _ = out.send(Place {
                north: 0.0,
                note: String::new(),
            });
        }
    }
}

#[test]
fn types_have_the_schemas_that_they_derive() {
    let schemas = described::Places::schemas();
    let names: Vec<_> = schemas.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Place", "Found", "Option<u32>"]);
    let schema =
        |at: usize| -> serde_json::Value { serde_json::from_str(&schemas[at].1).expect("JSON") };
    let place = schema(0);
    assert_eq!(place["description"], "Where something is.");
    assert_eq!(place["properties"]["north"]["type"], "number");
    // As it is taken: what has a default may be left out.
    assert_eq!(place["required"], serde_json::json!(["north"]));
    // As it is given.
    let found = schema(1);
    assert_eq!(
        found["$defs"]["Place"]["required"],
        serde_json::json!(["north", "note"])
    );
    assert_eq!(
        found["properties"]["places"]["items"]["$ref"],
        "#/$defs/Place"
    );
}

mod lines {
    use postern_guest::Octets;

    pub(super) struct Lines;

    #[postern_guest::service(text)]
    impl Lines {
        fn shout(text: String) -> String {
            text.to_uppercase()
        }
        #[method(fallback)]
        fn any(_method: &str, text: Octets) -> Octets {
            match &*text {
                b"break" => Octets::from([0xff].as_slice()),
                _ => text,
            }
        }
    }
}

#[test]
fn unary_messages_of_a_service_of_texts_are_text() {
    let host = Host::new();
    let call = |method, message: &[u8]| host.call::<lines::Lines>(method, message);
    assert_eq!(call("Shout", "\"ä\"".as_bytes()), Ok(Octets::from("\"Ä\"")));
    assert_eq!(call("Other", "ä".as_bytes()), Ok(Octets::from("ä")));
    assert_eq!(
        call("Shout", b"a\xff"),
        Err(Failure::invalid_argument("message is not UTF-8"))
    );
    let text = "reply of method `Break` is not UTF-8: a service marked with `text` gives text";
    assert_eq!(call("Break", b"break"), Err(Failure::internal(text)));
    assert!(lines::Lines::IS_TEXT && !sample::Notes::IS_TEXT);
}

/// Three typed methods in less than 25 lines, imports and all: what the README shows.
mod sample {
    use postern_guest::{Failure, kv};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Note {
        key: String,
        text: String,
    }
    pub(super) struct Notes;

    #[postern_guest::service]
    impl Notes {
        fn put(note: Note) -> Result<(), Failure> {
            kv::set(&note.key, &note)
        }
        fn find(key: String) -> Result<Note, Failure> {
            kv::get(&key)?.ok_or_else(|| Failure::not_found(format!("no note `{key}`")))
        }
        fn forget(key: String) -> Result<bool, Failure> {
            kv::delete(&key)
        }
    }
}

#[test]
fn the_sample_of_the_readme_works() {
    let host = Host::new();
    let call = |method, message: &str| host.call::<sample::Notes>(method, message);
    let note = r#"{"key":"a","text":"b"}"#;
    assert_eq!(call("Put", note), Ok(Octets::from("null")));
    assert_eq!(call("Find", "\"a\""), Ok(Octets::from(note)));
    assert_eq!(call("Forget", "\"a\""), Ok(Octets::from("true")));
    assert_eq!(
        call("Find", "\"a\""),
        Err(Failure::not_found("no note `a`"))
    );
    assert_eq!(sample::Notes::health(), Health::Serving);
}
