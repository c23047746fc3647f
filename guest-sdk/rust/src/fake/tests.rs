//! The fake host keeps what it is told and refuses what the gateway refuses.

use std::{cell::RefCell, rc::Rc};

use crate::{Failure, Kind, Octets, call, client, fake::Host, kv, log::Level};

#[test]
fn a_new_host_is_empty() {
    {
        let host = Host::new();
        host.config("a", "b").header("k", "v");
        kv::set("key", &1).unwrap();
    }
    let host = Host::new();
    assert_eq!(
        (crate::config::all(), call::headers(), host.kv_keys()),
        (vec![], vec![], vec![])
    );
}

#[test]
fn the_current_call_is_what_the_test_says() {
    let host = Host::new();
    host.header("x-a", "1")
        .header("x-a", "2")
        .header("x-b", [0xff]);
    host.peer("tcp", Some("127.0.0.1:4000"))
        .principal("ada", &["admin"]);
    host.remaining(std::time::Duration::from_millis(250))
        .correlation_id("c7")
        .traceparent("00-1");
    assert_eq!(call::header("x-a").as_deref(), Some("1"));
    assert_eq!((call::header("x-b"), call::headers().len()), (None, 3));
    assert_eq!(call::peer().address.as_deref(), Some("127.0.0.1:4000"));
    assert_eq!(call::principal().unwrap().roles, ["admin"]);
    assert_eq!(call::remaining().as_millis(), 250);
    assert_eq!(
        (
            call::correlation_id().as_str(),
            call::traceparent().as_deref()
        ),
        ("c7", Some("00-1"))
    );
}

#[test]
fn reply_headers_are_bounded() {
    let host = Host::new();
    call::add_header(&"k".repeat(255), "v").unwrap();
    assert_eq!(
        call::add_header(&"k".repeat(256), "v").unwrap_err().kind,
        Kind::InvalidArgument
    );
    assert_eq!(
        call::add_header("", "v").unwrap_err().kind,
        Kind::InvalidArgument
    );
    call::add_header("k", &"v".repeat(65_535 - 257)).unwrap();
    assert_eq!(
        call::add_header("k", "").unwrap_err().kind,
        Kind::InvalidArgument
    );
    assert_eq!(host.reply_headers().len(), 2);
}

#[test]
fn what_http_says_is_asked_and_answered() {
    let http = call::Http {
        method: "PUT".to_owned(),
        path: "/a%20b".to_owned(),
        query: Some("c=d".to_owned()),
        ..call::Http::default()
    };
    let host = Host::new();
    host.http(http.clone())
        .request_kind(call::BodyKind::Octets)
        .trailer("checksum", "1")
        .incoming(Octets::from("piece"));
    assert_eq!(call::http(), Some(http));
    assert_eq!(call::request_kind(), call::BodyKind::Octets);
    assert!(call::trailers().is_empty(), "the body is not read");
    call::set_status(201).unwrap();
    for status in [199, 600] {
        let refused = call::set_status(status).unwrap_err();
        assert_eq!(refused.kind, Kind::InvalidArgument);
    }
    assert_eq!(host.reply_status(), Some(201));
}

#[test]
fn a_unary_reply_has_no_pieces_but_trailers() {
    let host = Host::new();
    let refused = call::set_octets().unwrap_err();
    assert_eq!(refused.kind, Kind::FailedPrecondition);
    call::add_trailer("a", "b").unwrap();
    call::add_binary_trailer("a", &[255]).unwrap();
    assert!(!host.replies_octets());
    assert_eq!(host.reply_trailers(), [("a".to_owned(), "b".to_owned())]);
    assert_eq!(host.binary_reply_trailers().len(), 2);
}

#[test]
#[expect(deprecated, reason = "earlier names do as they did")]
fn what_is_added_stands_beside_what_is_there() {
    let host = Host::new();
    call::add_header("a", "1").unwrap();
    call::set_header("a", "2").unwrap();
    call::set_trailer("a", "3").unwrap();
    call::add_binary_header("a", b"\xff").unwrap();
    let texts = [("a", "1"), ("a", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(host.reply_headers(), texts);
    let values: Vec<_> = host
        .binary_reply_headers()
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, [&b"1"[..], b"2", b"\xff"]);
    assert_eq!(host.reply_trailers().len(), 1);
}

#[test]
fn keys_and_values_are_bounded() {
    let _host = Host::new();
    let value = vec![0; (1 << 20) + 1];
    kv::octets::set(&"k".repeat(1024), &value[1..]).unwrap();
    let refused = [
        kv::octets::set(&"k".repeat(1025), b"").unwrap_err(),
        kv::octets::set("", b"").unwrap_err(),
        kv::octets::set("k", &value).unwrap_err(),
        kv::octets::swap("k", None, Some(&value)).unwrap_err(),
        kv::keys("", None, 1001).unwrap_err(),
    ];
    for failure in refused {
        assert_eq!(failure.kind, Kind::InvalidArgument, "{failure}");
    }
    assert_eq!(kv::keys("", None, 1000).unwrap().len(), 1);
}

#[test]
fn keys_are_listed_in_order_from_a_place_on() {
    let _host = Host::new();
    for key in ["u/3", "u/1", "v/1", "u/2"] {
        kv::set(key, &0).unwrap();
    }
    assert_eq!(kv::keys("u/", None, 2).unwrap(), ["u/1", "u/2"]);
    assert_eq!(kv::keys("u/", Some("u/2"), 2).unwrap(), ["u/3"]);
}

#[test]
fn kv_can_be_made_to_fail() {
    let host = Host::new();
    host.fail_kv(Failure::unavailable("disk full"));
    assert_eq!(kv::get::<u8>("k").unwrap_err().message, "disk full");
    host.fail_kv(None);
    assert_eq!(kv::get::<u8>("k"), Ok(None));
}

#[test]
fn lines_below_the_level_are_neither_kept_nor_formatted() {
    let host = Host::new();
    host.log_level(Level::Info);
    let formatted = Rc::new(RefCell::new(0));
    let count = || {
        *formatted.borrow_mut() += 1;
        *formatted.borrow()
    };
    crate::debug!("line {}", count());
    crate::info!(user = "ada", n = 3, "line {}", count());
    let [line] = host.log().try_into().unwrap();
    assert_eq!((line.level, line.message.as_str()), (Level::Info, "line 1"));
    assert_eq!(
        line.fields,
        [("user".into(), "ada".into()), ("n".into(), "3".into())]
    );
}

#[test]
fn client_calls_are_recorded_and_an_unknown_method_is_not_found() {
    let host = Host::new();
    host.answer_json("users", "GetUser", "ada");
    assert_eq!(
        client::call("users", "GetUser", Octets::from("x")),
        Ok("ada".to_owned())
    );
    let failure = client::call::<()>("users", "Nothing", ()).unwrap_err();
    assert_eq!(failure.kind, Kind::NotFound);
    let methods: Vec<_> = host
        .client_calls()
        .into_iter()
        .map(|call| call.method)
        .collect();
    assert_eq!(methods, ["GetUser", "Nothing"]);
}
