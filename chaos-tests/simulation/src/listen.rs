//! The gateway's port on the simulated network.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use jarvis_gateway::{Connection, Listen};
use turmoil::net::TcpListener;

/// A port of one machine.
pub struct SimListener(TcpListener);

impl SimListener {
    /// Binds `port` of the machine on which it is called.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn bind(port: u16) -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", port)).await.map(Self)
    }
}

#[async_trait]
impl Listen for SimListener {
    async fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        Ok((Box::pin(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
