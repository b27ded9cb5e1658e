//! What `status` says of the voters: what two nodes mean, and what the leader has to tell of them.

use jarvis_machine::rows::NodeIntent;

use crate::backend::ClusterView;

/// Where no majority is reachable.
pub(super) const NO_LEADER: &str = "no leader: nothing can be committed until a majority of the voters is reachable; what \
                                    this node has can still be read here";
/// What to do then.
pub(super) const NO_LEADER_ADVICE: &str = "start the nodes that are down, or mend the network between them; only if a majority of \
                                           the voters is gone for good: stop this node, then `jarvis recover` on it";

/// Adds what there is to say.
pub(super) fn degraded(view: &ClusterView, add: &mut dyn FnMut(String, String)) {
    let members = view
        .nodes
        .iter()
        .filter(|(_, row)| row.intent != NodeIntent::Joining);
    let members: Vec<_> = members.collect();
    if let ([voter], true) = (&view.replica.voters[..], members.len() > 1) {
        let name = |wanted: bool| {
            let names = members.iter().filter(|(id, _)| (id == voter) == wanted);
            let names: Vec<String> = names.map(|(_, row)| row.name.to_string()).collect();
            names.join(", ")
        };
        let (voter, others) = (name(true), name(false));
        add(
            format!(
                "only {voter} votes: while it is away {others} can be read but takes nothing new, and what it alone had \
                 acknowledged is lost with its disk"
            ),
            format!(
                "add a third node (`jarvis invite`), or a witness on any small machine, which only votes (`jarvis invite --role \
                 witness`); should {voter} ever be gone for good: `jarvis recover` on {others}"
            ),
        );
    }
    for note in &view.notes {
        add(note.what.clone(), note.advice.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::row;
    use jarvis_replica::Note;
    use jarvis_replica::api::ReplicaState;
    use jarvis_types::NodeId;

    fn said(voters: &[u64], notes: Vec<Note>) -> Vec<String> {
        let view = ClusterView {
            cluster: None,
            nodes: vec![(NodeId(1), row("a", "")), (NodeId(2), row("b", ""))],
            kinds: Vec::new(),
            replica: ReplicaState {
                voters: voters.iter().copied().map(NodeId).collect(),
                ..ReplicaState::default()
            },
            peers: Default::default(),
            removed_by: None,
            notes,
            level: 2,
            facts: Default::default(),
            needs: Default::default(),
        };
        let mut said = Vec::new();
        degraded(&view, &mut |what, advice| said.push(format!("{what} / {advice}")));
        said
    }

    #[test]
    fn one_voter_of_two_nodes_is_said_plainly() {
        let two = said(&[1], Vec::new());
        for part in [
            "only a votes: while it is away b can be read",
            "--role witness",
            "`jarvis recover` on b",
        ] {
            assert!(two[0].contains(part), "{part} is not in {two:?}");
        }
        assert_eq!(said(&[1, 2], Vec::new()), Vec::<String>::new());
        let note = Note {
            what: "w".to_owned(),
            advice: "d".to_owned(),
        };
        assert_eq!(said(&[1, 2], vec![note]), ["w / d"]);
    }
}
