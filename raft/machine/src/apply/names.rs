//! What may stand in names and texts. Ids that come decoded from a log were not checked on their way, so the machine does.

use std::collections::BTreeSet;

use jarvis_types::{ClientMessageId, NodeName, limits::MAX_NAME_CHARS};

use super::context::{Halt, invalid};
use super::limits::{MAX_NODE_TEXT_BYTES, MAX_TEXT_CHARS, MIN_USER_NAME_CHARS};

/// Names are ASCII, so that which ones are the same never depends on a version of Unicode.
pub(super) fn check_user_name(name: &str) -> Result<(), Halt> {
    let fits = (MIN_USER_NAME_CHARS..=MAX_NAME_CHARS).contains(&name.len());
    if fits
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
    {
        Ok(())
    } else {
        Err(invalid(format!(
            "the user name {:?} must have {MIN_USER_NAME_CHARS} to {MAX_NAME_CHARS} letters, digits, '.', '_', '-' or '@'",
            name.chars().take(40).collect::<String>()
        )))
    }
}

pub(super) fn check_node_name(name: &NodeName) -> Result<(), Halt> {
    name.as_str()
        .parse::<NodeName>()
        .map(|_| ())
        .map_err(|e| invalid(e.to_string()))
}

/// Capabilities are written like names of nodes.
pub(super) fn check_capabilities(names: &BTreeSet<String>) -> Result<(), Halt> {
    for name in names {
        if name.parse::<NodeName>().is_err() {
            return Err(invalid(format!(
                "the capability {:?} must have 1 to {MAX_NAME_CHARS} letters, digits, '-', '_' or '.'",
                name.chars().take(40).collect::<String>()
            )));
        }
    }
    Ok(())
}

pub(super) fn check_client_id(id: &ClientMessageId) -> Result<(), Halt> {
    id.as_str()
        .parse::<ClientMessageId>()
        .map(|_| ())
        .map_err(|e| invalid(e.to_string()))
}

pub(super) fn check_node_text(what: &str, text: &str) -> Result<(), Halt> {
    if text.len() <= MAX_NODE_TEXT_BYTES {
        Ok(())
    } else {
        Err(invalid(format!(
            "the {what} has {} bytes, more than {MAX_NODE_TEXT_BYTES}",
            text.len()
        )))
    }
}

pub(super) fn check_text(text: &str) -> Result<(), Halt> {
    // Bytes are at least as many as characters: most texts need no counting.
    if text.len() <= MAX_TEXT_CHARS || text.chars().count() <= MAX_TEXT_CHARS {
        Ok(())
    } else {
        Err(invalid(format!(
            "the text has more than {MAX_TEXT_CHARS} characters"
        )))
    }
}
