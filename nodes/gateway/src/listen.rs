//! Where connections come from: a TCP port, or what a simulation puts in its place.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Duplex for T {}

/// A connection that was accepted.
pub type Connection = Pin<Box<dyn Duplex>>;

/// Accepts connections.
#[async_trait]
pub trait Listen: Send + Sync + 'static {
    /// The next connection, ready to be used, and whose it is.
    ///
    /// # Errors
    /// Where the system has none to give; it may have one a moment later.
    async fn accept(&self) -> io::Result<(Connection, SocketAddr)>;

    /// Where it listens.
    ///
    /// # Errors
    /// Where it cannot say.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

#[async_trait]
impl Listen for TcpListener {
    async fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // A connection that is gone already is found so by whoever reads from it.
        let _ = stream.set_nodelay(true);
        Ok((Box::pin(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

impl From<TcpListener> for Box<dyn Listen> {
    fn from(listener: TcpListener) -> Self {
        Box::new(listener)
    }
}
