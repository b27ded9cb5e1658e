//! Tethers of the mesh, taken by the gateway.

use jarvis_gateway::{KeepTether, TetherKeeper};
use jarvis_mesh::tether::Tethers;

/// The mesh's tethers, as the gateway knows them.
pub(super) struct MeshTethers(pub(super) Tethers);

impl TetherKeeper for MeshTethers {
    fn claim(&self, secret: &str) -> Option<KeepTether> {
        let claim = self.0.claim(secret)?;
        Some(Box::new(move |io| claim.keep(io)))
    }
}

/// The port of `http://host:port`, else the one that scheme has by itself.
pub(super) fn port_of(http_url: &str) -> Option<u16> {
    let (scheme, rest) = http_url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.or(match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_where_people_reach_the_node() {
        for (url, port) in [
            ("http://10.0.0.1:8007", Some(8007)),
            ("http://[fd00::1]:8017/", Some(8017)),
            ("http://attic.lan", Some(80)),
            ("https://attic.lan/jarvis", Some(443)),
            ("http://[fd00::1]", Some(80)),
            ("attic.lan:8007", None),
        ] {
            assert_eq!(port_of(url), port, "{url}");
        }
    }
}
