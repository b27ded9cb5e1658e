//! Ordinary automations load whole; wrong ones are refused with the messages that stand beside them.

use std::fs;
use std::path::{Path, PathBuf};

use jarvis_rules::load::load;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn ordinary_automations_load_whole() {
    let texts: Vec<(String, String)> = files("corpus")
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).expect("a text")))
        .collect();
    let texts: Vec<_> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let loaded = load(&texts);
    let told: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new());
    let (have, wanted) = (loaded.automations.len(), 60);
    assert!(have >= wanted, "{have} automations");
    // What is written down can be read again.
    let written = serde_json::to_string(&loaded.automations).expect("writes");
    let read: Vec<jarvis_rules::model::Automation> = serde_json::from_str(&written).expect("reads");
    assert_eq!(read, loaded.automations);
}

#[test]
fn wrong_ones_are_refused_and_the_others_load() {
    for path in files("refused") {
        let text = fs::read_to_string(&path).expect("a text");
        let loaded = load(&[(&name(&path), &text)]);
        let mut told: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
        told.push(format!(
            "loaded: {}",
            loaded
                .automations
                .iter()
                .map(|automation| automation.id.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        ));
        let told = told.join("\n") + "\n";
        let expected = path.with_extension("txt");
        if std::env::var_os("JARVIS_RULES_WRITE").is_some() {
            fs::write(&expected, &told).expect("writes");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(told, expected, "{}", path.display());
    }
}
