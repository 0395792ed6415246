//! The targets that need no proxy: this machine, and those that `NO_PROXY` names.

use std::net::{IpAddr, Ipv6Addr};

use http::Uri;

/// The list's entries, separated by commas: a domain with those below it (`example.com`), only those below it
/// (`.example.com`, `*.example.com`), an IP address, each with or without a port; a network (`10.0.0.0/8`); `*`
/// for all. Entries that are none of these match nothing.
pub(super) struct NoProxy(Vec<Entry>);

enum Entry {
    All,
    Network { ip: IpAddr, bits: u8 },
    Ip { ip: IpAddr, port: Option<u16> },
    Domain { suffix: String, itself: bool, port: Option<u16> },
}

impl NoProxy {
    pub(super) fn new(text: &str) -> Self {
        Self(
            text.split(',')
                .filter_map(|entry| Entry::parse(&entry.trim().to_lowercase()))
                .collect(),
        )
    }

    pub(super) fn contains(&self, target: &Uri, port: u16) -> bool {
        let host = bare(target.host().unwrap_or_default()).to_lowercase();
        let ip = host.parse().ok().map(canonical);
        self.0.iter().any(|entry| entry.matches(&host, ip, port))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let (ip, bits) = (ip.parse::<IpAddr>().ok()?, bits.parse().ok()?);
            return (bits <= width(ip)).then_some(Self::Network { ip, bits });
        }
        // An IPv6 address has colons, and a port only after brackets.
        if let Ok(ip) = bare(text).parse() {
            return Some(Self::Ip { ip: canonical(ip), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        if let Ok(ip) = bare(host).parse() {
            return Some(Self::Ip { ip: canonical(ip), port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let itself = !host.starts_with('.');
        let suffix = if itself { format!(".{host}") } else { host.to_owned() };
        (suffix.len() > 1).then_some(Self::Domain { suffix, itself, port })
    }

    fn matches(&self, host: &str, ip: Option<IpAddr>, at: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network { ip: base, bits } => ip.is_some_and(|ip| is_within(ip, *base, *bits)),
            Self::Ip { ip: same, port } => ip == Some(*same) && port.is_none_or(|port| port == at),
            Self::Domain { suffix, itself, port } => {
                (host.ends_with(suffix) || *itself && host == &suffix[1..])
                    && port.is_none_or(|port| port == at)
            }
        }
    }
}

/// Whether the target is this machine, which is never reached through a proxy.
pub(super) fn is_loopback(target: &Uri) -> bool {
    let host = bare(target.host().unwrap_or_default());
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|ip: IpAddr| canonical(ip).is_loopback())
}

// Without the brackets of a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

// An IPv4 address in an IPv6 one is that address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_within(ip: IpAddr, base: IpAddr, bits: u8) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => Ipv6Addr::to_bits(ip),
    };
    // All of an address but `bits`; none of it where that is all.
    let shift = u32::from(width(base) - bits);
    let network = |ip| number(ip).checked_shr(shift).unwrap_or_default();
    ip.is_ipv4() == base.is_ipv4() && network(ip) == network(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_as_go_matches_them() {
        for (list, target, expected) in [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://EU.Example.com/", true),
            ("Example.com", "https://example.com/", true),
            ("example.com", "https://notexample.com/", false),
            (".example.com", "https://example.com/", false),
            (".example.com", "https://eu.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://eu.example.com/", true),
            ("other, example.com ,", "https://example.com/", true),
            ("example.com:4317", "http://example.com:4317/", true),
            ("example.com:4317", "http://example.com:4318/", false),
            ("example.com:443", "https://example.com/", true),
            ("example.com:80", "http://example.com/", true),
            ("example.com:none", "http://example.com/", false),
            ("*", "http://example.com/", true),
            ("collector", "http://collector:4317/", true),
            (".svc.cluster.local", "http://otel.obs.svc.cluster.local:4317/", true),
            ("10.1.2.3", "http://10.1.2.3:4317/", true),
            ("10.1.2.3:4317", "http://10.1.2.3:4317/", true),
            ("10.1.2.3:4318", "http://10.1.2.3:4317/", false),
            ("10.0.0.0/8", "http://10.255.2.3:4317/", true),
            ("10.0.0.0/8", "http://11.0.0.1:4317/", false),
            ("10.1.0.0/31", "http://10.1.0.1/", true),
            ("10.1.0.0/31", "http://10.1.0.2/", false),
            ("0.0.0.0/0", "http://192.0.2.1/", true),
            ("0.0.0.0/0", "http://[2001:db8::1]/", false),
            ("10.0.0.0/33", "http://10.0.0.0/", false),
            ("10.0.0.0/8", "http://example.com/", false),
            ("2001:db8::1", "http://[2001:db8::1]:4317/", true),
            ("[2001:db8::1]", "http://[2001:db8::1]:4317/", true),
            ("[2001:db8::1]:4317", "http://[2001:db8::1]:4317/", true),
            ("[2001:db8::1]:1", "http://[2001:db8::1]:4317/", false),
            ("2001:db8::/32", "http://[2001:db8:1::1]/", true),
            ("2001:db8::/32", "http://[2001:db9::1]/", false),
            ("::/0", "http://[2001:db9::1]/", true),
            ("192.0.2.1", "http://[::ffff:192.0.2.1]/", true),
            ("", "http://example.com/", false),
            (".", "http://example.com/", false),
            ("*.", "http://example.com/", false),
            (":4317", "http://example.com:4317/", false),
        ] {
            let target: Uri = target.parse().unwrap();
            let contains = NoProxy::new(list).contains(&target, super::super::port(&target));
            assert_eq!(contains, expected, "{list} {target}");
        }
    }

    #[test]
    fn this_machine_is_reached_directly() {
        for (target, expected) in [
            ("http://localhost:4317/", true),
            ("http://LOCALHOST/", true),
            ("http://127.0.0.1/", true),
            ("http://127.8.0.1/", true),
            ("http://[::1]:4317/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&target.parse().unwrap()), expected, "{target}");
        }
    }
}
