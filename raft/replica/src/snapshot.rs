//! Snapshots on their way: a picture of the tables as sealed chunks, one after another, while writes go on.
//!
//! ```text
//!  sender:    head(vote, meta) │ chunk │ chunk │ … │ last chunk        receiver:  installed(vote), or why not
//! ```
//!
//! Every frame is its length (4 bytes, little endian) and a sealed body. The stream's flow control is the back-pressure:
//! neither side holds more than a frame. The receiver writes into tables of their own, and only a stream that came to its
//! end takes the place of what is there.

use std::io;
use std::time::Duration;

use jarvis_machine::snapshot::{Chunk, export, import};
use jarvis_machine::storage::{KeyValue, Read, StoreError, Table};
use jarvis_types::codec;
use openraft::raft::SnapshotResponse;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::metrics;
use crate::state::{SnapshotData, Staged};
use crate::transport::Pipe;
use crate::types::{RPC_VERSION, Snapshot, SnapshotMeta, TypeConfig, Vote};

/// Rows' bytes in one chunk.
const CHUNK_BYTES: usize = 128 * 1024;

/// Largest frame a receiver takes: a chunk holds at least one row, and no row is larger than this.
const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A stream on which nothing moves for this long is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the receiver may take to sync and take over what it received.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(60);

/// First frame: whose snapshot, of what.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    vote: Vote,
    meta: SnapshotMeta,
}

/// What the receiver answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Installed(Vote),
    Refused(String),
}

/// Sends a snapshot and waits until it is installed.
pub(crate) async fn send(
    mut pipe: Pipe,
    vote: Vote,
    snapshot: Snapshot,
) -> io::Result<SnapshotResponse<TypeConfig>> {
    let SnapshotData::Picture(tables) = snapshot.snapshot else {
        return Err(io::Error::other(
            "a snapshot that is being received cannot be sent",
        ));
    };
    let head = seal(&Head {
        vote,
        meta: snapshot.meta,
    })?;
    write_frame(&mut pipe.send, &head).await?;
    let mut next = Some(export(&*tables, None, CHUNK_BYTES).map_err(io::Error::other)?);
    while let Some(chunk) = next {
        let sealed = chunk.encode().map_err(io::Error::other)?;
        write_frame(&mut pipe.send, &sealed).await?;
        next = following(&*tables, &chunk)?;
    }
    drop(tables);
    pipe.send.flush().await?;
    let answer = read_frame(&mut pipe.recv, INSTALL_TIMEOUT).await?;
    match open(&answer)? {
        Answer::Installed(vote) => {
            metrics::snapshot("sent");
            Ok(SnapshotResponse::new(vote))
        }
        Answer::Refused(why) => Err(io::Error::other(format!("refused: {why}"))),
    }
}

/// Reads a snapshot into what `stage` gives and has `install` take it over once it is whole.
pub(crate) async fn receive<F>(
    pipe: &mut Pipe,
    stage: impl FnOnce() -> io::Result<Staged>,
    install: impl FnOnce(Vote, Snapshot) -> F,
) -> io::Result<()>
where
    F: Future<Output = Result<Vote, String>>,
{
    let installed = match read_all(pipe, stage).await {
        Ok((vote, snapshot)) => install(vote, snapshot).await,
        Err(error) => Err(error.to_string()),
    };
    let answer = match &installed {
        Ok(vote) => Answer::Installed(*vote),
        Err(why) => Answer::Refused(why.clone()),
    };
    write_frame(&mut pipe.send, &seal(&answer)?).await?;
    pipe.send.shutdown().await?;
    // The sender lets go once it has read the answer; until then this side must not.
    let _ = tokio::time::timeout(STALL_TIMEOUT, pipe.recv.read_u8()).await;
    installed.map_err(io::Error::other)?;
    metrics::snapshot("received");
    Ok(())
}

async fn read_all(
    pipe: &mut Pipe,
    stage: impl FnOnce() -> io::Result<Staged>,
) -> io::Result<(Vote, Snapshot)> {
    let head = read_frame(&mut pipe.recv, STALL_TIMEOUT).await?;
    let Head { vote, meta } = open(&head)?;
    let staged = stage()?;
    loop {
        let frame = read_frame(&mut pipe.recv, STALL_TIMEOUT).await?;
        let chunk = Chunk::decode(&frame).map_err(|e| malformed(&e.to_string()))?;
        staged.write(&mut |tables| import(tables, &chunk))?;
        if chunk.last {
            return Ok((
                vote,
                Snapshot {
                    meta,
                    snapshot: SnapshotData::Staged(staged),
                },
            ));
        }
    }
}

/// Copies all rows but the replica's own.
pub(crate) fn copy(tables: &dyn Read, to: &Staged) -> io::Result<()> {
    let mut next = Some(export(tables, None, CHUNK_BYTES).map_err(io::Error::other)?);
    while let Some(chunk) = next {
        to.write(&mut |tables| import(tables, &chunk))?;
        next = following(tables, &chunk)?;
    }
    Ok(())
}

fn following(tables: &dyn Read, chunk: &Chunk) -> io::Result<Option<Chunk>> {
    if chunk.last {
        return Ok(None);
    }
    export(tables, chunk.end(), CHUNK_BYTES)
        .map(Some)
        .map_err(io::Error::other)
}

/// No rows at all.
pub(crate) struct Nothing;

impl Read for Nothing {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn scan(
        &self,
        _: Table,
        _: std::ops::Bound<&[u8]>,
        _: std::ops::Bound<&[u8]>,
        _: bool,
        _: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        Ok(Vec::new())
    }
}

fn seal(value: &impl Serialize) -> io::Result<Vec<u8>> {
    codec::encode_serde(RPC_VERSION, value)
        .map(|plain| codec::seal(&plain))
        .map_err(io::Error::other)
}

fn open<T: DeserializeOwned>(sealed: &[u8]) -> io::Result<T> {
    let plain = codec::open(sealed).map_err(|e| malformed(&e.to_string()))?;
    codec::decode_serde(RPC_VERSION, plain).map_err(|e| malformed(&e.to_string()))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn write_frame(to: &mut (impl AsyncWrite + Unpin), sealed: &[u8]) -> io::Result<()> {
    let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    let writing = async {
        to.write_all(&len.to_le_bytes()).await?;
        to.write_all(sealed).await
    };
    tokio::time::timeout(STALL_TIMEOUT, writing)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin), timeout: Duration) -> io::Result<Vec<u8>> {
    let reading = async {
        let len = from.read_u32_le().await? as usize;
        if len > MAX_FRAME_BYTES {
            return Err(malformed("a frame of the snapshot is too large"));
        }
        // Room is made as bytes come: a length that is only claimed holds nothing.
        let mut sealed = Vec::with_capacity(len.min(CHUNK_BYTES));
        from.take(len as u64).read_to_end(&mut sealed).await?;
        if sealed.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(sealed)
    };
    tokio::time::timeout(timeout, reading)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod fuzz;
