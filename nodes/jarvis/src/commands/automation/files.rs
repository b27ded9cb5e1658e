//! Files of automations as they are named on the command line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fail::Failure;

/// Most files at once, as a node takes them.
const MAX_FILES: usize = 1_000;
/// Most bytes of files together.
const MAX_BYTES: u64 = 4 * 1_024 * 1_024;

/// Names and texts: of files as they were given, of folders all `*.yaml` and `*.yml` in them, sorted. Folders in folders are not
/// looked into.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let data = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if data.is_dir() {
            files.extend(in_folder(path)?);
        } else {
            files.push(path.clone());
        }
        if files.len() > MAX_FILES {
            let why = format!("there are more than {MAX_FILES} files");
            return Err(Failure::new("the files are too many", why).next("give fewer at a time"));
        }
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    let (mut texts, mut left) = (Vec::new(), MAX_BYTES);
    for file in files {
        let text = read(&file, left)?;
        left -= text.len() as u64;
        let name = file.to_str().map(str::to_owned);
        let name = name.ok_or_else(|| {
            Failure::new(
                format!("{} cannot be used", file.display()),
                "its name is not UTF-8",
            )
        })?;
        texts.push((name, text));
    }
    Ok(texts)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if is_yaml && !hidden && path.is_file() {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            // More is refused by the caller; no need to read a folder of millions to its end.
            break;
        }
    }
    if found.is_empty() {
        let what = format!("{} has nothing to load", folder.display());
        return Err(Failure::new(what, "there is no *.yaml or *.yml in it"));
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, left: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(left + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > left {
        let why = format!("with {} they have more than {MAX_BYTES} bytes", path.display());
        return Err(Failure::new("the files are too long together", why).next("give fewer at a time"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let why = format!("it is not UTF-8 from byte {at} on");
        Failure::new(format!("{} cannot be read", path.display()), why).next("save it as UTF-8")
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be read", path.display()), error)
        .next("check the path, and that this user may read it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_stand_for_the_yaml_in_them_and_bounds_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["b.yaml", "a.yml", "c.txt", ".hidden.yaml"] {
            std::fs::write(at(name), name).expect("written");
        }
        std::fs::create_dir(at("deep.yaml")).expect("made");
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let found = gather(paths).expect("found");
            found
                .into_iter()
                .map(|(name, text)| {
                    assert!(name.ends_with(&text), "{name}: {text}");
                    text
                })
                .collect()
        };
        let whole = folder.path().to_owned();
        assert_eq!(names(std::slice::from_ref(&whole)), ["a.yml", "b.yaml"]);
        assert_eq!(
            names(&[at("c.txt"), whole, at("b.yaml")]),
            ["c.txt", "a.yml", "b.yaml"]
        );
        let refused = |path: &str| gather(&[at(path)]).expect_err("refused").to_string();
        assert!(refused("none.yaml").contains("No such file"));
        assert!(refused("deep.yaml").contains("no *.yaml"));
        std::fs::write(at("latin.yaml"), b"a: \xe9").expect("written");
        assert!(refused("latin.yaml").contains("not UTF-8 from byte 3"));
        std::fs::write(at("long.yaml"), vec![b'#'; 4_194_305]).expect("written");
        assert!(refused("long.yaml").contains("more than 4194304 bytes"));
    }

    #[test]
    fn more_than_a_thousand_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for n in 0..=MAX_FILES {
            std::fs::write(folder.path().join(format!("{n}.yaml")), "").expect("written");
        }
        let refused = gather(&[folder.path().to_owned()]).expect_err("refused");
        assert!(refused.why.contains("more than 1000 files"), "{refused}");
    }
}
