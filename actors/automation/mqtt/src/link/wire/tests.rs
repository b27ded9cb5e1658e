//! Packets read and written, and bytes that are none.

use super::*;

const MOST: usize = 64 * 1_024;

fn parse(version: Version, bytes: &[u8]) -> Result<Option<Incoming>, WireError> {
    read(version, &mut BytesMut::from(bytes), MOST)
}

#[test]
fn a_refusal_in_the_old_form_is_understood_by_both() {
    for version in [Version::V5, Version::V3] {
        for (old, new) in [(0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)] {
            let Ok(Some(Incoming::ConnAck(ack))) = parse(version, &[0x20, 2, 1, old]) else {
                panic!("an answer")
            };
            assert_eq!((ack.session_present, ack.code), (true, new));
        }
    }
}

#[test]
fn terms_are_read() {
    let bytes = [
        0x20, 16, 0, 0, 13, 0x21, 0, 20, 0x27, 0, 0, 4, 0, 0x25, 0, 0x13, 0, 9,
    ];
    let Ok(Some(Incoming::ConnAck(ack))) = parse(Version::V5, &bytes) else {
        panic!("an answer")
    };
    let expected = Terms {
        receive_maximum: 20,
        max_packet_bytes: 1_024,
        retain: false,
        keep_alive_s: Some(9),
        ..Terms::default()
    };
    assert_eq!(ack.terms, expected);
    let nothing = [0x20, 6, 0, 0, 3, 0x21, 0, 0];
    assert!(parse(Version::V5, &nothing).is_err());
}

#[test]
fn a_message_goes_there_and_back() {
    for version in [Version::V5, Version::V3] {
        let message = Publication {
            intent: "i1".to_owned(),
            topic: "a/b".to_owned(),
            payload: Bytes::from_static(b"on"),
            retain: true,
        };
        let mut out = BytesMut::new();
        publication(version, 7, true, &message, MOST, &mut out).expect("fits");
        let size = out.len();
        let Ok(Some(Incoming::Publish(read))) = read(version, &mut out, MOST) else {
            panic!("a message")
        };
        assert_eq!(
            (
                read.packet_id,
                read.duplicate,
                read.retained,
                read.topic.as_str(),
                &read.payload[..]
            ),
            (Some(7), true, true, "a/b", &b"on"[..])
        );
        assert_eq!(
            publication(version, 7, true, &message, size - 1, &mut out),
            Err(size)
        );
    }
}

#[test]
fn what_a_broker_must_not_send_is_refused() {
    let v5 = [
        ("a request", vec![0xc0, 0]),
        ("no type", vec![0x00, 0]),
        ("authentication", vec![0xf0, 0]),
        ("an endless length", vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("too large", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("no packet id", vec![0x40, 1, 0]),
        ("packet id 0", vec![0x40, 2, 0, 0]),
        ("a message of QoS 2", vec![0x34, 6, 0, 1, b'a', 0, 1, 0]),
        ("a message of QoS 3", vec![0x36, 6, 0, 1, b'a', 0, 1, 0]),
        ("a wildcard", vec![0x30, 4, 0, 1, b'#', 0]),
        ("an empty topic", vec![0x30, 3, 0, 0, 0]),
        ("an alias", vec![0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1]),
        ("no UTF-8", vec![0x30, 4, 0, 1, 0xff, 0]),
        (
            "properties that end before they do",
            vec![0x30, 5, 0, 1, b'a', 9, 0x01],
        ),
        ("properties without an end", vec![0x30, 4, 0, 1, b'a', 0xff]),
        ("a topic that ends before it does", vec![0x30, 3, 0, 9, b'a']),
    ];
    for (what, bytes) in v5 {
        assert!(parse(Version::V5, &bytes).is_err(), "{what}");
    }
    assert!(
        parse(Version::V3, &[0xe0, 0]).is_err(),
        "a farewell that 3.1.1 has not"
    );
    assert_eq!(
        parse(Version::V5, &[0xe0, 0]),
        Ok(Some(Incoming::Disconnect { code: 0 }))
    );
    assert_eq!(parse(Version::V5, &[0x30]), Ok(None));
    assert_eq!(parse(Version::V5, &[0x30, 4, 0, 1, b'a']), Ok(None));
}

/// Whatever a broker sends: no panic, no more memory than was sent, and the next packet begins where this one ends.
fn fuzz(target: jarvis_fuzz::Target, version: Version) {
    target.seeds(seeds(version)).longest(2_048).run(|bytes| {
        let mut buffer = BytesMut::from(bytes);
        let mut kinds = Vec::new();
        loop {
            let before = buffer.len();
            match read(version, &mut buffer, 1_024) {
                Ok(Some(packet)) => {
                    assert!(buffer.len() < before, "a packet takes bytes");
                    kinds.push(std::mem::discriminant(&packet));
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "what is not whole stays");
                    return Ok(kinds);
                }
                Err(error) => return Err(error),
            }
        }
    });
}

fn seeds(version: Version) -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    let message = Publication {
        intent: "i1".to_owned(),
        topic: "zigbee2mqtt/lamp".to_owned(),
        payload: Bytes::from_static(b"{\"state\":\"ON\"}"),
        retain: false,
    };
    publication(version, 1, false, &message, MOST, &mut out).expect("fits");
    let mut seeds = vec![out.to_vec()];
    seeds.push(vec![0x20, 2, 0, 0]);
    seeds.push(vec![0x20, 6, 0, 0, 3, 0x21, 0, 20]);
    seeds.push(vec![0x40, 2, 0, 1]);
    seeds.push(vec![0x40, 4, 0, 1, 0x87, 0]);
    seeds.push(vec![0x90, 4, 0, 1, 0, 1]);
    seeds.push(vec![0xd0, 0]);
    seeds.push(vec![0xe0, 2, 0x8e, 0]);
    seeds
}

#[test]
fn fuzz_what_a_broker_of_mqtt_5_sends() {
    fuzz(jarvis_fuzz::fuzz!(), Version::V5);
}

#[test]
fn fuzz_what_a_broker_of_3_1_1_sends() {
    fuzz(jarvis_fuzz::fuzz!(), Version::V3);
}
