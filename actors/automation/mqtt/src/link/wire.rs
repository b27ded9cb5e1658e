//! Bytes to packets and back, of both versions of the protocol. PURE.
//!
//! The packets are rumqttc's. Framing is done here, so that a packet is complete before it is looked at and nothing beyond
//! the bound is waited for. Answers are read here as well: a broker of 3.1.1 refuses a client of MQTT 5 in its own form, and
//! reason codes unknown to this side must not look like damage.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{self as old, v4};
use rumqttc::v5::mqttbytes::{QoS, v5};

use crate::options::Will;
use crate::publish::Publication;

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V3,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Version::V5 => "5",
            Version::V3 => "3.1.1",
        })
    }
}

/// The user property that carries an intent's id.
pub const INTENT_PROPERTY: &str = "jarvis-intent";

/// Bytes that are no MQTT, or that a broker must not send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length of a packet is no length.
    #[error("a packet's length is malformed")]
    Length,
    /// A packet that is larger than was agreed.
    #[error("a packet of {bytes} bytes, of {most} that are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// A packet whose contents are wrong.
    #[error("a malformed packet: {0}")]
    Malformed(String),
    /// A packet that only clients send, or none at all.
    #[error("a packet of type {0}, which no broker sends")]
    Type(u8),
}

/// What a broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    ConnAck(ConnAck),
    Publish(Publish),
    /// A message of ours was taken, or not: codes from 0x80 on.
    PubAck {
        packet_id: u16,
        code: u8,
    },
    SubAck {
        packet_id: u16,
        codes: Vec<u8>,
    },
    UnsubAck {
        packet_id: u16,
    },
    PingResp,
    Disconnect {
        code: u8,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    /// As MQTT 5 counts, whatever was spoken.
    pub(crate) code: u8,
    /// What the broker takes.
    pub(crate) terms: Terms,
}

/// What a broker takes, as it said when it let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Messages of ours that may be under way.
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet_bytes: usize,
    pub(crate) max_qos: u8,
    pub(crate) retain: bool,
    /// Whether it says by which subscriptions a message comes.
    pub(crate) identifiers: bool,
    pub(crate) keep_alive_s: Option<u16>,
    /// Shorter than what was asked for, perhaps.
    pub(crate) session_expiry_s: Option<u32>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            max_packet_bytes: MAX_REMAINING_BYTES,
            max_qos: 2,
            retain: true,
            identifiers: true,
            keep_alive_s: None,
            session_expiry_s: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    /// None: QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) duplicate: bool,
    pub(crate) retained: bool,
    /// The subscriptions by which it comes, where the broker says so.
    pub(crate) identifiers: Vec<usize>,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// The largest length that the protocol can write.
const MAX_REMAINING_BYTES: usize = 268_435_455;
const MAX_LENGTH_BYTES: usize = 4;

pub(crate) const REFUSED_PROTOCOL: u8 = 0x84;
pub(crate) const FIRST_FAILURE: u8 = 0x80;

/// A packet cut out of the stream.
struct Frame {
    first: u8,
    /// Bytes of the length.
    length_bytes: usize,
    /// The whole packet, its header included.
    bytes: Bytes,
}

impl Frame {
    fn body(&self) -> Bytes {
        self.bytes.slice(1 + self.length_bytes..)
    }
}

/// Cuts the next packet out of what was read; none yet where it is not whole.
fn cut(buffer: &mut BytesMut, most: usize) -> Result<Option<Frame>, WireError> {
    let Some(first) = buffer.first().copied() else {
        return Ok(None);
    };
    let mut length = 0usize;
    let mut length_bytes = 0;
    loop {
        if length_bytes == MAX_LENGTH_BYTES {
            return Err(WireError::Length);
        }
        let Some(byte) = buffer.get(1 + length_bytes).copied() else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * length_bytes);
        length_bytes += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let whole = 1 + length_bytes + length;
    if whole > most {
        return Err(WireError::TooLarge { bytes: whole, most });
    }
    if buffer.len() < whole {
        // Bounded by `most`; what is not there yet is not believed further than that.
        buffer.reserve(whole - buffer.len());
        return Ok(None);
    }
    let bytes = buffer.split_to(whole).freeze();
    Ok(Some(Frame {
        first,
        length_bytes,
        bytes,
    }))
}

/// Takes the next packet of a broker out of what was read.
pub(crate) fn read(
    version: Version,
    buffer: &mut BytesMut,
    most: usize,
) -> Result<Option<Incoming>, WireError> {
    let Some(frame) = cut(buffer, most)? else {
        return Ok(None);
    };
    let mut body = frame.body();
    let incoming = match frame.first >> 4 {
        2 => Incoming::ConnAck(conn_ack(version, body)?),
        3 => Incoming::Publish(publish(version, &frame)?),
        4 => {
            let packet_id = packet_id(&mut body)?;
            // Left out: it went well.
            let code = if body.has_remaining() { body.get_u8() } else { 0 };
            Incoming::PubAck { packet_id, code }
        }
        9 => {
            let packet_id = packet_id(&mut body)?;
            skip_properties(version, &mut body)?;
            let codes = body.to_vec();
            Incoming::SubAck { packet_id, codes }
        }
        11 => Incoming::UnsubAck {
            packet_id: packet_id(&mut body)?,
        },
        13 => Incoming::PingResp,
        14 if version == Version::V5 => Incoming::Disconnect {
            code: body.first().copied().unwrap_or(0),
        },
        other => return Err(WireError::Type(other)),
    };
    Ok(Some(incoming))
}

fn malformed(what: impl ToString) -> WireError {
    WireError::Malformed(what.to_string())
}

fn packet_id(body: &mut Bytes) -> Result<u16, WireError> {
    if body.remaining() < 2 {
        return Err(malformed("it has no packet id"));
    }
    match body.get_u16() {
        0 => Err(malformed("its packet id is 0")),
        id => Ok(id),
    }
}

fn skip_properties(version: Version, body: &mut Bytes) -> Result<(), WireError> {
    if version == Version::V5 {
        v5::SubAckProperties::read(body).map_err(malformed)?;
    }
    Ok(())
}

fn conn_ack(version: Version, mut body: Bytes) -> Result<ConnAck, WireError> {
    if body.remaining() < 2 {
        return Err(malformed("an answer to a connection without a code"));
    }
    let session_present = body.get_u8() & 1 == 1;
    let code = body.get_u8();
    // Two bytes are the answer of 3.1.1, even to one who spoke MQTT 5.
    if version == Version::V3 || !body.has_remaining() {
        let code = match code {
            0 => 0,
            1 => REFUSED_PROTOCOL,
            2 => 0x85,
            3 => 0x88,
            4 => 0x86,
            5 => 0x87,
            // What 3.1.1 does not know may be a code of MQTT 5.
            other => other.max(FIRST_FAILURE),
        };
        return Ok(ConnAck {
            session_present,
            code,
            terms: Terms::default(),
        });
    }
    let properties = v5::ConnAckProperties::read(&mut body).map_err(malformed)?;
    let mut terms = Terms::default();
    if let Some(said) = properties {
        if said.receive_max == Some(0) || said.max_packet_size == Some(0) {
            return Err(malformed("it says that nothing may be sent"));
        }
        terms.receive_maximum = said.receive_max.unwrap_or(terms.receive_maximum);
        let most = said.max_packet_size.map(|bytes| bytes as usize);
        terms.max_packet_bytes = most.unwrap_or(terms.max_packet_bytes);
        terms.max_qos = said.max_qos.unwrap_or(terms.max_qos);
        terms.retain = said.retain_available != Some(0);
        terms.identifiers = said.subscription_identifiers_available != Some(0);
        terms.keep_alive_s = said.server_keep_alive;
        terms.session_expiry_s = said.session_expiry_interval;
    }
    Ok(ConnAck {
        session_present,
        code,
        terms,
    })
}

fn publish(version: Version, frame: &Frame) -> Result<Publish, WireError> {
    let length = frame.bytes.len() - 1 - frame.length_bytes;
    let bytes = frame.bytes.clone();
    let (qos, mut publish) = match version {
        Version::V5 => {
            let header = v5::FixedHeader::new(frame.first, frame.length_bytes, length);
            let read = v5::Publish::read(header, bytes).map_err(malformed)?;
            let properties = read.properties.unwrap_or_default();
            if properties.topic_alias.is_some() {
                return Err(malformed("a topic alias, of which none was allowed"));
            }
            let topic =
                std::str::from_utf8(&read.topic).map_err(|_| malformed("a topic that is not UTF-8"))?;
            let publish = Publish {
                packet_id: Some(read.pkid),
                duplicate: read.dup,
                retained: read.retain,
                identifiers: properties.subscription_identifiers,
                topic: topic.to_owned(),
                payload: read.payload,
            };
            (read.qos as u8, publish)
        }
        Version::V3 => {
            let header = old::FixedHeader::new(frame.first, frame.length_bytes, length);
            let read = v4::Publish::read(header, bytes).map_err(malformed)?;
            let publish = Publish {
                packet_id: Some(read.pkid),
                duplicate: read.dup,
                retained: read.retain,
                identifiers: Vec::new(),
                topic: read.topic,
                payload: read.payload,
            };
            (read.qos as u8, publish)
        }
    };
    match qos {
        0 => publish.packet_id = None,
        1 => {}
        _ => return Err(malformed("a message of QoS 2, of which none was asked for")),
    }
    if !is_topic(&publish.topic) {
        return Err(malformed("a topic that is none"));
    }
    Ok(publish)
}

/// Whether something can be published under that name.
pub(crate) fn is_topic(text: &str) -> bool {
    (1..=usize::from(u16::MAX)).contains(&text.len()) && !text.contains(['+', '#', '\0'])
}

/// What a client says first.
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    pub(crate) keep_alive_s: u16,
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet_bytes: u32,
    pub(crate) will: Option<&'a Will>,
}

/// Writes what is bounded already: settings, and what [`publication`] has measured.
const FITS: &str = "nothing longer than the protocol allows is written";

pub(crate) fn connect(version: Version, hello: &Hello<'_>, out: &mut BytesMut) {
    let user = hello.user.map(str::to_owned);
    let password = hello.password.unwrap_or_default().to_owned();
    match version {
        Version::V5 => {
            let mut properties = v5::ConnectProperties::new();
            properties.session_expiry_interval = Some(hello.session_expiry_s);
            properties.receive_maximum = Some(hello.receive_maximum);
            properties.max_packet_size = Some(hello.max_packet_bytes);
            let connect = v5::Connect {
                keep_alive: hello.keep_alive_s,
                client_id: hello.client_id.to_owned(),
                clean_start: false,
                properties: Some(properties),
            };
            let login = user.map(|username| v5::Login { username, password });
            let will = hello.will.map(|will| {
                let delay_s = u32::try_from(will.delay.as_secs()).unwrap_or(u32::MAX);
                let properties = v5::LastWillProperties {
                    delay_interval: Some(delay_s),
                    payload_format_indicator: None,
                    message_expiry_interval: None,
                    content_type: None,
                    response_topic: None,
                    correlation_data: None,
                    user_properties: Vec::new(),
                };
                let (topic, payload) = (will.topic.as_str(), will.payload.as_str());
                v5::LastWill::new(topic, payload, QoS::AtLeastOnce, true, Some(properties))
            });
            connect.write(&will, &login, out).expect(FITS);
        }
        Version::V3 => {
            let connect = v4::Connect {
                protocol: old::Protocol::V4,
                keep_alive: hello.keep_alive_s,
                client_id: hello.client_id.to_owned(),
                clean_session: false,
                last_will: None,
                login: user.map(|username| v4::Login { username, password }),
            };
            connect.write(out).expect(FITS);
        }
    }
}

/// Writes a message of QoS 1; says its size instead where that is more than `most`.
pub(crate) fn publication(
    version: Version,
    packet_id: u16,
    duplicate: bool,
    message: &Publication,
    most: usize,
    out: &mut BytesMut,
) -> Result<(), usize> {
    let fits = |bytes: usize| if bytes > most { Err(bytes) } else { Ok(()) };
    match version {
        Version::V5 => {
            let properties = v5::PublishProperties {
                user_properties: vec![(INTENT_PROPERTY.to_owned(), message.intent.clone())],
                ..v5::PublishProperties::default()
            };
            let mut publish = v5::Publish::new(
                message.topic.as_str(),
                QoS::AtLeastOnce,
                message.payload.clone(),
                Some(properties),
            );
            publish.pkid = packet_id;
            publish.dup = duplicate;
            publish.retain = message.retain;
            fits(publish.size())?;
            publish.write(out).expect(FITS);
        }
        Version::V3 => {
            let mut publish = v4::Publish::from_bytes(
                message.topic.as_str(),
                old::QoS::AtLeastOnce,
                message.payload.clone(),
            );
            publish.pkid = packet_id;
            publish.dup = duplicate;
            publish.retain = message.retain;
            fits(publish.size())?;
            publish.write(out).expect(FITS);
        }
    }
    Ok(())
}

pub(crate) fn acknowledgement(packet_id: u16, out: &mut BytesMut) {
    // Both versions write the same: that all is well need not be said.
    v4::PubAck::new(packet_id).write(out).expect(FITS);
}

/// Of filters with a number what the broker retains is to be sent also where it knows the subscription; MQTT 3.1.1 always does that.
pub(crate) fn subscription(
    version: Version,
    packet_id: u16,
    filters: &[(String, u64)],
    identifier: Option<usize>,
    out: &mut BytesMut,
) {
    match version {
        Version::V5 => {
            let filters = filters.iter().map(|(filter, number)| v5::Filter {
                path: filter.clone(),
                qos: QoS::AtLeastOnce,
                nolocal: false,
                preserve_retain: false,
                retain_forward_rule: match number {
                    0 => v5::RetainForwardRule::OnNewSubscribe,
                    _ => v5::RetainForwardRule::OnEverySubscribe,
                },
            });
            let properties = identifier.map(|id| v5::SubscribeProperties {
                id: Some(id),
                user_properties: Vec::new(),
            });
            let mut subscribe = v5::Subscribe::new_many(filters, properties);
            subscribe.pkid = packet_id;
            subscribe.write(out).expect(FITS);
        }
        Version::V3 => {
            let filters = filters
                .iter()
                .map(|(filter, _)| v4::SubscribeFilter::new(filter.clone(), old::QoS::AtLeastOnce));
            let mut subscribe = v4::Subscribe::new_many(filters);
            subscribe.pkid = packet_id;
            subscribe.write(out).expect(FITS);
        }
    }
}

pub(crate) fn unsubscription(version: Version, packet_id: u16, filters: &[String], out: &mut BytesMut) {
    match version {
        Version::V5 => {
            let unsubscribe = v5::Unsubscribe {
                pkid: packet_id,
                filters: filters.to_vec(),
                properties: None,
            };
            unsubscribe.write(out).expect(FITS);
        }
        Version::V3 => {
            let unsubscribe = v4::Unsubscribe {
                pkid: packet_id,
                topics: filters.to_vec(),
            };
            unsubscribe.write(out).expect(FITS);
        }
    }
}

pub(crate) fn ping(out: &mut BytesMut) {
    out.extend_from_slice(&[0xc0, 0]);
}

/// Both versions write a plain farewell alike; the session stays.
pub(crate) fn farewell(out: &mut BytesMut) {
    out.extend_from_slice(&[0xe0, 0]);
}

#[cfg(test)]
mod tests;
