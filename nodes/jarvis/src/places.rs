//! Where things are on this machine: data folders, a node that runs on one, this machine's name and address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// Where people expect a program's data, as root.
const SYSTEM_DATA: &str = "/var/lib/jarvis";
/// Below a home folder.
const USER_DATA: &str = ".local/share/jarvis";
/// Below a data folder: what `jarvis up` keeps.
pub const UP_FOLDER: &str = "up";
/// An address of no network (RFC 5737): asking for the way there sends nothing.
const NOWHERE: &str = "192.0.2.1:9";

/// The data folder: as given, else `JARVIS_DATA`, else the usual place.
pub fn data_folder(given: Option<&Path>) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    if let Some(named) = std::env::var_os("JARVIS_DATA").filter(|named| !named.is_empty()) {
        return named.into();
    }
    if rustix::process::geteuid().is_root() {
        return SYSTEM_DATA.into();
    }
    match std::env::var_os("XDG_DATA_HOME").filter(|home| Path::new(home).is_absolute()) {
        Some(home) => Path::new(&home).join("jarvis"),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(USER_DATA),
    }
}

/// The environment, as far as it is text.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// This machine's name, as far as it fits a node's.
pub fn machine_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let first = name.split('.').next().unwrap_or_default();
    let fit: String = first
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
        .take(63)
        .collect();
    let fit = fit.trim_start_matches(['-', '_']);
    if fit.is_empty() {
        "node".to_owned()
    } else {
        fit.to_owned()
    }
}

/// The address by which others in the house reach this machine. Nothing is sent: the kernel is asked which address it
/// would use.
pub fn machine_address() -> IpAddr {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| {
            socket.connect(NOWHERE)?;
            socket.local_addr()
        })
        .map(|address| address.ip())
        .ok()
        .filter(|ip| !ip.is_unspecified())
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Where others meet a node that listens on `listen`: as given, else the address it listens on, else this machine's.
pub fn advertised(given: Option<&str>, listen: SocketAddr) -> String {
    match given {
        Some(given) => given.to_owned(),
        None if listen.ip().is_unspecified() => SocketAddr::new(machine_address(), listen.port()).to_string(),
        None => listen.to_string(),
    }
}

/// Where this machine's own programs reach something that listens on `listen`.
pub fn local_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_others_can_use() {
        let any: SocketAddr = "0.0.0.0:8007".parse().expect("an address");
        assert_eq!(local_url(any), "http://127.0.0.1:8007");
        assert_eq!(local_url("[::]:1".parse().expect("an address")), "http://[::1]:1");
        assert_eq!(advertised(Some("pi.local:9"), any), "pi.local:9");
        assert_eq!(
            advertised(None, "10.1.2.3:7".parse().expect("an address")),
            "10.1.2.3:7"
        );
        let found: SocketAddr = advertised(None, any).parse().expect("an address");
        assert!(!found.ip().is_unspecified() && found.port() == 8007);
    }

    #[test]
    fn the_machine_has_a_name_that_fits() {
        assert!(
            machine_name().parse::<jarvis_types::NodeName>().is_ok(),
            "{}",
            machine_name()
        );
    }
}
