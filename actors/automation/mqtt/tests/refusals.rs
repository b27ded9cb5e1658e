//! Passwords and certificates, with a real broker.
mod support;

use std::path::Path;
use std::process::Command;

use jarvis_config::{MqttSettings, Secret};
use jarvis_host::Tasks;
use jarvis_mqtt::{Bridge, Options, Trouble};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use support::sink::TestSink;
use support::{DEADLINE, Mosquitto, connected, options, parts, publication, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_a_right_one_lets_in() {
    let broker = Mosquitto::start_with("allow_anonymous false\npassword_file DIR/passwords\n", |dir| {
        let file = dir.join("passwords");
        std::fs::write(&file, "ha:hunter2\n").expect("written");
        let hashed = Command::new("mosquitto_passwd")
            .arg("-U")
            .arg(&file)
            .status()
            .expect("it starts");
        assert!(hashed.success());
    })
    .await;
    let tasks = Tasks::new();
    let nobody = Bridge::own(&tasks, options(broker.port, "jarvis"), parts(&TestSink::new()));
    let said = trouble(&nobody, |_| true).await;
    assert_eq!(said, Trouble::NotAuthorised.to_string());

    let mut settings = MqttSettings {
        url: Some(format!("mqtt://ha@127.0.0.1:{}", broker.port)),
        password: Some(Secret::new("hunter3")),
        ..MqttSettings::default()
    };
    let wrong = Options::from_settings(&settings)
        .expect("right")
        .expect("an address");
    assert!(!format!("{wrong:?}").contains("hunter3"));
    let bridge = Bridge::own(&tasks, wrong, parts(&TestSink::new()));
    let said = trouble(&bridge, |_| true).await;
    // Mosquitto does not tell a wrong password from a user who may not.
    assert_eq!(said, Trouble::NotAuthorised.to_string());
    assert!(!said.contains("hunter"));

    let file = broker.dir().join("password");
    settings.password = None;
    settings.password_file = Some(file.display().to_string());
    let error = Options::from_settings(&settings)
        .expect_err("there is no file")
        .to_string();
    assert_eq!(
        error,
        format!("[mqtt] password_file: {} cannot be read", file.display())
    );
    std::fs::write(&file, "\n").expect("written");
    let error = Options::from_settings(&settings)
        .expect_err("it is empty")
        .to_string();
    assert_eq!(error, format!("[mqtt] password_file: {}: empty", file.display()));
    std::fs::write(&file, "hunter2\n").expect("written");
    let right = Options::from_settings(&settings)
        .expect("right")
        .expect("an address");
    let bridge = Bridge::own(&tasks, right, parts(&TestSink::new()));
    connected(&bridge).await;
}

/// Writes a certificate and its key.
fn issue(
    issuer: &CertifiedIssuer<'_, KeyPair>,
    dir: &Path,
    file: &str,
    names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) {
    let key = KeyPair::generate().expect("a key");
    let mut params =
        CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).expect("names");
    params.extended_key_usages = vec![usage];
    params.distinguished_name.push(DnType::CommonName, names[0]);
    let certificate = params.signed_by(&key, issuer).expect("signed");
    std::fs::write(dir.join(format!("{file}.pem")), certificate.pem()).expect("written");
    std::fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).expect("written");
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_checked_on_both_sides() {
    let (ours, others) = (authority(), authority());
    let more = "allow_anonymous true\ncafile DIR/ca.pem\ncertfile DIR/broker.pem\nkeyfile DIR/broker.key\n\
                require_certificate true\n";
    let broker = Mosquitto::start_with(more, |dir| {
        std::fs::write(dir.join("ca.pem"), ours.pem()).expect("written");
        std::fs::write(dir.join("other.pem"), others.pem()).expect("written");
        issue(
            &ours,
            dir,
            "broker",
            &["localhost"],
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        issue(
            &ours,
            dir,
            "jarvis",
            &["jarvis"],
            ExtendedKeyUsagePurpose::ClientAuth,
        );
    })
    .await;
    let file = |name: &str| Some(broker.dir().join(name).display().to_string());
    let tasks = Tasks::new();
    let own = |host: &str, ca: &str, with_certificate: bool| {
        let settings = MqttSettings {
            url: Some(format!("mqtts://{host}:{}", broker.port)),
            ca_file: file(ca),
            certificate_file: file("jarvis.pem").filter(|_| with_certificate),
            key_file: file("jarvis.key").filter(|_| with_certificate),
            ..MqttSettings::default()
        };
        let options = Options::from_settings(&settings)
            .expect("right")
            .expect("an address");
        Bridge::own(&tasks, options, parts(&TestSink::new()))
    };
    let said = trouble(&own("localhost", "other.pem", true), |_| true).await;
    assert_eq!(said, Trouble::TlsUntrusted.to_string());
    let said = trouble(&own("127.0.0.1", "ca.pem", true), |_| true).await;
    assert_eq!(
        said,
        "the broker's certificate is not for 127.0.0.1; write the name it is for into [mqtt] url"
    );
    let said = trouble(&own("localhost", "ca.pem", false), |_| true).await;
    // What a broker says is lost where it hangs up before we have read it.
    let words = [
        "check [mqtt] certificate_file and key_file",
        "closed the connection before it answered",
    ];
    assert!(words.iter().any(|words| said.contains(words)), "{said}");
    let bridge = own("localhost", "ca.pem", true);
    connected(&bridge).await;
    let published = bridge.publisher().publish(publication("a", "b"), DEADLINE).await;
    assert_eq!(published, Ok(()));
    assert!(bridge.release(DEADLINE).await);
}

#[test]
fn certificates_that_are_none_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "no certificate").expect("written");
    let settings = MqttSettings {
        url: Some("mqtts://localhost".to_owned()),
        ca_file: Some(path.display().to_string()),
        ..MqttSettings::default()
    };
    let error = Options::from_settings(&settings).expect_err("none").to_string();
    assert_eq!(
        error,
        format!("[mqtt] ca_file: {}: no certificate in PEM", path.display())
    );
    assert!(
        Options::from_settings(&MqttSettings::default())
            .expect("right")
            .is_none()
    );
}
