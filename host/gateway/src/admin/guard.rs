//! Who may change something through the admin listener.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use postern_net::{
    LocalAddress,
    http::{ForeignPage, check_origin},
};

use super::view::AdminFailure;
use crate::{app::http_listener, config::Admin};

/// Refuses what comes from a page of another site, whatever it asks for: by the same judgement as an
/// HTTP listener's. The admin listener is at `address`.
pub(super) fn check_page(
    request: &Request,
    admin: &Admin,
    address: &LocalAddress,
) -> Result<(), AdminFailure> {
    let hosts = http_listener::hosts(address, &admin.hosts);
    let (uri, headers) = (request.uri(), request.headers());
    check_origin(request.version(), uri, headers, &hosts, None).map_err(|page| {
        let status = match page {
            ForeignPage::NoHost(_) => StatusCode::BAD_REQUEST,
            ForeignPage::Host { .. } | ForeignPage::Origin { .. } | ForeignPage::Site { .. } => {
                StatusCode::FORBIDDEN
            }
        };
        let failure = AdminFailure::new(status, page.to_string());
        match page {
            ForeignPage::Host { host } => {
                failure.with_hint(format!("set admin.hosts = [{host:?}] if that is its name"))
            }
            ForeignPage::NoHost(_) | ForeignPage::Origin { .. } | ForeignPage::Site { .. } => {
                failure
            }
        }
    })
}

/// Refuses everybody without the token where one is set.
pub(super) fn check(headers: &HeaderMap, admin: &Admin) -> Result<(), AdminFailure> {
    let Some(token) = &admin.token else {
        return Ok(());
    };
    let given =
        text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if given.is_some_and(|given| equal(given.as_bytes(), token.expose().as_bytes())) {
        return Ok(());
    }
    let failure = AdminFailure::new(
        StatusCode::UNAUTHORIZED,
        "the admin token is missing or wrong",
    );
    Err(failure.with_hint("send the header authorization: Bearer TOKEN"))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Compares without telling by its time how much was right.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let differing = one
        .iter()
        .zip(other)
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    one.len() == other.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn admin(token: Option<&str>) -> Admin {
        let text = token
            .map(|token| format!("[admin]\ntoken = {token:?}"))
            .unwrap_or_default();
        config::parse("test", &text, &Default::default())
            .expect("valid")
            .0
            .admin
    }

    #[track_caller]
    fn check_status(pairs: &[(&'static str, &str)], token: Option<&str>, expected: Option<u16>) {
        let header = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a header value"),
            )
        };
        let headers: HeaderMap = pairs.iter().map(header).collect();
        let status = check(&headers, &admin(token))
            .err()
            .map(|failure| failure.status().as_u16());
        assert_eq!(status, expected, "{pairs:?}");
    }

    #[test]
    fn asks_for_the_token_where_one_is_set() {
        check_status(&[], None, None);
        check_status(&[], Some("secret"), Some(401));
        check_status(&[("authorization", "Bearer secret")], Some("secret"), None);
        check_status(
            &[("authorization", "Bearer secre")],
            Some("secret"),
            Some(401),
        );
        check_status(
            &[("authorization", "Bearer secret2")],
            Some("secret"),
            Some(401),
        );
        check_status(&[("authorization", "secret")], Some("secret"), Some(401));
    }

    #[track_caller]
    fn check_page_status(pairs: &[(&'static str, &str)], text: &str, expected: Option<u16>) {
        let mut request = Request::new(axum::body::Body::empty());
        for (name, value) in pairs {
            let value = value.parse().expect("a header value");
            request.headers_mut().append(*name, value);
        }
        let config = config::parse("test", text, &Default::default());
        let admin = config.expect("valid").0.admin;
        let address = LocalAddress::Ip(admin.address.ip().expect("a port"));
        let status = check_page(&request, &admin, &address)
            .err()
            .map(|failure| failure.status().as_u16());
        assert_eq!(status, expected, "{pairs:?}");
    }

    #[test]
    fn refuses_pages_of_other_sites() {
        let host = ("host", "127.0.0.1:9900");
        let own = ("origin", "http://127.0.0.1:9900");
        check_page_status(&[host, own], "", None);
        check_page_status(&[host, ("origin", "https://evil.example")], "", Some(403));
        check_page_status(&[host, ("origin", "null")], "", Some(403));
        check_page_status(&[host, ("sec-fetch-site", "cross-site")], "", Some(403));
        check_page_status(&[("origin", "http://127.0.0.1:9900")], "", Some(400));
    }

    #[test]
    fn refuses_names_of_others_on_a_loopback_address() {
        let foreign = ("host", "evil.example:9900");
        check_page_status(&[foreign], "", Some(403));
        check_page_status(
            &[foreign, ("origin", "http://evil.example:9900")],
            "",
            Some(403),
        );
        let named = "[admin]\nhosts = [\"ops.example\"]";
        check_page_status(&[("host", "ops.example")], named, None);
        check_page_status(
            &[foreign],
            "[admin]\ninsecure = true\naddress = \"0.0.0.0:9900\"",
            None,
        );
    }
}
