//! The members as the gateway shows them: names, endpoints, the origins their pages have.

use jarvis_machine::rows::{NodeIntent, NodeRow};
use jarvis_types::NodeId;
use url::Url;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberInfo {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) http_url: String,
    serves: bool,
    /// It is being emptied, or was.
    retires: bool,
}

/// All members, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    this: NodeId,
    all: Vec<MemberInfo>,
}

impl Members {
    /// The members of the rows, seen from `this`.
    pub(crate) fn new(this: NodeId, nodes: &[(NodeId, NodeRow)]) -> Self {
        let all = nodes
            .iter()
            .map(|(node, row)| MemberInfo {
                node: *node,
                name: row.name.to_string(),
                http_url: row.http_url.clone(),
                serves: row.healthy && row.intent == NodeIntent::Active,
                retires: matches!(row.intent, NodeIntent::Draining | NodeIntent::Drained),
            })
            .collect();
        Self { this, all }
    }

    /// The name of a node; its number where it is no member.
    pub(crate) fn name(&self, node: NodeId) -> String {
        self.all
            .iter()
            .find(|m| m.node == node)
            .map_or_else(|| format!("node-{node}"), |m| m.name.clone())
    }

    /// The name of this node.
    pub(crate) fn this_name(&self) -> String {
        self.name(self.this)
    }

    /// Whether this node is being emptied, or was.
    pub(crate) fn this_retires(&self) -> bool {
        self.all.iter().any(|m| m.node == self.this && m.retires)
    }

    /// Every gateway's socket address, this one first, then those that serve.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let this = self.all.iter().filter(|m| m.node == self.this);
        this.chain(self.others_first_serving())
            .filter_map(|m| socket_url(&m.http_url))
            .collect()
    }

    /// The other gateways' socket addresses, those that serve first.
    pub(crate) fn other_endpoints(&self) -> Vec<String> {
        self.others_first_serving()
            .filter_map(|m| socket_url(&m.http_url))
            .collect()
    }

    fn others_first_serving(&self) -> impl Iterator<Item = &MemberInfo> {
        let others = |serves: bool| {
            self.all
                .iter()
                .filter(move |m| m.node != self.this && m.serves == serves)
        };
        others(true).chain(others(false))
    }

    /// Whether a page of some member has this origin. The names of loopback count as one.
    pub(crate) fn has_origin(&self, origin: &str) -> bool {
        let Some(origin) = origin_key(origin) else {
            return false;
        };
        self.all
            .iter()
            .any(|m| origin_key(&m.http_url).as_ref() == Some(&origin))
    }

    /// What the page may connect to: each member's origin, for HTTP and for sockets.
    pub(crate) fn connect_sources(&self) -> Vec<String> {
        let origins = self.all.iter().filter_map(|m| Url::parse(&m.http_url).ok());
        let origins = origins
            .map(|url| url.origin().ascii_serialization())
            .filter(|o| o.starts_with("http"));
        origins.flat_map(|o| [o.replacen("http", "ws", 1), o]).collect()
    }
}

/// `http://host:port` becomes `ws://host:port/ws`.
fn socket_url(http_url: &str) -> Option<String> {
    let rest = http_url
        .strip_prefix("http")
        .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"))?;
    Some(format!("ws{}/ws", rest.trim_end_matches('/')))
}

/// Scheme, host and port, with all names of loopback made one.
fn origin_key(origin: &str) -> Option<(String, String, u16)> {
    let url = Url::parse(origin).ok()?;
    let host = match url.host_str()? {
        "127.0.0.1" | "[::1]" => "localhost",
        other => other,
    };
    Some((
        url.scheme().to_owned(),
        host.to_owned(),
        url.port_or_known_default()?,
    ))
}

/// Whether an `Origin` names the host of the request's `Host` header.
pub(crate) fn same_origin(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|a| a.eq_ignore_ascii_case(host)) && !host.is_empty()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use jarvis_machine::rows::NodeRole;

    pub(crate) fn row(name: &str, http_url: &str) -> NodeRow {
        NodeRow {
            name: name.parse().expect("a node name"),
            role: NodeRole::Voter,
            intent: NodeIntent::Active,
            healthy: true,
            mesh_address: http_url.trim_start_matches("http://").to_owned(),
            http_url: http_url.to_owned(),
            version: "0.1.0".to_owned(),
            level: 1,
            joined_at_ms: 1,
        }
    }

    #[test]
    fn endpoints_have_this_node_first_and_what_does_not_serve_last() {
        let mut drained = row("c", "http://10.0.0.3:8007");
        drained.intent = NodeIntent::Drained;
        let rows = [
            (NodeId(1), drained),
            (NodeId(2), row("b", "http://10.0.0.2:8007/")),
            (NodeId(3), row("a", "https://jarvis.example")),
        ];
        let members = Members::new(NodeId(3), &rows);
        assert_eq!(
            members.endpoints(),
            [
                "wss://jarvis.example/ws",
                "ws://10.0.0.2:8007/ws",
                "ws://10.0.0.3:8007/ws"
            ]
        );
        assert_eq!(members.other_endpoints().len(), 2);
        assert_eq!(
            (members.this_name(), members.name(NodeId(9))),
            ("a".to_owned(), "node-9".to_owned())
        );
    }

    #[test]
    fn origins_of_members_are_known_and_others_are_not() {
        let members = Members::new(NodeId(1), &[(NodeId(1), row("a", "http://127.0.0.1:8007"))]);
        for good in [
            "http://127.0.0.1:8007",
            "http://localhost:8007",
            "http://[::1]:8007",
        ] {
            assert!(members.has_origin(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:8008",
            "https://127.0.0.1:8007",
            "http://evil.example:8007",
            "null",
            "",
        ] {
            assert!(!members.has_origin(bad), "{bad}");
        }
        assert!(same_origin("http://Home.lan:8007", "home.lan:8007"));
        assert!(!same_origin("http://evil.example", "home.lan:8007"));
        assert!(!same_origin("null", "") && !same_origin("http://", ""));
        assert_eq!(
            members.connect_sources(),
            ["ws://127.0.0.1:8007", "http://127.0.0.1:8007"]
        );
    }
}
