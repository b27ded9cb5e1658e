//! `recover`: brings a cluster up again from this node alone, when the majority of its voters is gone for good.
//!
//! ```text
//!  statement ─► confirmed ─► copy of raft/ and state/ ─► node.toml: a recovery is under way ─► the log: this node alone votes
//!            ─► the others are removed ─► node.toml: done
//! ```
//!
//! Each arrow is one write that happens wholly or not at all. `run` refuses the folder between the two of node.toml, and
//! the command goes on from wherever it was interrupted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jarvis_client::Api;
use jarvis_host::{Clock, SystemClock};
use jarvis_replica::recover::{Found, RecoverError, Recovered, finish, inspect, rule_alone};
use jarvis_types::NodeId;
use reqwest::Method;
use serde_json::{Value, json};

use super::cluster::{list, text};
use super::run::{check_keys, open_folder};
use crate::cli::args::RecoverArgs;
use crate::cli::output::{Output, ask};
use crate::data::{DataFolder, LockedFolder, NodeFile};
use crate::fail::{Failure, chain};
use crate::places::data_folder;

const WHAT: &str = "the cluster was not recovered";
/// How long a node that is thought lost has to answer.
const ASK_TIMEOUT: Duration = Duration::from_millis(1_500);
/// What is kept from before: its name begins so.
const BACKUP_PREFIX: &str = "before-recover-";
/// What is copied.
const COPIED: [&str; 2] = ["raft", "state"];

/// `jarvis recover`.
///
/// # Errors
/// Where there is nothing to recover, the node runs, others serve, nobody confirms, or a store fails.
pub async fn recover(args: &RecoverArgs, output: Output) -> Result<(), Failure> {
    let data = data_folder(args.data.data.as_deref());
    if data.join("up.json").exists() {
        let next = format!(
            "give the folder of one of its nodes: jarvis recover --data {}",
            data.join("node1").display()
        );
        return Err(Failure::new(
            WHAT,
            format!("{} is a whole cluster of `jarvis up`", data.display()),
        )
        .next(next));
    }
    let locked = open_folder(&DataFolder::new(&data)).map_err(|error| error.failure(WHAT))?;
    let file = locked.member().map_err(|error| error.failure(WHAT))?;
    check_keys(&locked, &file, &jarvis_mesh::store::TlsStore::new(&data))?;
    let written = log_written(&data);
    let found = inspect(file.node, &data).map_err(|error| failed(&error))?;
    let others = others(&file, &found);
    if others.is_empty() && found.alone && file.recovering.is_none() {
        let next = format!("start it: jarvis run --data {}", data.display());
        return Err(
            Failure::new(WHAT, "this node is the only member; there is nothing to recover").next(next),
        );
    }
    let mut statement = statement(&file, &found, &others, &data, written);
    let answering = who_answers(&others).await;
    statement["others_answering"] = answering.iter().map(Answering::document).collect();
    if !output.is_json() {
        output.note(&describe(&statement));
    }
    if let Some(refusal) = confirm(args, output, &statement, &answering) {
        if let (Some(written), Ok(log)) = (written, File::options().append(true).open(log_path(&data))) {
            // Only for what is said the next time.
            let _ = log.set_modified(written);
        }
        return Err(refusal);
    }
    let (backup, recovered) = act(&locked, file, &data).await?;
    statement["recovered"] = json!(true);
    statement["backup"] = json!(backup);
    statement["committed"] = json!(recovered.committed);
    let names = |nodes: &[(NodeId, jarvis_machine::rows::NodeRow)]| -> Value {
        nodes.iter().map(|(_, row)| json!(row.name)).collect()
    };
    statement["removed"] = names(&recovered.removed);
    statement["not_removed"] = names(&recovered.kept);
    output.answer(&statement, describe_done);
    Ok(())
}

/// When the node last wrote to its log. To be asked before the log is opened, which writes to it.
fn log_written(data: &Path) -> Option<SystemTime> {
    fs::metadata(log_path(data)).and_then(|meta| meta.modified()).ok()
}

fn log_path(data: &Path) -> PathBuf {
    data.join("raft/log.redb")
}

fn failed(error: &RecoverError) -> Failure {
    let next = match error {
        RecoverError::Start(_) => "",
        RecoverError::Empty => "use the data folder of another node of this cluster",
        RecoverError::Io(_) => {
            "restore raft/ and state/ from the copy in the data folder, or use another node's folder"
        }
        RecoverError::NotLeading { .. } | RecoverError::Propose(_) => {
            "run the same command again; it goes on where it was"
        }
    };
    Failure::new(WHAT, chain(error)).next(next)
}

/// Another member as far as this node knows.
struct Other {
    id: NodeId,
    name: String,
    role: Option<&'static str>,
    http_url: Option<String>,
    voted: bool,
}

fn others(file: &NodeFile, found: &Found) -> Vec<Other> {
    let mut others: Vec<Other> = found
        .nodes
        .iter()
        .filter(|(id, _)| *id != file.node)
        .map(|(id, row)| Other {
            id: *id,
            name: row.name.to_string(),
            role: Some(crate::node::protocol::role_text(row.role)),
            http_url: Some(row.http_url.clone()).filter(|url| !url.is_empty()),
            voted: found.voters.contains(id),
        })
        .collect();
    for peer in &file.peers {
        if others.iter().all(|other| other.id != peer.node) {
            others.push(Other {
                id: peer.node,
                name: peer.name.to_string(),
                role: None,
                http_url: Some(format!("http://{}", peer.address)),
                voted: found.voters.contains(&peer.node),
            });
        }
    }
    others.sort_by_key(|other| other.id);
    others
}

/// What is certain and what is not. A document, so that programs read the same as people.
fn statement(
    file: &NodeFile,
    found: &Found,
    others: &[Other],
    data: &Path,
    written: Option<SystemTime>,
) -> Value {
    let (certain, last) = (found.certain.min(found.last.index), found.last.index);
    let written = written
        .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since| since.as_millis() as u64);
    let kept = (last > certain).then(|| json!({"from": certain + 1, "to": last}));
    json!({
        "recovered": false,
        "cluster_id": file.cluster,
        "node": file.name,
        "node_id": file.node,
        "role": file.role,
        "voter": found.voters.contains(&file.node),
        "data": data,
        "last_index": last,
        "last_term": found.last.term,
        "certain_index": certain,
        "kept_uncertain": kept,
        "may_be_lost_after": last,
        "last_entry_at_ms": found.last_entry_at_ms,
        "last_write_at_ms": written,
        "as_of_ms": SystemClock.now_ms(),
        "resumed": file.recovering.is_some(),
        "others": others.iter().map(|other| json!({
            "id": other.id, "name": other.name, "role": other.role, "voter": other.voted,
        })).collect::<Vec<_>>(),
    })
}

fn describe(statement: &Value) -> String {
    let ago = |field: &str| {
        let at = statement[field].as_u64()?;
        let ms = statement["as_of_ms"].as_u64()?.saturating_sub(at);
        Some(format!(
            "{} ago",
            jarvis_config::format_duration(Duration::from_secs(ms / 1_000))
        ))
    };
    let (certain, last) = (text(statement, "certain_index"), text(statement, "last_index"));
    let mut out = format!(
        "cluster {}\nnode {} (id {}, {}{})\n\nIts log ends at entry {last} of term {}; the last one with a time was made {}; the log \
         was last written {}.\n",
        text(statement, "cluster_id"),
        text(statement, "node"),
        text(statement, "node_id"),
        text(statement, "role"),
        if statement["voter"] == true {
            ""
        } else {
            ", without a vote"
        },
        text(statement, "last_term"),
        ago("last_entry_at_ms").unwrap_or_else(|| "at an unknown time".to_owned()),
        ago("last_write_at_ms").unwrap_or_else(|| "at an unknown time".to_owned()),
    );
    out.push_str(&format!(
        "  certain:      entries up to {certain} were committed, as this node knows\n"
    ));
    if let Some(kept) = statement.get("kept_uncertain").filter(|kept| kept.is_object()) {
        out.push_str(&format!(
            "  kept:         entries {} to {} are here too; whether they were acknowledged cannot be told; they are kept\n",
            text(kept, "from"),
            text(kept, "to")
        ));
    }
    out.push_str(&format!(
        "  may be lost:  whatever the others acknowledged after entry {last}; nobody can tell from here whether there was any\n",
    ));
    let role = text(statement, "role");
    if role == "worker" {
        out.push_str(
            "\nA worker has no key of the cluster: no machine can join this one afterwards. Recover a voter if there is one.\n",
        );
    } else if role == "witness" {
        out.push_str("\nA witness carries no actors: nothing answers until another node has joined.\n");
    }
    let names: Vec<String> = list(statement, "others")
        .iter()
        .map(|other| text(other, "name"))
        .collect();
    if !names.is_empty() {
        out.push_str(&format!(
            "\nThese members are put out of the cluster for good: {}.\nIf one of them is found, it must be wiped and join again; \
             what only it had is lost.\n",
            names.join(", ")
        ));
    }
    for other in list(statement, "others_answering") {
        let name = text(other, "name");
        out.push_str(&if other["serves"] == true {
            format!(
                "\nWARNING: {name} ANSWERS AND SERVES ({}). The cluster seems to be alive without this node. Recovering here \
                 makes a second cluster with the same people and conversations; what is said in one is not in the other.\n",
                text(other, "url")
            )
        } else {
            format!(
                "\nWARNING: {name} ANSWERS ({}), though it cannot serve. The others seem to be alive: if a majority can be \
                 brought back, start those nodes instead; nothing is lost then.\n",
                text(other, "url")
            )
        });
    }
    out
}

fn describe_done(done: &Value) -> String {
    let removed: Vec<String> = list(done, "removed")
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let mut out = format!(
        "\n{} is the cluster's only voter now; its log is committed up to entry {}.\n",
        text(done, "node"),
        text(done, "committed")
    );
    if !removed.is_empty() {
        out.push_str(&format!("Out for good: {}.\n", removed.join(", ")));
    }
    out.push_str(&format!(
        "What was there before is in {}; delete it when all is well.\n\nStart it:       jarvis run --data {}\nThen add nodes: \
         jarvis invite",
        text(done, "backup"),
        text(done, "data")
    ));
    out
}

/// A member that was thought lost and answers.
struct Answering {
    name: String,
    url: String,
    /// It says that it is ready: it follows a leader that a majority follows.
    serves: bool,
}

impl Answering {
    fn document(&self) -> Value {
        json!({"name": self.name, "url": self.url, "serves": self.serves})
    }
}

async fn who_answers(others: &[Other]) -> Vec<Answering> {
    let asked = others.iter().filter_map(|other| {
        let url = other.http_url.clone()?;
        let name = other.name.clone();
        Some(async move {
            let api = Api::new(&url, None).ok()?;
            let (status, _) = api.raw(Method::GET, "/readyz", None, ASK_TIMEOUT).await.ok()?;
            let serves = status.is_success();
            Some(Answering { name, url, serves })
        })
    });
    let answered = futures_util::future::join_all(asked).await;
    answered.into_iter().flatten().collect()
}

/// None: go on.
fn confirm(
    args: &RecoverArgs,
    output: Output,
    statement: &Value,
    answering: &[Answering],
) -> Option<Failure> {
    let refuse = |why: &str, next: &str| {
        if output.is_json() {
            output.answer(statement, |_| String::new());
        }
        Some(Failure::new(WHAT, why).next(next))
    };
    if let Some(other) = answering.iter().find(|other| other.serves)
        && !args.force
    {
        let why = format!(
            "{} answers at {} and serves: the cluster seems to be alive without this node",
            other.name, other.url
        );
        return refuse(
            &why,
            "start this node instead (jarvis run); or, if that is not this cluster any more, say --force as well",
        );
    }
    if args.yes {
        return None;
    }
    let asked = if output.is_json() {
        None
    } else {
        ask("Recover the cluster from this node alone?")
    };
    match asked {
        Some(true) => None,
        Some(false) => refuse("it was not confirmed", "nothing was changed"),
        None => refuse(
            "it was not confirmed",
            "nothing was changed; to go on: jarvis recover --yes",
        ),
    }
}

/// Does it, from wherever it was interrupted.
async fn act(
    locked: &LockedFolder,
    mut file: NodeFile,
    data: &Path,
) -> Result<(PathBuf, Recovered), Failure> {
    let backup = match &file.recovering {
        Some(name) => data.join(name),
        None => {
            let name = format!("{BACKUP_PREFIX}{}", SystemClock.now_ms());
            copy_stores(data, &name).map_err(|error| {
                let next = format!(
                    "make room on the disk of {}, and try again; nothing was changed",
                    data.display()
                );
                Failure::new(
                    WHAT,
                    format!("raft/ and state/ could not be copied first: {error}"),
                )
                .next(next)
            })?;
            // Nobody from before is spoken to again, and nobody starts this node before it is done.
            file.recovering = Some(name.clone());
            file.peers.clear();
            locked.save_identity(&file).map_err(|error| error.failure(WHAT))?;
            data.join(name)
        }
    };
    rule_alone(file.node, data).map_err(|error| failed(&error))?;
    let recovered = finish(file.node, data, Arc::new(SystemClock))
        .await
        .map_err(|error| failed(&error))?;
    file.recovering = None;
    file.handed_over = false;
    locked.save_identity(&file).map_err(|error| error.failure(WHAT))?;
    Ok((backup, recovered))
}

/// Copies what the node has, whole or not at all.
fn copy_stores(data: &Path, name: &str) -> io::Result<()> {
    let (backup, unfinished) = (data.join(name), data.join(format!("{BACKUP_PREFIX}unfinished")));
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for folder in COPIED {
        let (from, to) = (data.join(folder), unfinished.join(folder));
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let copy = to.join(entry.file_name());
                fs::copy(entry.path(), &copy)?;
                File::open(&copy)?.sync_all()?;
            }
        }
        File::open(&to)?.sync_all()?;
    }
    fs::rename(&unfinished, &backup)?;
    File::open(data)?.sync_all()
}
