//! Why a connection is closed, as the other side is told.

use std::fmt;

/// A reason that both sides know. The numbers go over the wire and are promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CloseCode {
    Stopping = 0,
    NotAMember = 1,
    Removed = 2,
    OtherCluster = 3,
    NoCertificate = 4,
    WrongNode = 5,
    Superseded = 6,
    CertificateExpired = 7,
    Protocol = 8,
    Replaced = 9,
    WrongSide = 10,
    JoinBusy = 11,
    JoinDone = 12,
    BadCertificate = 13,
    Heard = 14,
}

impl CloseCode {
    const ALL: [Self; 15] = [
        Self::Stopping,
        Self::NotAMember,
        Self::Removed,
        Self::OtherCluster,
        Self::NoCertificate,
        Self::WrongNode,
        Self::Superseded,
        Self::CertificateExpired,
        Self::Protocol,
        Self::Replaced,
        Self::WrongSide,
        Self::JoinBusy,
        Self::JoinDone,
        Self::BadCertificate,
        Self::Heard,
    ];

    /// The words that go with it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::NotAMember => "not a member of this cluster",
            Self::Removed => "removed from this cluster",
            Self::OtherCluster => "other cluster",
            Self::NoCertificate => "no certificate",
            Self::WrongNode => "wrong node: another one was dialled",
            Self::Superseded => "superseded by a newer connection of the same node",
            Self::CertificateExpired => "certificate expired",
            Self::Protocol => "protocol error",
            Self::Replaced => "replaced after a renewal",
            Self::WrongSide => "a node does not dial itself",
            Self::JoinBusy => "too many joins at a time: try again",
            Self::JoinDone => "join answered",
            Self::BadCertificate => "the certificate names no node",
            Self::Heard => "heard: the node with the lower id dials back",
        }
    }

    /// The value of the `reason` label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::NotAMember => "not_a_member",
            Self::Removed => "removed",
            Self::OtherCluster => "other_cluster",
            Self::NoCertificate => "no_certificate",
            Self::WrongNode => "wrong_node",
            Self::Superseded => "superseded",
            Self::CertificateExpired => "certificate_expired",
            Self::Protocol => "protocol_error",
            Self::Replaced => "replaced",
            Self::WrongSide => "wrong_side",
            Self::JoinBusy => "join_busy",
            Self::JoinDone => "join_done",
            Self::BadCertificate => "bad_certificate",
            Self::Heard => "heard",
        }
    }

    /// Whether the other side will go on refusing until someone does something.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::NotAMember
                | Self::Removed
                | Self::OtherCluster
                | Self::NoCertificate
                | Self::WrongNode
                | Self::CertificateExpired
                | Self::WrongSide
                | Self::BadCertificate
        )
    }

    pub(crate) fn close(self, connection: &quinn::Connection) {
        connection.close(quinn::VarInt::from_u32(self as u32), self.reason().as_bytes());
    }

    /// The code with which the other side closed, if it did and the code is known.
    pub(crate) fn of(error: &quinn::ConnectionError) -> Option<Self> {
        let quinn::ConnectionError::ApplicationClosed(close) = error else {
            return None;
        };
        Self::ALL
            .into_iter()
            .find(|code| u64::from(*code as u32) == close.error_code.into_inner())
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// What TLS found wrong with a peer, as the label of the metric. Alerts are RFC 8446's, in QUIC's range of codes.
pub(crate) fn tls_refusal(error: &quinn::ConnectionError) -> Option<&'static str> {
    const CRYPTO_BASE: u64 = 0x100;
    let quinn::ConnectionError::TransportError(error) = error else {
        return None;
    };
    match u64::from(error.code).checked_sub(CRYPTO_BASE)? {
        42 | 43 | 46 | 51 => Some("bad_certificate"),
        44 | 45 => Some("certificate_expired"),
        48 => Some("other_ca"),
        116 => Some("no_certificate"),
        120 => Some("no_common_protocol"),
        0..=255 => Some("tls_other"),
        _ => None,
    }
}
