//! From nothing to a connection that the broker has let in: dialling, TLS, MQTT 5, else 3.1.1.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::link::dial::{Dial, Stream};
use crate::link::tls;
use crate::link::wire::{self, FIRST_FAILURE, Hello, Incoming, Terms, Version};
use crate::options::Options;
use crate::trouble::Trouble;

/// What is read at once.
const FIRST_READ_BYTES: usize = 4_096;
/// The largest answer to a connection: a handful of numbers and texts.
const MAX_ANSWER_BYTES: usize = 16 * 1_024;

/// Messages that the broker may send before we acknowledge. We hold it back by not reading, at `receive_maximum`: Mosquitto
/// before 2.0.13 miscounts what it may send, after which a part of what it queued stays with it until the next connection, and
/// what comes later overtakes it. With nothing to count it queues nothing while we are connected.
const ANNOUNCED_RECEIVE_MAXIMUM: u16 = u16::MAX;

/// A connection that stands.
pub(crate) struct Link {
    pub(crate) stream: Box<dyn Stream>,
    /// What was read beyond the answer.
    pub(crate) read: BytesMut,
    pub(crate) version: Version,
    pub(crate) session_present: bool,
    pub(crate) terms: Terms,
}

/// Connects, in the newest version that the broker speaks. `old_only`: it has refused MQTT 5 already.
pub(crate) async fn connect(
    dial: &dyn Dial,
    options: &Options,
    old_only: &mut bool,
) -> Result<Link, Trouble> {
    if *old_only {
        return connect_by(dial, options, Version::V3).await;
    }
    match connect_by(dial, options, Version::V5).await {
        Err(Trouble::ProtocolRefused) => {
            *old_only = true;
            connect_by(dial, options, Version::V3).await
        }
        // Some close at once on what they do not know. That may as well be a broker that is going down.
        Err(Trouble::ClosedInHandshake) => {
            connect_by(dial, options, Version::V3)
                .await
                .map_err(|trouble| match trouble {
                    Trouble::Refused { .. } | Trouble::ProtocolRefused => Trouble::ClosedInHandshake,
                    other => other,
                })
        }
        other => other,
    }
}

async fn connect_by(dial: &dyn Dial, options: &Options, version: Version) -> Result<Link, Trouble> {
    let patience = options.patience.connect;
    match timeout(patience, shake_hands(dial, options, version)).await {
        Ok(result) => result,
        Err(_) => Err(Trouble::NoAnswer {
            waited_ms: patience.as_millis() as u64,
        }),
    }
}

async fn shake_hands(dial: &dyn Dial, options: &Options, version: Version) -> Result<Link, Trouble> {
    let mut stream = dial.dial(&options.host, options.port).await?;
    if let Some(config) = &options.tls {
        stream = tls::speak(config.clone(), &options.host, stream).await?;
    }
    let broken = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Trouble::ClosedInHandshake,
        _ => tls::told_by_tls(&options.host, &error).unwrap_or_else(|| Trouble::Broken(error.to_string())),
    };
    let mut out = BytesMut::new();
    wire::connect(version, &hello(options), &mut out);
    stream.write_all(&out).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut read = BytesMut::with_capacity(FIRST_READ_BYTES);
    loop {
        // Anything else may take its time to become a packet.
        if read.first().is_some_and(|first| !matches!(first >> 4, 2 | 14)) {
            let what = "what answers is no MQTT broker; check the port in [mqtt] url";
            return Err(Trouble::Protocol(what.to_owned()));
        }
        match wire::read(version, &mut read, MAX_ANSWER_BYTES)? {
            Some(Incoming::ConnAck(answer)) => {
                if answer.code >= FIRST_FAILURE {
                    return Err(Trouble::of_refusal(answer.code, &options.client_id));
                }
                if answer.terms.max_qos == 0 {
                    return Err(Trouble::Unfit("it acknowledges nothing (QoS 0 only)"));
                }
                return Ok(Link {
                    stream,
                    read,
                    version,
                    session_present: answer.session_present,
                    terms: answer.terms,
                });
            }
            Some(Incoming::Disconnect { code }) if code >= FIRST_FAILURE => {
                return Err(Trouble::of_refusal(code, &options.client_id));
            }
            Some(_) => {
                let what = "something else than an answer to the connection came first";
                return Err(Trouble::Protocol(what.to_owned()));
            }
            None => {}
        }
        if stream.read_buf(&mut read).await.map_err(broken)? == 0 {
            return Err(Trouble::ClosedInHandshake);
        }
    }
}

fn hello(options: &Options) -> Hello<'_> {
    let seconds = |duration: Duration| duration.as_secs();
    Hello {
        client_id: &options.client_id,
        user: options.user.as_deref(),
        password: options.password.as_ref().map(|password| password.expose()),
        keep_alive_s: u16::try_from(seconds(options.patience.keep_alive).max(1)).unwrap_or(u16::MAX),
        session_expiry_s: u32::try_from(seconds(options.session_expiry)).unwrap_or(u32::MAX),
        receive_maximum: ANNOUNCED_RECEIVE_MAXIMUM,
        max_packet_bytes: u32::try_from(options.max_packet_bytes).unwrap_or(u32::MAX),
        will: options.will.as_ref(),
    }
}
