//! Connections of clients that fall silent while a fault cuts them off, as behind a pulled cable: nothing comes, nothing
//! goes, and nobody is told.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use jarvis_gateway::{Connection, Listen};
use jarvis_host::Faults;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A listener with faults.
pub(super) struct FaultyListener {
    listener: Box<dyn Listen>,
    faults: Faults,
}

impl FaultyListener {
    pub(super) fn over(listener: Box<dyn Listen>, faults: Faults) -> Box<dyn Listen> {
        Box::new(Self { listener, faults })
    }
}

#[async_trait]
impl Listen for FaultyListener {
    async fn accept(&self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, from) = self.listener.accept().await?;
        let (reading, writing) = (Cut::new(self.faults.clone()), Cut::new(self.faults.clone()));
        let stream = Cuttable {
            stream,
            reading,
            writing,
        };
        Ok((Box::pin(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that can be cut.
struct Cuttable {
    stream: Connection,
    reading: Cut,
    writing: Cut,
}

/// One direction of a connection.
struct Cut {
    faults: Faults,
    /// While it is cut: completes when that is over.
    mended: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Cut {
    fn new(faults: Faults) -> Self {
        Self { faults, mended: None }
    }

    /// Ready while nothing is cut.
    fn poll_mended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.mended.is_none() && !(self.faults.any() && self.faults.http_is_cut()) {
            return Poll::Ready(());
        }
        let faults = &self.faults;
        let mended = self.mended.get_or_insert_with(|| {
            let faults = faults.clone();
            Box::pin(async move { faults.http_mended().await })
        });
        let poll = mended.as_mut().poll(cx);
        if poll.is_ready() {
            self.mended = None;
        }
        poll
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.reading.poll_mended(cx));
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.writing.poll_mended(cx));
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.writing.poll_mended(cx));
        self.stream.as_mut().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.writing.poll_mended(cx));
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.writing.poll_mended(cx));
        self.stream.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jarvis_host::Fault;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_cut_connection_is_silent_both_ways_and_goes_on_when_it_is_mended() {
        let faults = Faults::new();
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Cuttable {
            stream: Box::pin(server),
            reading: Cut::new(faults.clone()),
            writing: Cut::new(faults.clone()),
        };
        server.write_all(b"before").await.expect("written");
        let mut bytes = [0; 6];
        client.read_exact(&mut bytes).await.expect("read");

        faults.set(Fault::HttpCut, 5 * SECOND).expect("allowed");
        client.write_all(b"asked").await.expect("the cable takes it");
        assert!(timeout(SECOND, server.read(&mut bytes)).await.is_err());
        assert!(timeout(SECOND, server.write(b"told")).await.is_err());
        let began = Instant::now();
        assert_eq!(server.read(&mut bytes).await.expect("mended"), 5);
        assert_eq!(began.elapsed(), 3 * SECOND);
        server.write_all(b"told").await.expect("mended");
        assert_eq!(client.read(&mut bytes).await.expect("read"), 4);
    }
}
