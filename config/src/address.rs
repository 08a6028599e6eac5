//! Network addresses and names as the configuration spells them: parsed once, valid ever after.

use std::fmt;
use std::str::FromStr;

/// Where a node can be reached: a host name or IP address, and a port.
///
/// Names are kept as names and resolved at every connect, because an address behind a name may move. `Display` is what
/// [`FromStr`] reads: `n1.example:7400`, `10.0.0.1:7400`, `[::1]:7400`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: String,
    port: u16,
}

/// The text is no `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address; write host:port such as 127.0.0.1:7400")]
pub struct InvalidAddress {
    /// What was written.
    pub text: String,
}

/// The name of a cluster: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
///
/// Nodes and clients of clusters with different names refuse each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(String);

/// The text cannot name a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name a cluster; write 1 to {} letters, digits, dots, hyphens or underscores", ClusterId::BYTES_MAX)]
pub struct InvalidClusterId {
    /// What was written.
    pub text: String,
}

/// The key of the tags that protect contexts. Never printed: `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Address {
    /// What stands in for an address that could not be read.
    pub(crate) fn stand_in() -> Self {
        Self { host: String::new(), port: 1 }
    }

    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port; 0 means that the system chooses one.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if digits { port.parse().ok() } else { None }.ok_or_else(invalid)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().ok().map(|ip| ip.to_string()),
            None => is_host_name(host).then(|| host.to_ascii_lowercase()),
        };
        Ok(Self { host: host.ok_or_else(invalid)?, port })
    }
}

/// Labels of letters, digits, hyphens and underscores between dots; this covers IPv4 addresses too.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    host.len() <= 253 && host.split('.').all(label)
}

impl ClusterId {
    const BYTES_MAX: usize = 64;

    /// What stands in for a name that could not be read.
    pub(crate) fn stand_in() -> Self {
        Self(String::new())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = InvalidClusterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if plain && (1..=Self::BYTES_MAX).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidClusterId { text: text.to_owned() })
    }
}

impl Secret {
    /// Takes the secret's text, unless it is empty.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret itself, not empty.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_spelled_one_way() {
        for text in ["127.0.0.1:7400", "n1.example:1", "[::1]:7400", "node_1:0", "localhost:65535"] {
            assert_eq!(text.parse::<Address>().expect("an address").to_string(), text);
        }
        assert_eq!("[0:0::1]:7400".parse::<Address>(), "[::1]:7400".parse());
        assert_eq!("N1:7400".parse::<Address>(), "n1:7400".parse());
        for text in ["", "127.0.0.1", ":7400", "n1:", "n1:65536", "n1:+1", "::1:7400", "[n1]:7400", "n 1:7400", "a..b:1"] {
            assert!(text.parse::<Address>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::from_text("hush").expect("not empty");
        assert_eq!(format!("{secret:?}"), "Secret(4 bytes)");
        assert_eq!(secret.expose(), "hush");
        assert_eq!(Secret::from_text(""), None);
    }
}
