//! Who may change something through the operators' door.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::view::Failure;
use crate::config::Admin;

/// Refuses pages of other sites, and everybody without the token where one is set.
pub(super) fn check(headers: &HeaderMap, admin: &Admin) -> Result<(), Failure> {
    // A browser sends a page's POST to the local machine without asking; it does say whose page.
    if let Some(origin) = text(headers, header::ORIGIN) {
        let host = text(headers, header::HOST).unwrap_or_default();
        if origin.split_once("://").map(|(_, authority)| authority) != Some(host) {
            let message = format!("a page of {origin} may not change this gateway");
            return Err(Failure::new(StatusCode::FORBIDDEN, message));
        }
    }
    let Some(token) = &admin.token else {
        return Ok(());
    };
    let given =
        text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    if given.is_some_and(|given| equal(given.as_bytes(), token.expose().as_bytes())) {
        return Ok(());
    }
    let failure = Failure::new(
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

    #[test]
    fn refuses_pages_of_other_sites() {
        let host = ("host", "127.0.0.1:9900");
        check_status(&[host, ("origin", "http://127.0.0.1:9900")], None, None);
        check_status(&[host, ("origin", "https://evil.example")], None, Some(403));
        check_status(&[host, ("origin", "null")], None, Some(403));
        check_status(&[("origin", "http://127.0.0.1:9900")], None, Some(403));
    }
}
