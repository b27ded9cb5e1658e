//! The broker that is started for a home without one.
mod support;

use std::sync::Arc;

use jarvis_config::Secret;
use jarvis_host::{Entropy, SystemEntropy, Tasks};
use jarvis_mqtt::broker::{Broker, BrokerError, BrokerOptions};
use jarvis_mqtt::{Bridge, Trouble};
use support::sink::TestSink;
use support::{DEADLINE, connected, free_port, options, parts, publish_all, sensor, trouble, until};

fn broker_options(dir: &std::path::Path, login: Option<(&str, &str)>) -> BrokerOptions {
    BrokerOptions {
        dir: dir.join("broker"),
        listen: ([127, 0, 0, 1], free_port()).into(),
        login: login.map(|(user, password)| (user.to_owned(), Secret::new(password))),
        save_every_changes: 1,
        program: None,
        through: Vec::new(),
    }
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lets_in_who_has_the_password_and_keeps_it_to_itself() {
    let (dir, tasks) = (tempfile::tempdir().expect("a folder"), Tasks::new());
    let wanted = broker_options(dir.path(), Some(("jarvis", "hunter2")));
    let broker = Broker::start(&tasks, &wanted, &entropy()).await.expect("it runs");
    let port = broker.address().port();
    let nobody = Bridge::own(&tasks, options(port, "nobody"), parts(&TestSink::new()));
    assert_eq!(
        trouble(&nobody, |_| true).await,
        Trouble::NotAuthorised.to_string()
    );
    let mut known = options(port, "jarvis");
    known.user = Some("jarvis".to_owned());
    known.password = Some(Secret::new("hunter2"));
    let bridge = Bridge::own(&tasks, known, parts(&TestSink::new()));
    connected(&bridge).await;
    for file in std::fs::read_dir(&wanted.dir).expect("a folder") {
        let text = std::fs::read(file.expect("a file").path()).expect("read");
        assert!(!String::from_utf8_lossy(&text).contains("hunter2"));
    }
    assert!(broker.stop().await);
    until(&mut bridge.status(), "gone", |status| {
        !status.state.is_connected()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_took_it_keeps_over_a_restart() {
    let (dir, tasks, sink) = (
        tempfile::tempdir().expect("a folder"),
        Tasks::new(),
        TestSink::new(),
    );
    let wanted = broker_options(dir.path(), None);
    let broker = Broker::start(&tasks, &wanted, &entropy()).await.expect("it runs");
    let port = broker.address().port();
    let bridge = Bridge::own(&tasks, options(port, "jarvis"), parts(&sink));
    connected(&bridge).await;
    let publishing = sensor(&tasks, port).await;
    publish_all(&publishing.publisher(), 1, 0..1).await;
    sink.until_decided(1).await;
    assert!(bridge.release(DEADLINE).await);
    publish_all(&publishing.publisher(), 1, 1..20).await;
    assert!(broker.stop().await);
    let _broker = Broker::start(&tasks, &wanted, &entropy())
        .await
        .expect("it runs again");
    let bridge = Bridge::own(&tasks, options(port, "jarvis"), parts(&sink));
    assert_eq!(connected(&bridge).await.epoch, 1);
    sink.until_decided(20).await;
    support::assert_all_once(&sink, 1, 20);
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut wanted = broker_options(dir.path(), None);
    wanted.listen = taken.local_addr().expect("an address");
    let error = Broker::start(&Tasks::new(), &wanted, &entropy())
        .await
        .expect_err("taken");
    assert!(matches!(error, BrokerError::Taken { .. }), "{error}");
    let mut wanted = broker_options(dir.path(), Some(("a:b", "x")));
    wanted.listen.set_port(free_port());
    let error = Broker::start(&Tasks::new(), &wanted, &entropy())
        .await
        .expect_err("no user");
    assert!(matches!(error, BrokerError::BadUser), "{error}");
}
