//! Claims of anybody and of proxies that are trusted, in both forms.

use super::*;

fn config(accept: ForwardedForm, send: ForwardedSend) -> ForwardedConfig {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|one| one.parse().expect("a network"));
    ForwardedConfig {
        trusted: TrustedProxies(trusted.to_vec()),
        accept,
        send,
    }
}

fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

fn peer(ip: &str) -> Origin {
    Origin::Ip((ip.parse::<IpAddr>().expect("an address"), 5).into())
}

/// The client's address, and all that an upstream is told.
fn told(
    from: &str,
    pairs: &[(&'static str, &str)],
    config: &ForwardedConfig,
) -> (Option<String>, Vec<(String, String)>) {
    let (headers, peer) = (map(pairs), peer(from));
    let claims = Claims::read(&headers, &peer, config);
    let hop = Hop {
        peer: &peer,
        is_secure: false,
        host: "own:80",
    };
    let kept = headers.iter();
    let kept = kept.filter(|(name, _)| !claims.replaces(name.as_str(), config));
    let kept =
        kept.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
    let written = claims.fields(hop, config).into_iter();
    let written = written.map(|(name, value)| (name.to_owned(), value.into_owned()));
    let client = claims.client().map(|client| client.ip().to_string());
    (client, kept.chain(written).collect())
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn addresses_are_written_as_ever() {
    for octet in 0..=u8::MAX {
        let ip = IpAddr::from([octet, 0, 255 - octet, octet]);
        let mut text = String::new();
        push_ip(&mut text, ip);
        assert_eq!(text, ip.to_string());
    }
    let mut text = String::new();
    push_ip(&mut text, "2001:db8::1".parse().expect("an address"));
    assert_eq!(text, "2001:db8::1");
}

#[test]
fn a_claim_of_anybody_is_left_out() {
    let lies = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("x-other", "kept"),
    ];
    let config = config(ForwardedForm::XForwarded, ForwardedSend::XForwarded);
    let (client, told) = told("192.0.2.1", &lies, &config);
    assert_eq!(client, None);
    let expected = [
        ("x-other", "kept"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "own:80"),
    ];
    assert_eq!(told, fields(&expected));
}

#[test]
fn a_claim_of_a_trusted_proxy_counts_and_goes_on_with_the_proxy_added() {
    let said = [
        ("x-forwarded-for", "203.0.113.7, 10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=127.0.0.1"),
    ];
    let config = config(ForwardedForm::XForwarded, ForwardedSend::XForwarded);
    let (client, told) = told("10.0.0.1", &said, &config);
    assert_eq!(client.as_deref(), Some("203.0.113.7"));
    let expected = [
        ("x-forwarded-port", "443"),
        ("x-forwarded-for", "203.0.113.7, 10.0.0.2, 10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
    ];
    assert_eq!(told, fields(&expected));
}

#[test]
fn the_client_is_the_last_that_is_not_trusted() {
    let config = config(ForwardedForm::XForwarded, ForwardedSend::Nothing);
    let client = |chain: &str| told("10.0.0.1", &[("x-forwarded-for", chain)], &config).0;
    let lie = client("127.0.0.1, 203.0.113.7");
    assert_eq!(lie.as_deref(), Some("203.0.113.7"));
    assert_eq!(client("10.0.0.9, 10.0.0.2").as_deref(), Some("10.0.0.9"));
    assert_eq!(client("unknown"), None);
    assert_eq!(client("203.0.113.7:4711").as_deref(), Some("203.0.113.7"));
    assert_eq!(client("[2001:db8::1]:4711").as_deref(), Some("2001:db8::1"));
    assert_eq!(client("2001:db8::1").as_deref(), Some("2001:db8::1"));
    assert_eq!(client("").as_deref(), None);
}

#[test]
fn forwarded_is_read_and_written_as_rfc_7239_has_it() {
    let config = config(ForwardedForm::Forwarded, ForwardedSend::Forwarded);
    let said = [
        (
            "forwarded",
            "For=\"[2001:db8:cafe::17]:4711\";proto=https;host=\"a,b;c\", for=10.0.0.3",
        ),
        ("x-forwarded-for", "127.0.0.1"),
    ];
    let (client, told) = told("10.0.0.1", &said, &config);
    assert_eq!(client.as_deref(), Some("2001:db8:cafe::17"));
    let expected = format!("{}, for=10.0.0.1;host=\"own:80\";proto=http", said[0].1);
    assert_eq!(told, fields(&[("forwarded", &expected)]));
}

#[test]
fn a_chain_of_one_form_is_told_in_the_other() {
    let both = config(ForwardedForm::XForwarded, ForwardedSend::Both);
    let said = [("x-forwarded-for", "2001:db8::1, _hidden x")];
    let (_, told_both) = told("10.0.0.1", &said, &both);
    let expected =
        "for=\"[2001:db8::1]\", for=\"_hidden x\", for=10.0.0.1;host=\"own:80\";proto=http";
    assert_eq!(told_both.last(), fields(&[("forwarded", expected)]).last());
    let other = config(ForwardedForm::Forwarded, ForwardedSend::XForwarded);
    let said = [("forwarded", "for=192.0.2.60;proto=http, for=\"[::1]:5\"")];
    let (_, told_other) = told("10.0.0.1", &said, &other);
    assert_eq!(told_other[0].1, "192.0.2.60, ::1, 10.0.0.1");
}

#[test]
fn nothing_is_told_where_nothing_is_sent_but_what_counts() {
    let config = config(ForwardedForm::XForwarded, ForwardedSend::Nothing);
    let said = [("x-forwarded-for", "203.0.113.7")];
    assert_eq!(told("192.0.2.1", &said, &config).1, fields(&[]));
    assert_eq!(told("10.0.0.1", &said, &config).1, fields(&said));
}
