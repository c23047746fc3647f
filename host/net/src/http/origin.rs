//! Whether a request comes from a page of another site, by all that a browser says of it. Pure; one
//! judgement for the HTTP listener and the operators' one.
//!
//! | what is there | judgement |
//! | --- | --- |
//! | no host, or none that is well-formed (host.rs) | refused |
//! | `host` that is none of `Hosts` | refused: a name of somebody else that leads here (DNS rebinding) |
//! | `sec-fetch-site: same-origin` or `none` | taken: pages cannot set this field |
//! | `sec-fetch-site` of any other value | refused, unless the listener shares with the page's origin |
//! | only `origin` | taken if it is that of `host`, or shared with; else refused |
//! | neither | taken: no browser, or one that has no page to tell of |
//!
//! It holds for every method: a `GET` from a page tells it something even where it cannot read the
//! answer, by time or by size. Fetch metadata: <https://www.w3.org/TR/fetch-metadata/>.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};

use super::{
    Cors,
    host::{self, HostError},
};

/// Under which names a listener is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hosts {
    /// Any: the listener can be reached from elsewhere, and whoever reaches it may use any name.
    #[default]
    Every,
    /// Addresses, `localhost` and what ends in `.localhost`; and these names, in lower case.
    Local(Vec<String>),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForeignPage {
    #[error("this listener is not called {host:?}; add the name to hosts if it is")]
    Host { host: String },
    #[error(transparent)]
    NoHost(#[from] HostError),
    #[error("a page of {origin} may not call this gateway")]
    Origin { origin: String },
    #[error("a page of another site may not call this gateway (sec-fetch-site: {site})")]
    Site { site: String },
}

impl ForeignPage {
    /// Whether it is a page that is foreign, and not the host that is asked for.
    pub(super) const fn is_of_page(&self) -> bool {
        match self {
            Self::Origin { .. } | Self::Site { .. } => true,
            Self::Host { .. } | Self::NoHost(_) => false,
        }
    }
}

/// Judges a request to `uri` with `headers`, of any version of HTTP. `sharing` is what the listener
/// shares with other origins.
///
/// # Errors
/// Why it is refused.
pub fn check_origin(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    hosts: &Hosts,
    sharing: Option<&Cors>,
) -> Result<(), ForeignPage> {
    let host = host::of(version, uri, headers)?;
    check_host(host, hosts)?;
    check_page(host, headers, sharing)
}

/// The half of `check_origin` that holds for whoever asks.
///
/// # Errors
/// Why the request is refused.
pub(super) fn check_host(host: &str, hosts: &Hosts) -> Result<(), ForeignPage> {
    match hosts.contain(host) {
        true => Ok(()),
        false => Err(ForeignPage::Host {
            host: host.to_ascii_lowercase(),
        }),
    }
}

/// The half of `check_origin` for requests with a field of `Present::OF_PAGE`; others pass.
///
/// # Errors
/// Why the request is refused.
pub(super) fn check_page(
    host: &str,
    headers: &HeaderMap,
    sharing: Option<&Cors>,
) -> Result<(), ForeignPage> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (origin, is_only_one) = (origins.next(), origins.next().is_none());
    let is_shared = sharing.is_some_and(|sharing| match origin {
        Some(_) => is_only_one && sharing.allows(origin),
        None => sharing.allows_every(),
    });
    if is_shared {
        return Ok(());
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    if let Some(site) = sites.next() {
        let is_own = matches!(site.as_bytes(), b"same-origin" | b"none");
        if is_own && sites.next().is_none() {
            return Ok(());
        }
        let site = shown(site);
        return Err(ForeignPage::Site { site });
    }
    match origin {
        Some(origin) if !is_only_one || !is_of(origin, host) => Err(ForeignPage::Origin {
            origin: shown(origin),
        }),
        _ => Ok(()),
    }
}

impl Hosts {
    fn contain(&self, host: &str) -> bool {
        let Self::Local(names) = self else {
            return true;
        };
        let name = without_port(host);
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_below = |name: &str| {
            let end = name.len().checked_sub(BELOW_LOCALHOST.len());
            let end = end.and_then(|at| name.get(at..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(BELOW_LOCALHOST))
        };
        // HTTP/1.0 has no host, and what is empty names nobody.
        name.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || is_below(name)
            || address.unwrap_or(name).parse::<IpAddr>().is_ok()
            || names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether `origin` is the one under which we are called `host`.
fn is_of(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_owned();
    !authority.is_empty() && bare(authority) == bare(&host.to_ascii_lowercase())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => host,
    }
}

fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).trim().to_owned()
}

const BELOW_LOCALHOST: &str = ".localhost";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::CorsConfig;

    fn sharing(origin: &str) -> Cors {
        let config = CorsConfig {
            origins: vec![origin.to_owned()],
            methods: vec![],
            headers: vec![],
            exposed_headers: vec![],
            credentials: false,
            max_age: Duration::ZERO,
        };
        Cors::new(&config).expect("an origin")
    }

    fn judge(
        pairs: &[(&'static str, &str)],
        hosts: &Hosts,
        sharing: Option<&Cors>,
    ) -> Result<(), ForeignPage> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        let uri = Uri::from_static("/x");
        check_origin(Version::HTTP_11, &uri, &headers, hosts, sharing)
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], is_taken: bool) {
        let local = Hosts::Local(vec!["api.example.org".to_owned()]);
        let judged = judge(pairs, &local, None);
        assert_eq!(judged.is_ok(), is_taken, "{pairs:?}: {judged:?}");
    }

    #[test]
    fn a_local_listener_is_called_by_its_names_only() {
        for host in [
            "127.0.0.1:9900",
            "[::1]:9900",
            "localhost",
            "LOCALHOST.:80",
            "a.localhost:1",
        ] {
            check(&[("host", host)], true);
        }
        check(&[("host", "api.example.org:9900")], true);
        check(&[], false);
        for host in [
            "evil.example",
            "evil.example:9900",
            "127.0.0.1.evil.example",
            "xlocalhost",
        ] {
            check(&[("host", host)], false);
            let with_origin = format!("http://{host}");
            check(&[("host", host), ("origin", &with_origin)], false);
        }
        assert_eq!(
            judge(&[("host", "evil.example")], &Hosts::Every, None),
            Ok(())
        );
        check(&[("host", "localhost"), ("host", "localhost")], false);
    }

    #[test]
    fn an_origin_is_that_of_the_host() {
        let host = ("host", "127.0.0.1:9900");
        check(&[host, ("origin", "http://127.0.0.1:9900")], true);
        check(
            &[("host", "localhost"), ("origin", "http://localhost:80")],
            true,
        );
        check(
            &[("host", "localhost"), ("origin", "HTTPS://LocalHost")],
            true,
        );
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1",
            "http://localhost:9900",
            "file://",
            "",
        ] {
            check(&[host, ("origin", origin)], false);
        }
        check(
            &[
                host,
                ("origin", "http://127.0.0.1:9900"),
                ("origin", "null"),
            ],
            false,
        );
        check(&[("origin", "http://127.0.0.1:9900")], false);
    }

    #[test]
    fn what_the_browser_says_of_the_site_comes_first() {
        let host = ("host", "127.0.0.1:8080");
        for site in ["cross-site", "same-site", "whatever", ""] {
            check(&[host, ("sec-fetch-site", site)], false);
        }
        check(&[host, ("sec-fetch-site", "none")], true);
        // Behind a proxy that rewrites the host.
        let page = ("origin", "https://app.example.org");
        check(&[host, page, ("sec-fetch-site", "same-origin")], true);
        check(
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            false,
        );
    }

    #[test]
    fn a_page_that_is_shared_with_may_call() {
        let (page, every) = (sharing("https://app.example.org"), sharing("*"));
        let (host, cross) = (("host", "localhost"), ("sec-fetch-site", "cross-site"));
        let origin = ("origin", "https://app.example.org");
        let local = Hosts::Local(vec![]);
        assert_eq!(judge(&[host, cross, origin], &local, Some(&page)), Ok(()));
        assert_eq!(judge(&[host, cross], &local, Some(&every)), Ok(()));
        assert!(judge(&[host, cross], &local, Some(&page)).is_err());
        let other = ("origin", "https://evil.example");
        assert!(judge(&[host, other], &local, Some(&page)).is_err());
        assert!(judge(&[("host", "evil.example"), other], &local, Some(&every)).is_err());
    }
}
