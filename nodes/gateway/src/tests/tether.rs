//! Tethers: let in by their secret, handed over whole, and no part of people's limits.

use super::*;

const UPGRADE: (&str, &str) = ("upgrade", "jarvis-tether");

impl Rig {
    /// Asks for a tether and reads the answer's head. A connection that finds no place is made again: one that became a
    /// tether gives its place back only when it has been handed over whole.
    async fn tether(&self, secret: &str) -> (TcpStream, String) {
        let asking = async {
            loop {
                if let Ok(answered) = self.try_tether(secret).await {
                    return answered;
                }
            }
        };
        tokio::time::timeout(STEP, asking).await.expect("is answered")
    }

    async fn try_tether(&self, secret: &str) -> std::io::Result<(TcpStream, String)> {
        let mut stream = TcpStream::connect(self.address()).await?;
        let request = format!(
            "GET /tether HTTP/1.1\r\nhost: jarvis.test\r\nconnection: upgrade\r\nupgrade: jarvis-tether\r\n\
             authorization: Bearer {secret}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        Ok((stream, String::from_utf8(head).expect("is text")))
    }

    async fn keeps(&self, tethers: usize) {
        let kept = async {
            while self.tethers.kept() != tethers {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(STEP, kept)
            .await
            .expect("they are handed over");
    }
}

#[tokio::test]
async fn a_tether_is_handed_over_and_lives_as_long_as_its_keeper() {
    let rig = rig().await;
    let (mut stream, head) = rig.tether(FakeTethers::SECRET).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    rig.keeps(1).await;
    rig.tethers.drop_all();
    let ended = tokio::time::timeout(STEP, stream.read(&mut [0; 1])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn without_the_secret_there_is_no_tether() {
    let rig = rig().await;
    for wrong in [ROOT, LOCAL_ADMIN, "00112233445566778899aabbccddeefe", ""] {
        let bearer = format!("Bearer {wrong}");
        let headers = [UPGRADE, ("authorization", &bearer)];
        let answer = rig.request("GET", "/tether", &headers, "").await;
        answer.is_problem(401, "unauthorized");
    }
    rig.request("GET", "/tether", &[UPGRADE], "")
        .await
        .is_problem(401, "unauthorized");
    rig.request("GET", "/tether", &[], "")
        .await
        .is_problem(426, "upgrade_required");
    assert_eq!(rig.tethers.kept(), 0);
}

#[tokio::test]
async fn tethers_take_no_place_of_peoples() {
    let rig = rig_with(GatewaySettings {
        max_connections: 2,
        sockets_per_minute: 1,
        ..settings()
    })
    .await;
    let mut all = Vec::new();
    for tethers in 1..=5 {
        let (stream, head) = rig.tether(FakeTethers::SECRET).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        rig.keeps(tethers).await;
        all.push(stream);
    }
    let last = rig.tether("no secret").await;
    assert!(
        last.1.starts_with("HTTP/1.1 401 "),
        "there is room for people still"
    );
}
