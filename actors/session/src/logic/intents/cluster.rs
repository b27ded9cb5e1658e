//! Replies about the cluster.

use super::Facts;
use super::language::Language;

pub(super) fn which_node(language: Language, facts: &Facts) -> String {
    let owner = &facts.owner;
    match &facts.gateway {
        Some(gateway) if gateway != owner => language.pick(
            format!("You are connected to node {gateway}; your session runs on node {owner}."),
            format!("Vous êtes connecté au nœud {gateway} ; votre session tourne sur le nœud {owner}."),
        ),
        _ => language.pick(
            format!("Your session runs on node {owner}."),
            format!("Votre session tourne sur le nœud {owner}."),
        ),
    }
}

pub(super) fn leader(language: Language, facts: &Facts) -> String {
    match &facts.leader {
        Some(leader) => language.pick(
            format!("Node {leader} is the leader."),
            format!("Le leader est le nœud {leader}."),
        ),
        None => language
            .pick(
                "There is no leader at the moment; one is being elected.",
                "Il n'y a pas de leader en ce moment ; une élection est en cours.",
            )
            .to_owned(),
    }
}

pub(super) fn how_many(language: Language, facts: &Facts) -> String {
    let (up, down): (Vec<_>, Vec<_>) = facts.nodes.iter().partition(|node| node.up);
    let names = |nodes: &[&super::NodeFact]| {
        nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let all = facts.nodes.len();
    let mut text = language.pick(
        format!(
            "{} of {all} {} up: {}.",
            up.len(),
            if all == 1 { "node is" } else { "nodes are" },
            names(&up)
        ),
        format!(
            "{} {} sur {all} {} : {}.",
            up.len(),
            if up.len() > 1 { "nœuds" } else { "nœud" },
            if up.len() > 1 { "sont actifs" } else { "est actif" },
            names(&up)
        ),
    );
    if !down.is_empty() {
        text.push_str(&language.pick(
            format!(" Down: {}.", names(&down)),
            format!(" En panne : {}.", names(&down)),
        ));
    }
    text
}

pub(super) fn overview(language: Language, facts: &Facts) -> String {
    let well = facts.leader.is_some() && facts.nodes.iter().all(|node| node.up);
    let lead = if well {
        language.pick("All is well.", "Tout va bien.")
    } else {
        language.pick(
            "I am working, with some trouble.",
            "Je fonctionne, avec quelques soucis.",
        )
    };
    format!("{lead} {} {}", how_many(language, facts), leader(language, facts))
}
