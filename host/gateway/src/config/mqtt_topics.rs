//! Topics of MQTT as keys write them: permissions with `%c` and `%u`, and routes with names for levels.

use std::collections::BTreeSet;

use postern_core::{Text, json};

use super::{leaf::Leaf, value::Value};

/// A filter in which a level may stand for the client or the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPermission {
    levels: Vec<PermissionLevel>,
}

/// One level of a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PermissionLevel {
    /// Text, of pieces that are put together for each client.
    Literal(Vec<PermissionPiece>),
    /// `+`.
    One,
    /// `#`, the last.
    Rest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PermissionPiece {
    Text(String),
    /// `%c`.
    ClientId,
    /// `%u`.
    Principal,
}

/// All publishes that are calls, the most specific first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MqttRoutes(pub Vec<TopicRoute>);

/// Publishes to topics of a filter are calls of one method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicRoute {
    /// As it is written.
    pub filter: Text,
    pub levels: Vec<RouteLevel>,
    pub service: Text,
    pub method: Text,
}

/// One level of a route. The order is that of how specific they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteLevel {
    Literal(String),
    /// `+`, or `+name`.
    One(Option<Text>),
    /// `#`, or `#name`, the last.
    Rest(Option<Text>),
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("{0:?} is no filter of 1 to {FILTER_BYTES_MAX} octets without NUL")]
    Length(String),
    #[error("{filter:?} has \"{sign}\" beside other signs of its level")]
    Beside { filter: String, sign: char },
    #[error("{0:?} goes on behind \"#\"")]
    AfterRest(String),
    #[error("{filter:?} has \"%{sign}\", which stands for nothing")]
    Escape { filter: String, sign: String },
    #[error("{filter:?} names a level {name:?}, which is no letters, digits, \"_\" or \"-\"")]
    Name { filter: String, name: String },
    #[error("{filter:?} names two levels {name:?}")]
    SameName { filter: String, name: String },
    #[error("{0:?} is a topic of the broker's own")]
    Own(String),
}

impl TopicPermission {
    /// # Errors
    /// Why `text` is no filter.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let levels = levels_of(text)?;
        let n_levels = levels.len();
        let level = |(idx, level): (usize, &str)| match level {
            "+" => Ok(PermissionLevel::One),
            "#" if idx + 1 == n_levels => Ok(PermissionLevel::Rest),
            "#" => Err(FilterError::AfterRest(text.to_owned())),
            level => pieces(text, level).map(PermissionLevel::Literal),
        };
        let levels = levels.iter().copied().enumerate().map(level);
        Ok(Self {
            levels: levels.collect::<Result<_, _>>()?,
        })
    }

    #[must_use]
    pub(crate) fn levels(&self) -> &[PermissionLevel] {
        &self.levels
    }

    fn shown(&self) -> String {
        let level = |level: &PermissionLevel| match level {
            PermissionLevel::One => "+".to_owned(),
            PermissionLevel::Rest => "#".to_owned(),
            PermissionLevel::Literal(pieces) => pieces.iter().map(PermissionPiece::shown).collect(),
        };
        let levels: Vec<String> = self.levels.iter().map(level).collect();
        levels.join("/")
    }
}

impl PermissionPiece {
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.replace('%', "%%"),
            Self::ClientId => "%c".to_owned(),
            Self::Principal => "%u".to_owned(),
        }
    }
}

impl TopicRoute {
    /// # Errors
    /// Why `filter` is no filter of a route.
    pub(crate) fn parse(filter: &str, service: &str, method: &str) -> Result<Self, FilterError> {
        let levels = levels_of(filter)?;
        if levels.first().is_some_and(|first| first.starts_with('$')) {
            return Err(FilterError::Own(filter.to_owned()));
        }
        let n_levels = levels.len();
        let mut names = BTreeSet::new();
        let mut parsed = Vec::with_capacity(n_levels);
        for (idx, level) in levels.iter().enumerate() {
            let (one, rest) = (level.strip_prefix('+'), level.strip_prefix('#'));
            if rest.is_some() && idx + 1 < n_levels {
                return Err(FilterError::AfterRest(filter.to_owned()));
            }
            let name = name_of(filter, one.or(rest).unwrap_or_default())?;
            if let Some(name) = name.clone().filter(|name| !names.insert(name.clone())) {
                return Err(FilterError::SameName {
                    filter: filter.to_owned(),
                    name: name.to_string(),
                });
            }
            parsed.push(match (one, rest) {
                (Some(_), _) => RouteLevel::One(name),
                (None, Some(_)) => RouteLevel::Rest(name),
                (None, None) => {
                    refuse_signs(filter, level)?;
                    RouteLevel::Literal((*level).to_owned())
                }
            });
        }
        Ok(Self {
            filter: filter.into(),
            levels: parsed,
            service: service.into(),
            method: method.into(),
        })
    }

    /// Whether both take the same topics.
    fn is_same(&self, other: &Self) -> bool {
        let mut levels = self.levels.iter().zip(&other.levels);
        self.levels.len() == other.levels.len()
            && levels.all(|pair| match pair {
                (RouteLevel::Literal(one), RouteLevel::Literal(other)) => one == other,
                (RouteLevel::One(_), RouteLevel::One(_))
                | (RouteLevel::Rest(_), RouteLevel::Rest(_)) => true,
                (RouteLevel::Literal(_) | RouteLevel::One(_) | RouteLevel::Rest(_), _) => false,
            })
    }
}

fn levels_of(filter: &str) -> Result<Vec<&str>, FilterError> {
    let is_good = (1..=FILTER_BYTES_MAX).contains(&filter.len()) && !filter.contains('\0');
    if !is_good {
        let shown: String = filter.chars().take(SHOWN_CHARS_MAX).collect();
        return Err(FilterError::Length(shown));
    }
    Ok(filter.split('/').collect())
}

fn refuse_signs(filter: &str, level: &str) -> Result<(), FilterError> {
    match level.chars().find(|sign| matches!(sign, '+' | '#')) {
        Some(sign) => Err(FilterError::Beside {
            filter: filter.to_owned(),
            sign,
        }),
        None => Ok(()),
    }
}

/// `%c` and `%u`, and `%%` for the sign itself.
fn pieces(filter: &str, level: &str) -> Result<Vec<PermissionPiece>, FilterError> {
    refuse_signs(filter, level)?;
    let mut parts = level.split('%');
    let mut pieces = Vec::new();
    let mut text = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        let piece = match rest.next() {
            Some('c') => PermissionPiece::ClientId,
            Some('u') => PermissionPiece::Principal,
            // Two signs: what follows the second is text.
            None => {
                text.push('%');
                text.push_str(parts.next().unwrap_or_default());
                continue;
            }
            Some(sign) => {
                return Err(FilterError::Escape {
                    filter: filter.to_owned(),
                    sign: sign.to_string(),
                });
            }
        };
        if !text.is_empty() {
            pieces.push(PermissionPiece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
        text.push_str(rest.as_str());
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(PermissionPiece::Text(text));
    }
    Ok(pieces)
}

fn name_of(filter: &str, name: &str) -> Result<Option<Text>, FilterError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match name {
        "" => Ok(None),
        name if name.chars().all(is_legal) => Ok(Some(name.into())),
        name => Err(FilterError::Name {
            filter: filter.to_owned(),
            name: name.to_owned(),
        }),
    }
}

impl Leaf for TopicPermission {
    fn expected() -> String {
        "a filter such as \"devices/%c/#\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        Self::parse(&text).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.shown().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Leaf for MqttRoutes {
    fn expected() -> String {
        "a table such as { \"devices/+id/cmd\" = \"devices/Run\" }".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let written = super::inline::Pairs::<String>::read(value)?;
        let mut routes = Vec::<TopicRoute>::new();
        for (filter, target) in &written.0 {
            let named = target.rsplit_once('/');
            let named = named.filter(|(service, method)| !service.is_empty() && !method.is_empty());
            let (service, method) = named
                .ok_or_else(|| format!("{target:?} of {filter:?} names no service and method"))?;
            let route = TopicRoute::parse(filter, service, method);
            let route = route.map_err(|error| error.to_string())?;
            if let Some(other) = routes.iter().find(|other| other.is_same(&route)) {
                let other = &other.filter;
                return Err(format!("{filter:?} takes the same topics as {other:?}"));
            }
            routes.push(route);
        }
        routes.sort_by(|one, other| one.levels.cmp(&other.levels));
        Ok(Self(routes))
    }

    fn written(&self) -> Option<String> {
        let route = |route: &TopicRoute| {
            let mut pair = Vec::new();
            json::push_string(&mut pair, &route.filter);
            pair.extend_from_slice(b" = ");
            json::push_string(&mut pair, &format!("{}/{}", route.service, route.method));
            String::from_utf8_lossy(&pair).into_owned()
        };
        let routes: Vec<_> = self.0.iter().map(route).collect();
        Some(match routes.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{ {} }}", routes.join(", ")),
        })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "object", "additionalProperties": String::schema() })
    }
}

/// Longest filter of MQTT 5 section 1.5.4.
const FILTER_BYTES_MAX: usize = 65_535;
/// Of a filter that is refused, shown.
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn routes(pairs: &[(&str, &str)]) -> Result<MqttRoutes, String> {
        let pairs: BTreeMap<_, _> = pairs
            .iter()
            .map(|(filter, target)| ((*filter).to_owned(), (*target).to_owned()))
            .collect();
        let text = crate::config::inline::Pairs(pairs).written();
        let table = format!("[mqtt]\nroutes = {}\n", text.unwrap_or_default());
        let parsed = crate::config::parse("t", &table, &BTreeMap::new());
        parsed
            .map(|(config, _)| config.mqtt.routes)
            .map_err(|faults| faults.to_string())
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = TopicPermission::parse(text).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn permissions_are_written_as_they_are_read() {
        for text in [
            "devices/%c/up",
            "#",
            "a/+/#",
            "%u",
            "x%u-y/%%c",
            "/a//",
            "$SYS/#",
        ] {
            let permission = TopicPermission::parse(text).expect(text);
            assert_eq!(permission.shown(), text);
        }
    }

    #[test]
    fn a_permission_that_is_no_filter_is_refused() {
        refused("", "1 to 65535");
        refused("a/#/b", "goes on behind");
        refused("a/b+", "\"+\" beside");
        refused("a/%x", "\"%x\"");
    }

    #[test]
    fn the_most_specific_route_comes_first() {
        let read = routes(&[("#all", "a/All"), ("x/+", "a/One"), ("x/y", "a/This")]);
        let filters: Vec<_> = read
            .expect("good")
            .0
            .into_iter()
            .map(|one| one.filter)
            .collect();
        assert_eq!(filters, ["x/y", "x/+", "#all"]);
    }

    #[test]
    fn routes_that_say_nothing_or_the_same_are_refused() {
        for (pairs, why) in [
            (&[("a", "b")][..], "names no service and method"),
            (&[("$SYS/a", "b/c")], "the broker's own"),
            (&[("+a/+a", "b/c")], "names two levels"),
            (&[("+a b", "b/c")], "names a level"),
            (&[("#a/b", "b/c")], "goes on behind"),
            (&[("x/+a", "b/c"), ("x/+b", "b/d")], "takes the same topics"),
        ] {
            let error = routes(pairs).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
