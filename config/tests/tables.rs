//! What is written, and what comes of it: tables of good and bad configurations.

use std::path::Path;
use std::time::Duration;

use jarvis_config::{ConfigError, Lookup, Profile, Settings, check_file, check_text, load};

fn problems(text: &str) -> String {
    match check_text(Path::new("jarvis.toml"), text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nothing_set_is_the_defaults_and_the_example_says_the_same() {
    let empty = check_text(Path::new("jarvis.toml"), "").expect("empty is fine");
    assert_eq!(empty, Settings::default());
    let example =
        check_text(Path::new("x"), include_str!("../jarvis.example.toml")).expect("the example is right");
    assert_eq!(example, Settings::default());
    // What is commented out must be right as well.
    let uncommented: String = include_str!("../jarvis.example.toml")
        .lines()
        .map(|line| {
            let bare = line.strip_prefix('#').unwrap_or(line);
            let bare = bare.trim_start();
            let is_setting =
                bare.starts_with('[') || bare.split_once(" = ").is_some_and(|(k, _)| !k.contains(' '));
            if is_setting {
                format!("{bare}\n")
            } else {
                String::new()
            }
        })
        .collect();
    let all = check_text(Path::new("x"), &uncommented).expect("all of the example is right");
    assert_eq!(
        (all.responders.len(), all.session.time_zone.as_deref()),
        (1, Some("Europe/Paris"))
    );
    assert_eq!(all.mqtt.key_file.as_deref(), Some("/etc/jarvis/mqtt.key"));
    assert_eq!(all.home.place(), Some((48.8566, 2.3522)));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_would_be_right() {
    let table = [
        (
            "[limits]\nmesage_chars = 5",
            "jarvis.toml:2: limits.mesage_chars: unknown key; did you mean \"message_chars\"?",
        ),
        (
            "[limit]\nx = 5",
            "jarvis.toml:1: limit: unknown section; did you mean \"limits\"?",
        ),
        (
            "message_chars = 5",
            "jarvis.toml:1: message_chars: a key outside its section; it belongs under [limits]",
        ),
        (
            "[limits]\n\nmessage_chars = \"many\"",
            "jarvis.toml:3: limits.message_chars: expected a whole number from 0 to 1000000, found \"many\"",
        ),
        (
            "[limits]\nmessage_chars = -1",
            "jarvis.toml:2: limits.message_chars: expected a whole number from 0 to 1000000, found the integer -1",
        ),
        (
            "[node]\nlisten = \"0.0.0.0\"",
            "jarvis.toml:2: node.listen: expected an address and port such as \"0.0.0.0:8007\", found \"0.0.0.0\"",
        ),
        (
            "[node]\nadvertise = \"0.0.0.0:8007\"",
            "jarvis.toml:2: node.advertise: expected a host and port such as \"192.168.1.10:8007\", found \"0.0.0.0:8007\"",
        ),
        (
            "[mesh]\ncertificate_ttl = 5",
            "jarvis.toml:2: mesh.certificate_ttl: expected a duration from \"1m\" to \"365d\", found the integer 5",
        ),
        (
            "[mesh]\nprofile = \"fast\"",
            "jarvis.toml:2: mesh.profile: expected one of \"lan\", \"wifi\", \"slow-disk\", found \"fast\"",
        ),
        (
            "[node]\ncapabilities = [\"gpu\", \"the microphone\"]",
            "jarvis.toml:2: node.capabilities: expected a list of at most 32 names such as [\"microphone\", \"gpu\"], each of 1 to 63 letters, digits, '-', '_' or '.', found the list [\"gpu\", \"the microphone\"]",
        ),
        (
            "[node]\ncapabilities = [1]",
            "jarvis.toml:2: node.capabilities: expected a list of at most 32 names such as [\"microphone\", \"gpu\"], each of 1 to 63 letters, digits, '-', '_' or '.', found a list with something else than strings",
        ),
        (
            "[node]\ncapacity = 0",
            "jarvis.toml:2: node.capacity: expected a whole number from 1 to 1000, found the integer 0",
        ),
        (
            "[raft]\nreplace_after = \"1s\"",
            "jarvis.toml:2: raft.replace_after: expected a duration from \"10s\" to \"30d\", or \"0s\" for never, found \"1s\"",
        ),
        (
            "[raft]\ndemote_slow_disk = \"maybe\"",
            "jarvis.toml:2: raft.demote_slow_disk: expected true or false, found \"maybe\"",
        ),
        (
            "[session]\ntime_zone = \"Mars/Olympus\"",
            "jarvis.toml:2: session.time_zone: expected an IANA time zone such as \"Europe/Paris\", found \"Mars/Olympus\"",
        ),
        (
            "[home]\nlattitude = 48.85",
            "jarvis.toml:2: home.lattitude: unknown key; did you mean \"latitude\"?",
        ),
        (
            "[home]\nlatitude = 91.5\nlongitude = 2",
            "jarvis.toml:2: home.latitude: expected a number from -90 to 90, found the number 91.5",
        ),
        (
            "[home]\nlatitude = nan\nlongitude = 2",
            "jarvis.toml:2: home.latitude: expected a number from -90 to 90, found the number NaN",
        ),
        (
            "[home]\nlatitude = 48.85",
            "jarvis.toml:1: home.latitude: latitude and longitude belong together",
        ),
        (
            "[home]\nelevation_m = \"high\"",
            "jarvis.toml:2: home.elevation_m: expected a number from -500 to 9000, found \"high\"",
        ),
        (
            "[home]\ntime_zone = \"Paris\"",
            "jarvis.toml:2: home.time_zone: expected an IANA time zone such as \"Europe/Paris\", found \"Paris\"",
        ),
        (
            "[automation]\npublish_with = \"1m\"",
            "jarvis.toml:2: automation.publish_with: unknown key; did you mean \"publish_within\"?",
        ),
        (
            "[automation]\npublish_within = \"0s\"",
            "jarvis.toml:2: automation.publish_within: expected a duration from \"1s\" to \"1d\", found \"0s\"",
        ),
        (
            "[automation]\ntraces = 1000",
            "jarvis.toml:2: automation.traces: expected a whole number from 0 to 100, found the integer 1000",
        ),
        (
            "[automation]\nzigbee2mqtt = [\"zigbee2mqtt/#\"]",
            "jarvis.toml:2: automation.zigbee2mqtt: expected a list of at most 16 topics such as [\"zigbee2mqtt\"], found the list [\"zigbee2mqtt/#\"]",
        ),
        (
            "[automation]\ntasmota = \"+\"",
            "jarvis.toml:2: automation.tasmota: expected a topic such as \"tasmota/discovery\", or \"\" for none, found \"+\"",
        ),
        (
            "[automation]\ndiscovery_prefix = \"\"",
            "jarvis.toml:2: automation.discovery_prefix: expected a topic such as \"homeassistant\", found \"\"",
        ),
        (
            "node = 3",
            "jarvis.toml:1: node: expected a section [node], found integer",
        ),
        (
            "[responder]\nkind = \"ollama\"",
            "jarvis.toml:1: responder: expected sections [[responder]] (two brackets), found table",
        ),
        (
            "[log]\nfilter = \"info,jarvis_mesh=loud\"",
            "jarvis.toml:2: log.filter: expected directives such as \"info,jarvis_mesh=debug\", found \"info,jarvis_mesh=loud\"",
        ),
        (
            "[node]\nname = \"the kitchen\"",
            "jarvis.toml:2: node.name: expected a name such as \"kitchen\": 1 to 63 letters, digits, '-', '_' or '.', found \"the kitchen\"",
        ),
        (
            "[[responder]]\nkind = \"ollama\"\nurl = \"ftp://x\"\nmodel = \"m\"",
            "jarvis.toml:3: responder[0].url: expected an address such as \"http://localhost:11434\", found \"ftp://x\"",
        ),
        (
            "[[responder]]\nkind = \"ollama\"\nurl = \"http://x\"",
            "jarvis.toml:1: responder[0].model: missing; a responder needs kind, url and model",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problems(text), expected, "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "[node]\nlisten = 5\nnmae = \"x\"\n[mesh]\nprofile = true\n[nope]\n";
    let Err(ConfigError::Problems(found)) = check_text(Path::new("jarvis.toml"), text) else {
        panic!("accepted")
    };
    let keys: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["node.listen", "node.nmae", "mesh.profile", "nope"]);
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line() {
    let text = problems("[node]\nlisten = = 5\n");
    assert!(text.starts_with("jarvis.toml:2: not valid TOML"), "{text}");
    for hostile in [
        "\u{0}",
        "[[[",
        "a = \"",
        "é = é",
        &"[".repeat(10_000),
        &"a.".repeat(5_000),
    ] {
        assert!(check_text(Path::new("jarvis.toml"), hostile).is_err());
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_environment_goes_before_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("jarvis.toml");
    std::fs::write(&file, "[limits]\nmessage_chars = 5\nmessages_per_minute = 6\n").expect("written");
    let vars = env(&[
        ("JARVIS_LIMITS__MESSAGES_PER_MINUTE", "0"),
        ("JARVIS_MESH__PROFILE", "wifi"),
        ("JARVIS_RESPONDER__0__KIND", "openai"),
        ("JARVIS_RESPONDER__0__URL", "http://127.0.0.1:9"),
        ("JARVIS_RESPONDER__0__MODEL", "m"),
        ("JARVIS_DATA", "/not/a/setting"),
        ("PATH", "x"),
    ]);
    let loaded = load(&Lookup {
        explicit: None,
        data: Some(dir.path()),
        env: &vars,
    })
    .expect("all right");
    let limits = &loaded.settings.limits;
    assert_eq!(
        (
            limits.message_chars,
            limits.messages_per_minute,
            limits.sockets_per_minute
        ),
        (5, 0, 10)
    );
    assert_eq!(loaded.settings.mesh.profile, Profile::Wifi);
    assert_eq!(
        loaded.settings.responders[0].first_token_timeout,
        Duration::from_secs(20)
    );
    assert_eq!(loaded.file.as_deref(), Some(file.as_path()));
}

#[test]
fn what_a_node_has_is_read_from_file_and_environment() {
    let text = "[node]\ncapabilities = [\"stt\", \"gpu\", \"stt\"]\ncapacity = 250\n\
                [raft]\nreplace_after = \"0s\"\ndemote_slow_disk = true\n";
    let settings = check_text(Path::new("jarvis.toml"), text).expect("right");
    let names: Vec<_> = settings.node.capabilities.iter().map(String::as_str).collect();
    assert_eq!((names, settings.node.capacity), (vec!["gpu", "stt"], 250));
    assert_eq!(
        (settings.raft.replace_after, settings.raft.demote_slow_disk),
        (Duration::ZERO, true)
    );
    assert_eq!(
        check_text(Path::new("jarvis.toml"), &settings.effective()).expect("can be read again"),
        settings
    );
    let vars = env(&[
        ("JARVIS_NODE__CAPABILITIES", "mqtt, microphone"),
        ("JARVIS_RAFT__REPLACE_AFTER", "0"),
        ("JARVIS_RAFT__DEMOTE_SLOW_DISK", "true"),
    ]);
    let empty = tempfile::tempdir().expect("a folder");
    let loaded = load(&Lookup {
        explicit: None,
        data: Some(empty.path()),
        env: &vars,
    })
    .expect("right");
    let node = &loaded.settings.node;
    assert!(node.capabilities.contains("mqtt") && node.capabilities.contains("microphone"));
    assert_eq!((node.capabilities.len(), node.capacity), (2, 100));
    assert!(loaded.settings.raft.replace_after.is_zero() && loaded.settings.raft.demote_slow_disk);
}

#[test]
fn what_is_wrong_in_the_environment_is_named_by_its_variable() {
    let table = [
        (
            "JARVIS_LIMITS__MESAGE_CHARS",
            "5",
            "limits.mesage_chars: unknown key; did you mean \"message_chars\"?",
        ),
        (
            "JARVIS_LIMIT__X",
            "5",
            "limit: unknown section; did you mean \"limits\"?",
        ),
        (
            "JARVIS_LIMITS__MESSAGE_CHARS",
            "x",
            "limits.message_chars: expected a whole number from 0 to 1000000, found \"x\"",
        ),
        (
            "JARVIS_RESPONDER__7__URL",
            "x",
            "responder: expected JARVIS_RESPONDER__N__KEY with N from 0 to 0, without a gap",
        ),
    ];
    let empty = tempfile::tempdir().expect("a folder");
    for (name, value, expected) in table {
        let vars = env(&[(name, value)]);
        let error = load(&Lookup {
            explicit: None,
            data: Some(empty.path()),
            env: &vars,
        })
        .expect_err(name);
        assert_eq!(
            error.to_string(),
            format!("environment variable {name}: {expected}")
        );
    }
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let missing = Path::new("/nonexistent/jarvis.toml");
    let error = load(&Lookup {
        explicit: Some(missing),
        data: None,
        env: &[],
    })
    .expect_err("missing");
    assert_eq!(
        error.to_string(),
        "the configuration /nonexistent/jarvis.toml cannot be read"
    );
}

#[test]
fn the_effective_settings_can_be_read_again_and_hide_secrets() {
    let text = "[node]\nname = \"a\"\nadvertise = \"pi.local:8007\"\n[session]\nsystem_prompt = \"say \\\"hi\\\"\"\n\
                [[responder]]\nkind = \"openai\"\nurl = \"https://api.example/v1\"\nmodel = \"m\"\napi_key = \"hunter2\"\n";
    let settings = check_text(Path::new("jarvis.toml"), text).expect("right");
    let shown = settings.effective();
    assert!(
        !shown.contains("hunter2") && shown.contains("api_key = \"********\""),
        "{shown}"
    );
    let mut again = check_text(Path::new("jarvis.toml"), &shown).expect("can be read again");
    again.responders[0]
        .api_key
        .clone_from(&settings.responders[0].api_key);
    assert_eq!(again, settings);
}

#[test]
fn what_a_file_names_must_be_there_when_it_is_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, key) = (dir.path().join("jarvis.toml"), dir.path().join("key"));
    let responder = "[[responder]]\nkind = \"openai\"\nurl = \"http://x\"\nmodel = \"m\"\n";
    let text = format!(
        "{responder}api_key_file = {:?}\n{responder}api_key_env = \"MODEL_KEY\"\n",
        key.display().to_string()
    );
    std::fs::write(&file, &text).expect("written");

    let error = check_file(&file, &[]).expect_err("there is no key").to_string();
    let expected = format!(
        "{}:5: responder[0].api_key_file: {} cannot be read: ",
        file.display(),
        key.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    // Where it is only read, nothing outside is looked at.
    assert!(check_text(&file, &text).is_ok());

    std::fs::write(&key, "secret").expect("written");
    let checked = check_file(&file, &[]).expect("right, as far as can be told here");
    let warnings: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
    let expected = format!(
        "{}:10: responder[1].api_key_env: MODEL_KEY is not set here; ",
        file.display()
    );
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(&expected),
        "{warnings:?}"
    );
    let checked = check_file(&file, &env(&[("MODEL_KEY", "secret")])).expect("right");
    assert_eq!(
        (checked.warnings.len(), checked.settings.responders.len()),
        (0, 2)
    );

    std::fs::write(&file, text.replace("kind", "knid")).expect("written");
    let error = check_file(&file, &[]).expect_err("wrong keys").to_string();
    assert!(error.contains("did you mean \"kind\"?"), "{error}");
    let missing = check_file(Path::new("/nonexistent/jarvis.toml"), &[]).expect_err("missing");
    assert!(missing.to_string().contains("cannot be read"));
}

#[test]
fn a_broker_is_read_from_file_and_environment() {
    let vars = env(&[
        ("JARVIS_MQTT__URL", "mqtts://ha%40home@broker.lan"),
        ("JARVIS_MQTT__PASSWORD", "hunter2"),
        ("JARVIS_MQTT__TOPICS", "zigbee2mqtt/#, tele/+/STATE"),
    ]);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("jarvis.toml");
    std::fs::write(&file, "[mqtt]\nclient_id = \"house\"\nsession_expiry = \"1h\"\n").expect("written");
    let lookup = Lookup {
        explicit: Some(&file),
        data: None,
        env: &vars,
    };
    let settings = load(&lookup).expect("right").settings;
    let address = settings.mqtt.address().expect("set").expect("right");
    assert_eq!(
        (
            address.tls,
            address.host.as_str(),
            address.port,
            address.user.as_deref()
        ),
        (true, "broker.lan", 8883, Some("ha@home"))
    );
    assert_eq!(settings.mqtt.topics, ["zigbee2mqtt/#", "tele/+/STATE"]);
    assert_eq!(settings.mqtt.client_id, "house");
    let password = settings.mqtt.password.as_ref().expect("set");
    assert_eq!(password.expose(), "hunter2");
    // Nothing that is shown has it.
    let shown = format!("{settings:?}{}", settings.effective());
    assert!(
        !shown.contains("hunter2") && shown.contains("password = \"********\""),
        "{shown}"
    );
}

#[test]
fn a_password_is_not_shown_where_it_is_wrong() {
    let cases = [
        (
            "[mqtt]\nurl = \"mqtt://ha:hunter2@broker.lan\"\n",
            "x:2: mqtt.url: a password in an address ends up in histories and logs; leave it out and set \
             password_file or JARVIS_MQTT__PASSWORD",
        ),
        (
            "[mqtt]\nurl = \"mqtt://ha:hunter2@bro ker\"\n",
            "x:2: mqtt.url: expected an address such as \"mqtt://user@host:1883\" or \"mqtts://host:8883\": \
             invalid domain character",
        ),
        (
            "[mqtt]\npassword = 4711\n",
            "x:2: mqtt.password: expected a password in quotes",
        ),
        (
            "[mqtt]\nurl = \"mqtt://broker.lan\"\npassword = \"hunter2\"\n",
            "x:1: mqtt.password: a password needs a user: url = \"mqtt://USER@host\"",
        ),
        (
            "[mqtt]\npassword = \"hunter2\"\npassword_file = \"/x\"\n",
            "x:1: mqtt.password: only one of password and password_file may be set",
        ),
        (
            "[mqtt]\nurl = \"mqtts://h\"\ncertificate_file = \"/x\"\n",
            "x:1: mqtt.certificate_file: certificate_file and key_file belong together",
        ),
        (
            "[mqtt]\nurl = \"mqtt://h\"\nca_file = \"/x\"\n",
            "x:1: mqtt.ca_file: certificates are for TLS: url = \"mqtts://…\"",
        ),
        (
            "[mqtt]\ntopics = [\"a/#/b\"]\n",
            "x:2: mqtt.topics: expected a list of at most 256 topic filters such as [\"zigbee2mqtt/#\"], found the \
             list [\"a/#/b\"]",
        ),
    ];
    for (text, expected) in cases {
        let error = check_text(Path::new("x"), text).expect_err(text).to_string();
        assert_eq!(error, expected, "{text}");
        assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
    }
}

#[test]
fn where_and_how_automations_run_is_read_from_file_and_environment() {
    let text = "[home]\nname = \"Maple Street 5\"\nlatitude = -33\nlongitude = 151.2\nelevation_m = 20\n\
                [session]\ntime_zone = \"Australia/Sydney\"\n\
                [automation]\nannounce = false\ntasmota = \"\"\nzigbee2mqtt = []\n";
    let settings = check_text(Path::new("jarvis.toml"), text).expect("right");
    assert_eq!(settings.home.place(), Some((-33.0, 151.2)));
    assert_eq!((settings.home.elevation_m, settings.automation.traces), (20.0, 5));
    assert!(!settings.automation.announce && settings.automation.tasmota.is_empty());
    assert!(settings.automation.zigbee2mqtt.is_empty() && settings.notes().is_empty());
    assert_eq!(
        check_text(Path::new("jarvis.toml"), &settings.effective()).expect("can be read again"),
        settings
    );
    // The zone of conversations is the home's where it has none of its own.
    assert_eq!(settings.home_time_zone(), Some("Australia/Sydney"));
    let vars = env(&[
        ("JARVIS_HOME__TIME_ZONE", "Europe/Paris"),
        ("JARVIS_HOME__LATITUDE", "48.85"),
        ("JARVIS_HOME__LONGITUDE", " 2 "),
        ("JARVIS_AUTOMATION__PUBLISH_WITHIN", "90s"),
        ("JARVIS_AUTOMATION__TASMOTA", ""),
        ("JARVIS_AUTOMATION__ZIGBEE2MQTT", "zigbee2mqtt, attic"),
    ]);
    let empty = tempfile::tempdir().expect("a folder");
    let loaded = load(&Lookup {
        explicit: None,
        data: Some(empty.path()),
        env: &vars,
    })
    .expect("right");
    let settings = loaded.settings;
    assert_eq!(settings.home.place(), Some((48.85, 2.0)));
    assert_eq!(
        (settings.home_time_zone(), settings.session_time_zone()),
        (Some("Europe/Paris"), Some("Europe/Paris"))
    );
    assert_eq!(settings.automation.publish_within, Duration::from_secs(90));
    assert_eq!(settings.automation.zigbee2mqtt, ["zigbee2mqtt", "attic"]);
    assert!(settings.automation.tasmota.is_empty());
}

#[test]
fn a_home_without_a_place_is_told_of() {
    let notes = Settings::default().notes();
    assert!(
        notes.len() == 1 && notes[0].starts_with("[home] latitude and longitude are not set"),
        "{notes:?}"
    );
}
