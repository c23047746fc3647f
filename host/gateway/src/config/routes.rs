//! `[routes.NAME]`, in the configuration and in manifests: which requests over HTTP go where. What a
//! request is compared with and what a route leads to are types of the core, which are made here.

use std::{path::PathBuf, time::Duration};

use postern_core::{
    Headers, HttpStatus, Text,
    headers::HeadersBuilder,
    route::{
        BodyForm, FieldRule, FilesEnd, FixedEnd, HttpRoute, LocationTemplate, MethodEnd,
        PathRewrite, PathTemplate, RedirectEnd, RouteEnd, RouteRule, UpstreamEnd,
    },
};

use super::{
    inline::Pairs,
    leaf::is_token,
    named::Named,
    route_words::{BodyFormName, HostName, HttpMethod, ParamTypeName, RedirectStatus, RoutePath},
    section::section,
};

section! {
    /// One route: which requests it takes, and what becomes of them.
    pub(crate) struct RouteSettings {
        /// Whether it is there at all.
        pub enabled: bool = true;
        /// Hosts that it takes: "api.example.org", or "*.example.org" for every name below. Empty:
        /// every host.
        pub hosts: Vec<HostName> = Vec::new();
        /// Path that it takes, such as "/users/{id}", "/users/{id:int}" or "/files/{path*}". Needed.
        pub path: Option<RoutePath> = None;
        /// Methods that it takes; "GET" takes HEAD as well. Left out: POST where it leads to a method
        /// of a service, GET where it leads to files, every method otherwise.
        pub methods: Vec<HttpMethod> = Vec::new();
        /// Headers that a request must have, with that value; "*" is any.
        pub headers: Pairs<String> = Pairs::default();
        /// Parameters that a query must have, with that value; "*" is any.
        pub query: Pairs<String> = Pairs::default();
        /// Listeners that it is for. Empty: every one that speaks HTTP.
        pub listeners: Vec<String> = Vec::new();
        /// Leads to a method of this service. In a manifest: one of the plugin's own, which it is
        /// when left out.
        pub service: Option<String> = None;
        /// The method that is called, with `service`.
        pub method: Option<String> = None;
        /// Version of the service that is asked for.
        pub version: Option<String> = None;
        /// Types of parameters of path and query, by name: "int", "number", "bool" or "string". Left out:
        /// those of the method's schema.
        pub types: Pairs<ParamTypeName> = Pairs::default();
        /// What the body of a request may be: "json", which parameters are added to, "form" (that, or
        /// a form), or "raw", which goes to the method as it is and without parameters.
        pub body: BodyFormName = BodyFormName::Json;
        /// Media types that the method answers with, where not JSON.
        pub produces: Vec<String> = Vec::new();
        /// Whether requests are compared with the schema of what the method takes, and refused with all
        /// that does not fit.
        pub validate: bool = false;
        /// Leads to the instances of this service, which are asked as the client asks.
        pub upstream: Option<String> = None;
        /// Left out of the path that an upstream is asked for, where it begins so.
        pub strip_prefix: Option<String> = None;
        /// The path that an upstream is asked for, of parameters of the route: "/v2/{path}".
        pub rewrite_path: Option<String> = None;
        /// The host that an upstream is asked for, in the place of the client's.
        pub rewrite_host: Option<String> = None;
        /// Leads to another address.
        pub redirect: RedirectSettings = RedirectSettings::default();
        /// Leads to an answer that is the same for all.
        pub fixed: FixedSettings = FixedSettings::default();
        /// Leads to files of a folder.
        pub files: FilesSettings = FilesSettings::default();
        /// Status of a reply that says none.
        pub status: Option<u32> = None, within "200" to "599";
        /// Fields of a reply that has none of that name.
        pub response_headers: Pairs<String> = Pairs::default();
        /// Whether errors are problem details (RFC 9457) for every client, and not only for those that
        /// accept `application/problem+json`.
        pub problems: bool = false;
        /// Time to the head of a reply whose client sets no deadline; at most `calls.timeout-max`.
        pub timeout: Option<Duration> = None, within "1ms" to "24h";
    }
}

section! {
    /// Another address.
    pub(crate) struct RedirectSettings {
        /// The address, of parameters of the route: "/new/{id}" or "https://www.example.org/{path}".
        pub to: Option<String> = None;
        /// 301, 302, 303, 307 or 308.
        pub status: RedirectStatus = RedirectStatus(308);
        /// Whether the query of the request goes with it.
        pub keep_query: bool = true;
    }
}

section! {
    /// An answer that is the same for all.
    pub(crate) struct FixedSettings {
        /// Its status.
        pub status: Option<u32> = None, within "200" to "599";
        /// Its fields.
        pub headers: Pairs<String> = Pairs::default();
        /// Its body; text unless `headers` say otherwise.
        pub body: Option<String> = None;
    }
}

section! {
    /// Files of a folder. The last parameter of the path says which.
    pub(crate) struct FilesSettings {
        /// The folder.
        pub folder: Option<PathBuf> = None;
        /// Whether `index.html` is sent for a folder.
        pub index: bool = true;
        /// File that is sent, with status 200, for a path that has none.
        pub fallback: Option<String> = None;
        /// Whether `NAME.br`, `NAME.zst` and `NAME.gz` are sent for `NAME` to those who accept them.
        pub precompressed: bool = true;
        /// Whether links may lead out of the folder.
        pub follow_links: bool = false;
        /// Whether files and folders are there whose names begin with a dot. `.well-known` always is.
        pub hidden: bool = false;
    }
}

impl Named for RouteSettings {}

/// What is wrong with a route, below its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteFault {
    pub key: &'static str,
    pub message: String,
    pub remedy: &'static str,
}

impl RouteSettings {
    /// The route called `name`.
    ///
    /// # Errors
    /// The first thing that is wrong with it. `cross/routes.rs` tells more of what may be.
    pub(crate) fn to_route(&self, name: &str) -> Result<HttpRoute, RouteFault> {
        let path = self.path.as_ref().map(|path| &path.0);
        let path = path.ok_or_else(|| {
            let remedy = "add path = \"/...\"";
            RouteFault::new("path", "the key \"path\" is missing", remedy)
        })?;
        let end = self.end(path)?;
        let methods: Vec<_> = self.methods.iter().map(|method| method.0.clone()).collect();
        let methods = match (&end, methods.is_empty()) {
            (RouteEnd::Method(_), true) => vec![Text::from_static("POST")],
            (RouteEnd::Files(_), true) => vec![Text::from_static("GET")],
            (_, _) => methods,
        };
        Ok(HttpRoute {
            name: name.into(),
            rule: RouteRule {
                hosts: self.hosts.iter().map(|host| host.0.clone()).collect(),
                path: path.clone(),
                methods,
                headers: field_rules(&self.headers, str::to_ascii_lowercase),
                query: field_rules(&self.query, str::to_owned),
                listeners: self
                    .listeners
                    .iter()
                    .map(|one| one.as_str().into())
                    .collect(),
            },
            end,
            status: status("status", self.status)?,
            headers: fields("response-headers", &self.response_headers, &[])?,
            has_problems: self.problems,
            timeout_ms: self.timeout.map(|timeout| {
                // A day at most.
                u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
            }),
        })
    }

    fn end(&self, path: &PathTemplate) -> Result<RouteEnd, RouteFault> {
        let located = |key, to: &str| {
            let parsed = LocationTemplate::parse(to, path);
            parsed.map_err(|error| RouteFault::new(key, error.to_string(), LOCATION_REMEDY))
        };
        if let (Some(service), Some(method)) = (&self.service, &self.method) {
            return Ok(RouteEnd::Method(self.method_end(service, method)));
        }
        if let Some(service) = &self.upstream {
            let path = match (&self.strip_prefix, &self.rewrite_path) {
                (None, None) => PathRewrite::Keep,
                (Some(prefix), _) if prefix.starts_with('/') => {
                    PathRewrite::StripPrefix(prefix.as_str().into())
                }
                (Some(prefix), _) => {
                    let message = format!("{prefix:?} does not begin with a slash");
                    return Err(RouteFault::new("strip-prefix", message, "write \"/...\""));
                }
                (None, Some(to)) => PathRewrite::Template(located("rewrite-path", to)?),
            };
            let is_host = |host: &String| {
                let is_octet = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
                host.chars().all(is_octet)
            };
            if let Some(host) = self.rewrite_host.as_ref().filter(|host| !is_host(host)) {
                let message = format!("{host:?} is no host with or without a port");
                return Err(RouteFault::new(
                    "rewrite-host",
                    message,
                    "write \"api.example.org\"",
                ));
            }
            return Ok(RouteEnd::Upstream(UpstreamEnd {
                service: service.as_str().into(),
                path,
                host: self.rewrite_host.as_deref().map(Text::from),
            }));
        }
        if let Some(to) = &self.redirect.to {
            return Ok(RouteEnd::Redirect(RedirectEnd {
                to: located("redirect.to", to)?,
                status: self.redirect.status.to_status()?,
                keeps_query: self.redirect.keep_query,
            }));
        }
        if let Some(status) = status("fixed.status", self.fixed.status)? {
            return Ok(RouteEnd::Fixed(self.fixed.to_end(status)?));
        }
        if let Some(folder) = &self.files.folder {
            return Ok(RouteEnd::Files(self.files.to_end(folder.clone())));
        }
        let message = match (&self.service, &self.method) {
            (Some(_), None) => "the key \"method\" is missing",
            (None, Some(_)) => "the key \"service\" is missing",
            (_, _) => "nothing says where it leads",
        };
        Err(RouteFault::new("", message, END_REMEDY))
    }

    fn method_end(&self, service: &str, method: &str) -> MethodEnd {
        let types = self.types.0.iter();
        MethodEnd {
            service: service.into(),
            method: method.into(),
            version: self.version.as_deref().map(Text::from),
            body: match self.body {
                BodyFormName::Json => BodyForm::Json,
                BodyFormName::Form => BodyForm::Form,
                BodyFormName::Raw => BodyForm::Raw,
            },
            types: types
                .map(|(name, kind)| (name.as_str().into(), kind.0))
                .collect(),
            produces: self
                .produces
                .iter()
                .map(|one| one.as_str().into())
                .collect(),
            is_checked: self.validate,
            transcoder: None,
        }
    }
}

impl FixedSettings {
    fn to_end(&self, status: HttpStatus) -> Result<FixedEnd, RouteFault> {
        let text: &[(&str, &str)] = match self.body {
            Some(_) => &[("content-type", "text/plain; charset=utf-8")],
            None => &[],
        };
        Ok(FixedEnd {
            status,
            headers: fields("fixed.headers", &self.headers, text)?,
            body: self.body.clone().unwrap_or_default().into(),
        })
    }
}

impl FilesSettings {
    fn to_end(&self, folder: PathBuf) -> FilesEnd {
        FilesEnd {
            folder,
            has_index: self.index,
            fallback: self.fallback.as_deref().map(Text::from),
            has_precompressed: self.precompressed,
            follows_links: self.follow_links,
            shows_hidden: self.hidden,
        }
    }
}

impl RouteFault {
    pub(crate) fn new(key: &'static str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            key,
            message: message.into(),
            remedy,
        }
    }
}

impl RedirectStatus {
    fn to_status(self) -> Result<HttpStatus, RouteFault> {
        let status = HttpStatus::new(self.0);
        status.map_err(|error| RouteFault::new("redirect.status", error.to_string(), "write 308"))
    }
}

fn status(key: &'static str, written: Option<u32>) -> Result<Option<HttpStatus>, RouteFault> {
    let parse = |number: u32| {
        let number = u16::try_from(number).unwrap_or_default();
        let status = HttpStatus::new(number);
        status.map_err(|error| RouteFault::new(key, error.to_string(), "write 200 to 599"))
    };
    written.map(parse).transpose()
}

fn field_rules(pairs: &Pairs<String>, name_of: impl Fn(&str) -> String) -> Vec<FieldRule> {
    let rule = |(name, value): (&String, &String)| FieldRule {
        name: name_of(name).into(),
        value: (value != "*").then(|| value.as_str().into()),
    };
    pairs.0.iter().map(rule).collect()
}

/// Fields of a reply; `defaults` are those that are not written.
fn fields(
    key: &'static str,
    pairs: &Pairs<String>,
    defaults: &[(&str, &str)],
) -> Result<Headers, RouteFault> {
    let mut builder = HeadersBuilder::fields(pairs.0.len() + defaults.len(), 256);
    let is_written = |name: &str| pairs.0.keys().any(|one| one.eq_ignore_ascii_case(name));
    let defaults = defaults
        .iter()
        .filter(|(name, _)| !is_written(name))
        .copied();
    let written = pairs
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in defaults.chain(written) {
        if !is_token(name) {
            let message = format!("{name:?} is no name of a field");
            return Err(RouteFault::new(
                key,
                message,
                "write letters, digits and dashes",
            ));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let message = format!("{value:?} has a control character, which no field has");
            return Err(RouteFault::new(key, message, "remove it"));
        }
        // Fields take any number of others.
        let _ = builder.push(name, value);
    }
    Ok(builder.build())
}

const LOCATION_REMEDY: &str = "write an address such as \"/new/{id}\"";
const END_REMEDY: &str =
    "add service and method, upstream, redirect.to, fixed.status or files.folder";
