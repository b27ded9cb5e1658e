//! Hostile configurations: any text as a file, any variables over it. What is accepted is shown by `config show`, and that
//! is a configuration again, with the same meaning.

use std::path::Path;

use jarvis_config::{ConfigError, Lookup, Settings, check_text, load};
use jarvis_fuzz::fuzz;

const FILE: &str = "jarvis.toml";

/// Most characters that are said about one configuration: each problem names a key and what was expected.
const LONGEST_COMPLAINT_BYTES_PER_INPUT_BYTE: usize = 400;

const WORDS: [&str; 24] = [
    "[node]\n",
    "[[responder]]\n",
    "[responder]\n",
    "[limits]\n",
    "[[[",
    "]]",
    " = ",
    "\"\"\"",
    "'''",
    "\\u0000",
    "\\U0010FFFF",
    "0x7fffffffffffffff",
    "1e400",
    "nan",
    "-inf",
    "1979-05-27T07:32:00Z",
    "a.b.c.d.e = 1\n",
    "{ a = { b = { c = {} } } }",
    "\"24h\"",
    "\"999999999999d\"",
    "\"[::1]:8007\"",
    "\"0.0.0.0:0\"",
    "\"info,x=trace[y{z=\\\"w\\\"}]\"",
    "\"http://[::1]:1/v1\"",
];

fn holds(settings: &Settings) -> &'static str {
    let shown = settings.effective();
    // Secrets are masked, and a mask is no secret.
    if shown.contains("********") {
        return "accepted, with a secret";
    }
    match check_text(Path::new(FILE), &shown) {
        Ok(again) => assert_eq!(&again, settings, "{shown}"),
        Err(error) => panic!("what is shown is refused: {error}\n{shown}"),
    }
    if *settings == Settings::default() {
        "the defaults"
    } else {
        "accepted"
    }
}

fn outcome(result: Result<Settings, ConfigError>, len: usize) -> Result<&'static str, Vec<String>> {
    let problems = match result {
        Ok(settings) => return Ok(holds(&settings)),
        Err(ConfigError::Problems(problems)) => problems,
        Err(error) => panic!("{error}"),
    };
    assert!(!problems.is_empty());
    let said: usize = problems.iter().map(|problem| problem.to_string().len()).sum();
    assert!(
        said <= 1_000 + LONGEST_COMPLAINT_BYTES_PER_INPUT_BYTE * len,
        "{said} bytes are said about {len}"
    );
    Err(problems.into_iter().map(|problem| problem.key).take(3).collect())
}

fn example() -> String {
    include_str!("../jarvis.example.toml")
        .replace("# ", "")
        .replace("#[[", "[[")
        .replace("\n#", "\n")
}

#[test]
fn fuzz_configuration_files() {
    fuzz!()
        .text()
        .words(WORDS)
        .seed(include_str!("../jarvis.example.toml"))
        .seed(example())
        .seed("[node]\nname = \"kitchen\"\nlisten = \"[::]:8007\"\nadvertise = \"nas.local:8007\"\ncapabilities = [\"gpu\"]\n")
        .seed("[mesh]\nprofile = \"slow-disk\"\ncertificate_ttl = \"1h30m\"\n[limits]\nmessage_chars = 0\n")
        .seed("[[responder]]\nkind = \"openai\"\nurl = \"https://a/v1\"\nmodel = \"m\"\napi_key_env = \"K\"\ntotal_timeout = \"2m\"\n")
        .memory(2 * 1024 * 1024, 1_024)
        .runs(2_000)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            outcome(check_text(Path::new(FILE), text), bytes.len())
        });
}

/// One variable a line.
#[test]
fn fuzz_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(FILE);
    std::fs::write(&file, "[limits]\nmessage_chars = 5\n").expect("writes");
    fuzz!()
        .text()
        .words(["JARVIS_", "__", "RESPONDER__0__", "RESPONDER__31__", "RESPONDER__18446744073709551616__", "\n", "="])
        .seed("JARVIS_LIMITS__MESSAGE_CHARS=0\nJARVIS_LOG__FORMAT=json\nPATH=/bin\n")
        .seed("JARVIS_NODE__CAPABILITIES=gpu,mqtt\nJARVIS_NODE__CAPACITY=1000\nJARVIS_MESH__CERTIFICATE_TTL=7d\n")
        .seed("JARVIS_RESPONDER__0__KIND=ollama\nJARVIS_RESPONDER__0__URL=http://a\nJARVIS_RESPONDER__0__MODEL=m\n")
        .seed("JARVIS_LIMITS__=1\nJARVIS___X=2\nJARVIS_RESPONDER__=3\nJARVIS_RESPONDER__0__=4\n")
        .memory(2 * 1024 * 1024, 1_024)
        .runs(2_000)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let env: Vec<(String, String)> = text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let lookup = Lookup {
                explicit: Some(&file),
                data: None,
                env: &env,
            };
            outcome(load(&lookup).map(|loaded| loaded.settings), bytes.len())
        });
}
