//! Where a listener listens, and who may connect to a socket of this machine.

use std::{fmt, net::SocketAddr};

use postern_net::{UnixAddress, UnixAddressError};
use serde_json::json;

use super::{leaf::Leaf, section::section, value::Value};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// `127.0.0.1:9090`.
    Ip(SocketAddr),
    /// `unix:/run/postern.sock`, `unix:@postern`.
    Unix(UnixAddress),
    /// `systemd:NAME`: a socket that was open before the gateway started.
    Passed(String),
}

section! {
    /// The file of a Unix socket.
    pub(crate) struct UnixFile {
        /// Who may connect: whoever may write the file.
        pub mode: FileMode = FileMode(0o660);
        /// Whose the file is: "user", "user:group" or ":group", by names or numbers. Those of the
        /// gateway's process when left out.
        pub owner: Option<FileOwner> = None;
    }
}

/// Permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMode(pub u32);

/// A user and a group, by names or numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileOwner {
    pub user: Option<String>,
    pub group: Option<String>,
}

impl ListenAddress {
    /// The address of the network, where it is one.
    #[must_use]
    pub(crate) const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Passed(_) => None,
        }
    }

    /// Whether it is a socket of this machine that the gateway binds.
    #[must_use]
    pub(crate) const fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether two sockets of one kind cannot be at both.
    #[must_use]
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(one), Self::Ip(other)) => {
                let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
                let is_same_port = one.port() == other.port() && one.port() != 0;
                is_same_port && (is_any || one.ip() == other.ip())
            }
            (one, other) => one == other,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// As it is written.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => write!(f, "unix:{address}"),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl Leaf for ListenAddress {
    fn expected() -> String {
        format!(
            "{}, \"unix:/PATH\" or \"unix:@NAME\" for a socket of this machine, or \
             \"systemd:NAME\" for one that systemd passes",
            SocketAddr::expected()
        )
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_text().unwrap_or_default();
        if let Some(name) = text.strip_prefix("unix:") {
            // As a URL has it.
            let name = name.strip_prefix("//").unwrap_or(name);
            let address = name
                .parse()
                .map_err(|error: UnixAddressError| error.to_string());
            return address.map(Self::Unix);
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            // What FileDescriptorName= takes (systemd.socket(5)).
            let is_legal = |c: u8| matches!(c, b' '..=b'~') && c != b':';
            return match (1..=255).contains(&name.len()) && name.bytes().all(is_legal) {
                true => Ok(Self::Passed(name.to_owned())),
                false => Err(format!(
                    "{name:?} is not a name that systemd gives to a socket"
                )),
            };
        }
        SocketAddr::read(value).map(Self::Ip)
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^(.+:[0-9]+|unix:(//)?[/@].+|systemd:.+)$" })
    }
}

impl Leaf for FileMode {
    fn expected() -> String {
        "permissions in octal, such as \"0660\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        // A number would have lost by which base it was written.
        let digits = value.as_text().unwrap_or_default();
        let is_octal = |c: u8| matches!(c, b'0'..=b'7');
        let mode = (3..=4).contains(&digits.len()) && digits.bytes().all(is_octal);
        let mode = mode.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
        let mode = mode.filter(|mode| *mode <= 0o777);
        mode.map(Self)
            .ok_or_else(|| format!("{} is no text of permissions up to \"0777\"", value.shown()))
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^0?[0-7]{3}$" })
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Leaf for FileOwner {
    fn expected() -> String {
        "\"user\", \"user:group\" or \":group\", by names or numbers".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let refused = || format!("{} names neither user nor group", value.shown());
        let text = value.as_text().ok_or_else(refused)?;
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let owner = Self {
            user: named(user),
            group: named(group),
        };
        let is_empty = owner.user.is_none() && owner.group.is_none();
        let is_odd = group.contains(':') || text.contains(['\0', '/']);
        match is_empty || is_odd {
            true => Err(refused()),
            false => Ok(owner),
        }
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl fmt::Display for FileOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, group } = self;
        f.write_str(user.as_deref().unwrap_or_default())?;
        match group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Leaf>(text: &str) -> Result<T, String> {
        T::read(&Value::Text(text.to_owned()))
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in [
            "127.0.0.1:9090",
            "[::]:0",
            "unix:/run/a.sock",
            "unix:@postern",
            "systemd:http",
        ] {
            let address: ListenAddress = read(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        let of_url: ListenAddress = read("unix:///run/a.sock").expect("a URL");
        assert_eq!(of_url.to_string(), "unix:/run/a.sock");
        for text in [
            "",
            "unix:",
            "unix:a.sock",
            "unix://run/a",
            "systemd:",
            "systemd:a:b",
            "systemd:\n",
            "a",
        ] {
            assert!(read::<ListenAddress>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal_text() {
        assert_eq!(read("0660"), Ok(FileMode(0o660)));
        assert_eq!(read("600"), Ok(FileMode(0o600)));
        assert_eq!(FileMode(0o60).to_string(), "0060");
        for text in ["", "66", "00660", "0888", "1777", "rw-", "+660"] {
            assert!(read::<FileMode>(text).is_err(), "{text}");
        }
        assert!(FileMode::read(&Value::Integer(0o660)).is_err());
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both() {
        for text in ["ann", "ann:staff", ":staff", "1000:20"] {
            let owner: FileOwner = read(text).expect(text);
            assert_eq!(owner.to_string(), text);
        }
        for text in ["", ":", "a:b:c", "a/b"] {
            assert!(read::<FileOwner>(text).is_err(), "{text}");
        }
    }
}
