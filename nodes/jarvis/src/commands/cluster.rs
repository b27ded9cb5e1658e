//! `invite`, `drain`, `undrain`, `remove`, `why`: what administrators do with nodes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::args::{DrainArgs, InviteArgs, NodeCommandArgs, RemoveArgs, WhyArgs};
use crate::cli::output::{Output, table};
use crate::fail::Failure;
use crate::target::Nodes;

/// What a call may take beyond what it waits for on the other side.
const MARGIN: Duration = Duration::from_secs(10);

/// `jarvis invite`.
///
/// # Errors
/// Where no node answers or it refuses.
pub async fn invite(args: &InviteArgs, output: Output) -> Result<(), Failure> {
    let nodes = Nodes::find(&args.target)?;
    let body = json!({"role": args.role.as_str(), "ttl_s": args.ttl.as_secs().max(1)});
    let invite = nodes
        .call(
            "no invitation was made",
            Method::POST,
            "/api/v1/invites",
            Some(body),
            MARGIN,
        )
        .await?;
    output.answer(&invite, |invite| text(invite, "command"));
    Ok(())
}

/// `jarvis drain`.
///
/// # Errors
/// Where no node answers, it refuses, or something was still there at the timeout.
pub async fn drain(args: &DrainArgs, output: Output) -> Result<(), Failure> {
    let what = format!("{} is not drained", args.node);
    let progress = output.progress(&format!("moving everything away from {}", args.node));
    let nodes = Nodes::find(&args.target)?;
    let path = format!(
        "/api/v1/nodes/{}/drain?timeout_s={}",
        segment(&args.node),
        args.timeout.as_secs().max(1)
    );
    let result = nodes
        .call(&what, Method::POST, &path, None, args.timeout + MARGIN)
        .await;
    progress.done();
    let done = result?;
    if done.get("drained").and_then(Value::as_bool) == Some(false) {
        let left = done.get("partitions_left").and_then(Value::as_u64).unwrap_or(0);
        let why = format!("{left} partitions were still there when the time was over");
        return Err(Failure::new(what, why).next("it goes on by itself; see `jarvis status`, or drain again"));
    }
    output.answer(&done, |_| {
        format!(
            "{} is drained; it can be rebooted. Then: jarvis undrain {0}",
            args.node
        )
    });
    Ok(())
}

/// `jarvis undrain`.
///
/// # Errors
/// Where no node answers or it refuses.
pub async fn undrain(args: &NodeCommandArgs, output: Output) -> Result<(), Failure> {
    let nodes = Nodes::find(&args.target)?;
    let path = format!("/api/v1/nodes/{}/undrain", segment(&args.node));
    let what = format!("{} stays drained", args.node);
    let done = nodes.call(&what, Method::POST, &path, None, MARGIN).await?;
    output.answer(&done, |done| {
        if done["answers"] == false {
            format!(
                "{} may serve again, but does not answer: see `jarvis status`",
                args.node
            )
        } else {
            format!("{} serves again", args.node)
        }
    });
    Ok(())
}

/// `jarvis remove`.
///
/// # Errors
/// Where no node answers or it refuses.
pub async fn remove(args: &RemoveArgs, output: Output) -> Result<(), Failure> {
    let nodes = Nodes::find(&args.target)?;
    let force = if args.force { "?force=true" } else { "" };
    let path = format!("/api/v1/nodes/{}{force}", segment(&args.node));
    let what = format!("{} was not removed", args.node);
    let done = nodes
        .call(&what, Method::DELETE, &path, None, MARGIN)
        .await
        .map_err(|failure| {
            if failure.why.contains("partitions") {
                return failure.next(format!(
                    "jarvis drain {0} first; or, if it is gone for good: jarvis remove {0} --force",
                    args.node
                ));
            }
            failure
        })?;
    output.answer(&done, |_| {
        format!(
            "{} is out of the cluster; its certificate is refused from now on",
            args.node
        )
    });
    Ok(())
}

/// `jarvis why KIND/KEY`.
///
/// # Errors
/// Where no node answers or it knows no such actor.
pub async fn why(args: &WhyArgs, output: Output) -> Result<(), Failure> {
    let nodes = Nodes::find(&args.target)?;
    let (kind, key) = &args.entity;
    let path = format!("/api/v1/why/{}/{}", segment(kind), segment(key));
    let answer = nodes
        .get(&format!("nothing is known of {kind}/{key}"), &path)
        .await?;
    output.answer(&answer, describe_why);
    Ok(())
}

fn describe_why(answer: &Value) -> String {
    let has_owner = answer["owner"].is_string();
    let mut out = if has_owner {
        format!(
            "{} runs on {} (partition {}, epoch {}) since {}, as node {} knows\nbecause: {}",
            text(answer, "entity"),
            text(answer, "owner"),
            text(answer, "partition"),
            text(answer, "epoch"),
            text(answer, "since"),
            text(answer, "from_node"),
            text(answer, "because"),
        )
    } else {
        format!(
            "{} runs nowhere (partition {}), as node {} knows: no node has its partition yet",
            text(answer, "entity"),
            text(answer, "partition"),
            text(answer, "from_node"),
        )
    };
    if let Some(took_ms) = answer["took_ms"].as_u64() {
        out.push_str(&format!("; taken over in {took_ms} ms"));
    }
    let needs: Vec<&str> = list(answer, "needs").iter().filter_map(Value::as_str).collect();
    if !needs.is_empty() {
        out.push_str(&format!("\nit needs a node that has {}", needs.join(" and ")));
    }
    let rows: Vec<Vec<String>> = list(answer, "moves")
        .iter()
        .map(|m| {
            vec![
                text(m, "epoch"),
                text(m, "at"),
                text(m, "from"),
                text(m, "to"),
                text(m, "reason"),
                m["took_ms"]
                    .as_u64()
                    .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str("\n\n");
        out.push_str(&table(&["EPOCH", "AT", "FROM", "TO", "BECAUSE", "TOOK"], &rows));
    }
    out.push_str(&match &answer["activity"] {
        Value::Null if !has_owner => String::new(),
        Value::Null => "\n\nits owner did not answer".to_owned(),
        activity => {
            let state = if activity["active"] == true {
                "it is active"
            } else {
                "it sleeps until its next message"
            };
            let mut text = format!(
                "\n\n{state}; it crashed {} times lately",
                text(activity, "restarts")
            );
            if let Some(taken) = activity.get("taken_up").filter(|taken| !taken.is_null()) {
                text.push_str(&format!("\n{}", describe_taken_up(taken)));
            }
            if let Some(aside) = activity.get("set_aside").filter(|aside| !aside.is_null()) {
                let (restarts, error) = (self::text(aside, "restarts"), self::text(aside, "last_error"));
                text.push_str(&format!("\nit was set aside after {restarts} restarts: {error}"));
            }
            text
        }
    });
    if let Some(count) = answer["unanswered"].as_u64() {
        out.push_str(&format!(
            "\n{count} of its messages wait for an answer; an owner takes them up when it gains the partition"
        ));
    }
    out
}

/// What its owner took up again when it gained the partition.
fn describe_taken_up(taken: &Value) -> String {
    let ago = Duration::from_secs(taken["ago_ms"].as_u64().unwrap_or(0) / 1_000);
    let what = match (
        taken["resumed"].as_u64().unwrap_or(0),
        taken["resumed_this"] == true,
    ) {
        (0, _) => "nothing was left undone".to_owned(),
        (1, true) => "its unfinished work was taken up again at once".to_owned(),
        (count, true) => format!(
            "its unfinished work was taken up again at once, and that of {} others",
            count - 1
        ),
        (count, false) => {
            format!("{count} others had unfinished work, which was taken up at once; it had none")
        }
    };
    format!(
        "its owner gained it {} ago: {what}",
        jarvis_config::format_duration(ago)
    )
}

/// A field as people read it; a dash where there is none.
pub(crate) fn text(document: &Value, field: &str) -> String {
    match document.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A list, empty where there is none.
pub(crate) fn list<'v>(document: &'v Value, field: &str) -> &'v [Value] {
    document
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A part of a path, whatever stands in it.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_tells_people_where_since_when_and_for_what_reason() {
        let answer = json!({
            "entity": "session/X", "owner": "b", "partition": 5, "epoch": 3, "since": "2026-01-01T00:00:00Z", "from_node": "a",
            "because": "node c did not answer (process crashed)", "took_ms": 87, "needs": ["microphone"], "unanswered": 1,
            "moves": [{"epoch": 3, "at": "2026-01-01T00:00:00Z", "from": "c", "to": "b", "reason": "drained", "took_ms": null}],
            "activity": {"active": true, "restarts": 2, "set_aside": null,
                "taken_up": {"epoch": 3, "ago_ms": 61_500, "resumed": 3, "resumed_this": true}},
        });
        let shown = describe_why(&answer);
        for part in [
            "session/X runs on b (partition 5, epoch 3) since 2026-01-01T00:00:00Z, as node a knows",
            "because: node c did not answer (process crashed); taken over in 87 ms",
            "it needs a node that has microphone",
            "it is active; it crashed 2 times lately",
            "its owner gained it 1m1s ago: its unfinished work was taken up again at once, and that of 2 others",
            "1 of its messages wait",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        let silent = describe_why(&json!({"owner": "b", "activity": null}));
        assert!(silent.contains("its owner did not answer"), "{silent}");
        let nowhere = describe_why(
            &json!({"entity": "audio/X", "owner": null, "needs": ["microphone"], "activity": null}),
        );
        assert!(
            nowhere.starts_with("audio/X runs nowhere")
                && nowhere.contains("has microphone")
                && !nowhere.contains("did not answer"),
            "{nowhere}"
        );
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(segment("pi-1.attic"), "pi-1.attic");
        assert_eq!(segment("../x?y=1 é"), "..%2Fx%3Fy%3D1%20%C3%A9");
    }
}
