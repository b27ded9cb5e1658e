//! Why there is no connection: told so that a person knows what to do.

use crate::link::wire::{FIRST_FAILURE, REFUSED_PROTOCOL, WireError};

/// Why a broker was not reached, did not let us in, or was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The name is unknown.
    #[error("the name {host} cannot be resolved ({what}); check [mqtt] url and this machine's DNS")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        what: String,
    },
    /// Nobody listens there.
    #[error("{address} refuses connections; is the broker running, and is that its port?")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// There is no way there.
    #[error("{address} cannot be reached: {what}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        what: String,
    },
    /// Someone listens and says nothing.
    #[error("nothing that speaks MQTT answered within {waited_ms} ms; is TLS spoken on that port?")]
    NoAnswer {
        /// How long was waited.
        waited_ms: u64,
    },
    /// The certificate is for another name.
    #[error("the broker's certificate is not for {host}; write the name it is for into [mqtt] url")]
    TlsName {
        /// What was asked for.
        host: String,
    },
    /// Nobody that is trusted vouches for the certificate.
    #[error("the broker's certificate is signed by nobody who is trusted; set [mqtt] ca_file")]
    TlsUntrusted,
    /// The certificate is out of date.
    #[error("the broker's certificate has expired or is not valid yet; check it and the clocks")]
    TlsExpired,
    /// TLS failed otherwise.
    #[error("no TLS with the broker: {0}")]
    Tls(String),
    /// User or password is wrong.
    #[error("the broker does not take this user and password; check [mqtt] url and password_file")]
    BadCredentials,
    /// The user may not.
    #[error("the broker does not allow this client in; check its access list")]
    NotAuthorised,
    /// The client id is not liked.
    #[error("the broker rejects the client id {client_id:?}; set [mqtt] client_id")]
    IdentifierRejected {
        /// The id.
        client_id: String,
    },
    /// Neither version of the protocol is spoken.
    #[error("the broker speaks neither MQTT 5 nor 3.1.1")]
    ProtocolRefused,
    /// The broker has no room or time.
    #[error("the broker is busy or shutting down (code {code:#04x})")]
    Busy {
        /// Its code.
        code: u8,
    },
    /// It does not let us in for another reason.
    #[error("the broker refuses with code {code:#04x}")]
    RefusedOtherwise {
        /// Its code.
        code: u8,
    },
    /// It cannot do what is needed.
    #[error("the broker is not fit: {0}")]
    Unfit(&'static str),
    /// It closed before it let us in.
    #[error("the broker closed the connection before it answered")]
    ClosedInHandshake,
    /// What comes is no MQTT, or breaks its rules.
    #[error("the broker breaks the protocol: {0}")]
    Protocol(String),
    /// It closed.
    #[error(
        "the broker closed the connection; again and again? then another client may use the same [mqtt] client_id"
    )]
    Closed,
    /// It closed and said why.
    #[error("the broker ended the connection with code {code:#04x}")]
    Ended {
        /// Its code.
        code: u8,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It answers no ping.
    #[error("the broker says nothing any more")]
    Silent,
    /// It takes nothing.
    #[error("the broker takes nothing any more")]
    Stalled,
    /// This node may not act, and the broker has not taken yet all that was published while it might.
    #[error(
        "this node may not act at the moment: what the broker had not taken yet is sent when one may again"
    )]
    MayNotAct,
    /// Someone else uses the session.
    #[error(
        "another client took over the session {client_id:?}; is another cluster using that [mqtt] client_id?"
    )]
    TakenOver {
        /// The session's name.
        client_id: String,
    },
    /// What must be kept cannot be.
    #[error("the cluster cannot keep what follows from messages: {0}")]
    Memory(String),
}

impl Trouble {
    /// Of a code by which a broker does not let us in.
    pub(crate) fn of_refusal(code: u8, client_id: &str) -> Self {
        let client_id = client_id.to_owned();
        match code {
            REFUSED_PROTOCOL => Trouble::ProtocolRefused,
            0x85 => Trouble::IdentifierRejected { client_id },
            0x86 | 0x8c => Trouble::BadCredentials,
            0x87 | 0x8a => Trouble::NotAuthorised,
            0x88 | 0x89 | 0x97 | 0x9f => Trouble::Busy { code },
            code => Trouble::RefusedOtherwise { code },
        }
    }

    /// Of a code by which a broker ends a connection.
    pub(crate) fn of_end(code: u8, client_id: &str) -> Self {
        let client_id = client_id.to_owned();
        match code {
            0x8e => Trouble::TakenOver { client_id },
            0x89 | 0x8b => Trouble::Busy { code },
            0x87 => Trouble::NotAuthorised,
            code if code >= FIRST_FAILURE => Trouble::Ended { code },
            _ => Trouble::Closed,
        }
    }

    /// Whether trying again soon is of no use: a person has to change something.
    pub(crate) fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Trouble::TlsName { .. }
                | Trouble::TlsUntrusted
                | Trouble::TlsExpired
                | Trouble::BadCredentials
                | Trouble::NotAuthorised
                | Trouble::IdentifierRejected { .. }
                | Trouble::ProtocolRefused
                | Trouble::Unfit(_)
                | Trouble::TakenOver { .. }
        )
    }

    /// One word for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Trouble::Unresolved { .. } => "dns",
            Trouble::Refused { .. } => "refused",
            Trouble::Unreachable { .. } => "unreachable",
            Trouble::NoAnswer { .. } => "no_answer",
            Trouble::TlsName { .. } | Trouble::TlsUntrusted | Trouble::TlsExpired | Trouble::Tls(_) => "tls",
            Trouble::BadCredentials => "credentials",
            Trouble::NotAuthorised => "not_authorised",
            Trouble::IdentifierRejected { .. } => "identifier",
            Trouble::ProtocolRefused => "version",
            Trouble::Busy { .. } => "busy",
            Trouble::RefusedOtherwise { .. } => "refused_otherwise",
            Trouble::Unfit(_) => "unfit",
            Trouble::Protocol(_) => "protocol",
            Trouble::ClosedInHandshake | Trouble::Closed | Trouble::Ended { .. } => "closed",
            Trouble::Broken(_) => "broken",
            Trouble::Silent => "silent",
            Trouble::Stalled => "stalled",
            Trouble::MayNotAct => "may_not_act",
            Trouble::TakenOver { .. } => "taken_over",
            Trouble::Memory(_) => "memory",
        }
    }
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        Trouble::Protocol(error.to_string())
    }
}
