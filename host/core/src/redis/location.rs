//! Where a Redis is, as users write it.
//!
//! ```text
//! redis://HOST[:PORT][/DATABASE]                        one server
//! rediss://HOST[:PORT][/DATABASE]                       the same, over TLS
//! unix:/PATH                                            a socket of this machine
//! redis+cluster://HOST[:PORT],HOST[:PORT]…              some nodes of a cluster
//! redis+sentinel://HOST[:PORT],…/SERVICE[/DATABASE]     sentinels, and what they watch
//! ```
//! `rediss+cluster` and `rediss+sentinel` speak TLS with all of them. Credentials are keys of their own,
//! so that no address shows them.

use std::{fmt, str::FromStr};

use crate::text::Text;

/// Where a server or a sentinel listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedisNode {
    Host {
        host: Text,
        port: u16,
    },
    /// The path of a socket.
    Socket(Text),
}

/// How servers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTopology {
    Single(RedisNode),
    /// Nodes that are asked for all the others.
    Cluster(Vec<RedisNode>),
    Sentinel {
        sentinels: Vec<RedisNode>,
        service: Text,
    },
}

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisLocation {
    pub topology: RedisTopology,
    pub is_tls: bool,
    pub database: Option<u32>,
}

/// Why a text is no address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisLocationError {
    #[error(
        "it begins with none of redis://, rediss://, unix:, redis+cluster://, rediss+cluster://, redis+sentinel:// \
         and rediss+sentinel://"
    )]
    Scheme,
    #[error("it holds credentials; write the keys username and password")]
    Credentials,
    #[error("{0:?} is no HOST or HOST:PORT")]
    Node(String),
    #[error("{0:?} is no absolute path of a socket")]
    Path(String),
    #[error("{0:?} is no number of a database")]
    Database(String),
    #[error("a cluster has database 0 alone")]
    DatabaseOfCluster,
    #[error("the name of what the sentinels watch is missing: /SERVICE behind the last of them")]
    Service,
    #[error("{n_nodes} nodes exceed the limit of {NODES_MAX}")]
    Nodes { n_nodes: usize },
    #[error("{0:?} stands behind the address, where nothing may")]
    Rest(String),
}

impl RedisNode {
    /// The name that its certificate is to bear.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } => Some(host),
            Self::Socket(_) => None,
        }
    }

    /// `host:port` as servers write it, an IPv6 address with or without brackets.
    #[must_use]
    pub fn of_authority(authority: &str) -> Option<Self> {
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        let is_host = !host.is_empty() && host.len() <= HOST_BYTES_MAX;
        is_host.then_some(Self::Host {
            host: host.into(),
            port: port.parse().ok().filter(|port| *port != 0)?,
        })
    }
}

impl fmt::Display for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => f.write_str(path),
        }
    }
}

impl FromStr for RedisLocation {
    type Err = RedisLocationError;

    fn from_str(text: &str) -> Result<Self, RedisLocationError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return of_socket(path);
        }
        let (scheme, rest) = text.split_once("://").ok_or(RedisLocationError::Scheme)?;
        let (is_tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => {
                let kind = scheme.strip_prefix("redis");
                (false, kind.ok_or(RedisLocationError::Scheme)?)
            }
        };
        if rest.contains('@') {
            return Err(RedisLocationError::Credentials);
        }
        let (authorities, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (topology, database) = match kind {
            "" => {
                let node = node(authorities, REDIS_PORT)?;
                (RedisTopology::Single(node), database(path)?)
            }
            "+cluster" => match database(path)? {
                None | Some(0) => {
                    let seeds = nodes(authorities, REDIS_PORT)?;
                    (RedisTopology::Cluster(seeds), None)
                }
                Some(_) => return Err(RedisLocationError::DatabaseOfCluster),
            },
            "+sentinel" => {
                let (service, path) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(RedisLocationError::Service);
                }
                let sentinels = nodes(authorities, SENTINEL_PORT)?;
                let service = service.into();
                let topology = RedisTopology::Sentinel { sentinels, service };
                (topology, database(path)?)
            }
            _ => return Err(RedisLocationError::Scheme),
        };
        Ok(Self {
            topology,
            is_tls,
            database,
        })
    }
}

impl fmt::Display for RedisLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let list = |nodes: &[RedisNode]| {
            let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            nodes.join(",")
        };
        match &self.topology {
            RedisTopology::Single(RedisNode::Socket(path)) => write!(f, "unix:{path}")?,
            RedisTopology::Single(node) => write!(f, "{scheme}://{node}")?,
            RedisTopology::Cluster(seeds) => write!(f, "{scheme}+cluster://{}", list(seeds))?,
            RedisTopology::Sentinel { sentinels, service } => {
                write!(f, "{scheme}+sentinel://{}/{service}", list(sentinels))?;
            }
        }
        match (&self.topology, self.database) {
            (RedisTopology::Single(RedisNode::Socket(_)), _) | (_, None) => Ok(()),
            (_, Some(database)) => write!(f, "/{database}"),
        }
    }
}

fn of_socket(path: &str) -> Result<RedisLocation, RedisLocationError> {
    let below = path.trim_start_matches('/');
    // `unix://PATH` is written as well, where PATH begins with its own slash.
    let is_absolute = path.len() == below.len() + 1 || path.len() > below.len() + 2;
    if !is_absolute || below.is_empty() || path.contains('\0') {
        return Err(RedisLocationError::Path(path.to_owned()));
    }
    let path = format!("/{below}");
    Ok(RedisLocation {
        topology: RedisTopology::Single(RedisNode::Socket(path.into())),
        is_tls: false,
        database: None,
    })
}

fn nodes(authorities: &str, port: u16) -> Result<Vec<RedisNode>, RedisLocationError> {
    let n_nodes = authorities.split(',').count();
    if n_nodes > NODES_MAX {
        return Err(RedisLocationError::Nodes { n_nodes });
    }
    let nodes = authorities.split(',');
    nodes.map(|authority| node(authority, port)).collect()
}

fn node(authority: &str, port: u16) -> Result<RedisNode, RedisLocationError> {
    let refused = || RedisLocationError::Node(authority.to_owned());
    if authority.contains(['?', '#', ' ', ',']) {
        return Err(refused());
    }
    let is_bare_v6 = authority.starts_with('[') && authority.ends_with(']');
    let has_port = !is_bare_v6 && authority.contains(':');
    let whole = match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:{port}"),
    };
    RedisNode::of_authority(&whole).ok_or_else(refused)
}

fn database(path: &str) -> Result<Option<u32>, RedisLocationError> {
    if path.is_empty() {
        return Ok(None);
    }
    if path.contains(['?', '#', '/']) {
        return Err(RedisLocationError::Rest(path.to_owned()));
    }
    let number = path.parse().map(Some);
    number.map_err(|_| RedisLocationError::Database(path.to_owned()))
}

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Nodes that one address may name.
const NODES_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        let location: RedisLocation = text.parse().expect(text);
        assert_eq!(location.to_string(), shown);
    }

    fn refused(text: &str, expected: &RedisLocationError) {
        assert_eq!(
            text.parse::<RedisLocation>().as_ref(),
            Err(expected),
            "{text}"
        );
    }

    #[test]
    fn reads_each_form() {
        check("redis://127.0.0.1", "redis://127.0.0.1:6379");
        check("redis://cache:7000/3", "redis://cache:7000/3");
        check("rediss://cache", "rediss://cache:6379");
        check("redis://[::1]:7000", "redis://[::1]:7000");
        check("redis://[::1]", "redis://[::1]:6379");
        check("unix:/run/redis.sock", "unix:/run/redis.sock");
        check("unix:///run/redis.sock", "unix:/run/redis.sock");
        check("redis+cluster://a:1,b", "redis+cluster://a:1,b:6379");
        check("rediss+cluster://a/0", "rediss+cluster://a:6379");
        check(
            "redis+sentinel://a,b:2/main",
            "redis+sentinel://a:26379,b:2/main",
        );
        check(
            "rediss+sentinel://a/main/2",
            "rediss+sentinel://a:26379/main/2",
        );
    }

    #[test]
    fn refuses_what_is_none() {
        use RedisLocationError as E;
        refused("http://a", &E::Scheme);
        refused("redis", &E::Scheme);
        refused("redis+ring://a", &E::Scheme);
        refused("redis://user:secret@a", &E::Credentials);
        refused("redis://a:0", &E::Node("a:0".to_owned()));
        refused("redis://:1", &E::Node(":1".to_owned()));
        refused("redis://a,b", &E::Node("a,b".to_owned()));
        refused("redis://a/x", &E::Database("x".to_owned()));
        refused(
            "redis://a/1?protocol=3",
            &E::Rest("1?protocol=3".to_owned()),
        );
        refused("redis+cluster://a/1", &E::DatabaseOfCluster);
        refused("redis+sentinel://a", &E::Service);
        refused("unix:redis.sock", &E::Path("redis.sock".to_owned()));
        refused("unix://redis.sock", &E::Path("//redis.sock".to_owned()));
        refused("unix:///", &E::Path("///".to_owned()));
        let many = vec!["a"; 65].join(",");
        refused(
            &format!("redis+cluster://{many}"),
            &E::Nodes { n_nodes: 65 },
        );
    }
}
