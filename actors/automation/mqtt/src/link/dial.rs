//! How a broker is reached: a trait, so that tests and simulation hand in streams of their own.

use std::io::ErrorKind;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::trouble::Trouble;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Reaches brokers.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream to `host`, a name or an address.
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, Trouble>;
}

/// By TCP, all addresses of a name one after the other.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tcp;

#[async_trait]
impl Dial for Tcp {
    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, Trouble> {
        let unresolved = |what: String| Trouble::Unresolved {
            host: host.to_owned(),
            what,
        };
        let addresses = lookup_host((host, port))
            .await
            .map_err(|error| unresolved(error.to_string()))?;
        let mut last = unresolved("it has no address".to_owned());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without it an acknowledgement waits for the one before to be confirmed.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a stream to the broker without TCP_NODELAY");
                    }
                    return Ok(Box::new(stream));
                }
                Err(error) => {
                    let address = address.to_string();
                    last = match error.kind() {
                        ErrorKind::ConnectionRefused => Trouble::Refused { address },
                        _ => Trouble::Unreachable {
                            address,
                            what: error.to_string(),
                        },
                    };
                }
            }
        }
        Err(last)
    }
}
