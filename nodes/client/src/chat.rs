//! A conversation over the chat socket that outlives sockets and nodes.
//!
//! ```text
//!  ChatClient ──say──► task ──frames──► socket on some node
//!      ◄──events──────  │  Conversation decides what follows from each frame and each loss
//!                       │  Pulse decides when a socket has been silent for too long
//! ```

mod driver;
mod open;
mod pulse;

use jarvis_host::Tasks;
use jarvis_types::chat::ServerFrame;
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use self::driver::{Driver, Order};
use crate::conversation::{Conversation, MAX_UNCONFIRMED};

/// Events that may wait for who reads them; a reader that is slower holds the socket back.
const EVENT_QUEUE_LEN: usize = 1_024;

/// Where and as whom to talk.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// Socket addresses (`ws://host:port/ws`); the server tells more.
    pub endpoints: Vec<String>,
    /// A bearer token.
    pub token: Option<String>,
    /// A session to resume; none: a new one.
    pub session: Option<String>,
    /// What was seen of it already.
    pub after: u64,
}

/// Why a conversation ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The server will not have it, wherever it is tried.
    #[error("{code}: {message}")]
    Refused {
        /// The error frame's code, or `http 403`.
        code: String,
        /// The server's words.
        message: String,
    },
    /// No address to try.
    #[error("{0:?} is no chat socket's address such as ws://192.168.1.10:8007/ws")]
    BadEndpoint(String),
    /// Too many messages wait for their confirmation.
    #[error("{MAX_UNCONFIRMED} messages wait to be confirmed; wait for some of them")]
    Full,
    /// The conversation has ended.
    #[error("the conversation has ended")]
    Ended,
}

/// What happens in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// A frame came.
    Frame {
        /// The frame.
        frame: ServerFrame,
        /// When.
        at: Instant,
    },
    /// The socket is gone; another is sought.
    Reconnecting {
        /// What happened.
        why: String,
        /// When.
        at: Instant,
    },
    /// A socket is there (the first too); its `welcome` comes next.
    Connected {
        /// Where.
        endpoint: String,
        /// When.
        at: Instant,
    },
    /// It is over.
    Failed(ChatError),
}

/// A conversation. Dropping it ends it.
pub struct ChatClient {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<ChatEvent>,
}

impl ChatClient {
    /// Begins a conversation, as a task of `tasks`.
    ///
    /// # Errors
    /// [`ChatError::BadEndpoint`].
    pub fn start(options: ChatOptions, tasks: &Tasks) -> Result<Self, ChatError> {
        for endpoint in &options.endpoints {
            let fits = Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "ws" | "wss") && url.host().is_some());
            if !fits {
                return Err(ChatError::BadEndpoint(endpoint.clone()));
            }
        }
        if options.endpoints.is_empty() {
            return Err(ChatError::BadEndpoint(String::new()));
        }
        let (orders, take_orders) = mpsc::channel(MAX_UNCONFIRMED);
        let (give_events, events) = mpsc::channel(EVENT_QUEUE_LEN);
        let token = options.token.clone();
        let talk = Conversation::new(options.endpoints, options.token, options.session, options.after);
        let driver = Driver::new(talk, token, take_orders, give_events);
        tasks.spawn_until_cancelled(driver.run());
        Ok(Self { orders, events })
    }

    /// Says something under an id of the caller's: it will arrive once, however often sockets break.
    ///
    /// # Errors
    /// `Full` where too many messages wait, `Ended`.
    pub fn say(&self, id: impl Into<String>, text: impl Into<String>) -> Result<(), ChatError> {
        self.order(Order::Say {
            id: id.into(),
            text: text.into(),
        })
    }

    /// Stops the reply to a message.
    ///
    /// # Errors
    /// `Full`, `Ended`.
    pub fn cancel(&self, id: impl Into<String>) -> Result<(), ChatError> {
        self.order(Order::Cancel { id: id.into() })
    }

    fn order(&self, order: Order) -> Result<(), ChatError> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChatError::Full,
            mpsc::error::TrySendError::Closed(_) => ChatError::Ended,
        })
    }

    /// What happens next; none once it is over. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<ChatEvent> {
        self.events.recv().await
    }
}
