//! Messages and the replies to them.

use super::*;

pub(super) fn facts() -> Facts {
    Facts {
        // Sunday, 1 March 2026, 13:05 in Paris.
        now_ms: 1_772_366_700_000,
        time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a valid rule"),
        owner: "nas".into(),
        gateway: Some("pi".into()),
        leader: Some("attic".into()),
        nodes: vec![
            NodeFact {
                name: "nas".into(),
                up: true,
            },
            NodeFact {
                name: "pi".into(),
                up: true,
            },
            NodeFact {
                name: "attic".into(),
                up: false,
            },
        ],
        said_before: Some("open the door".into()),
    }
}

#[track_caller]
fn check(message: &str, reply: &str, certain: bool) {
    let understood = understand(message, &facts());
    assert_eq!(
        (understood.text.as_str(), understood.certain),
        (reply, certain),
        "{message}"
    );
}

#[test]
fn questions_about_the_cluster() {
    let on = "You are connected to node pi; your session runs on node nas.";
    for message in [
        "which node am I on?",
        "Jarvis, which node am I on please?",
        "WHICH NODE AM I ON",
        "Where are you running?",
    ] {
        check(message, on, true);
    }
    for message in [
        "sur quel nœud suis-je ?",
        "Sur quel noeud suis je",
        "dis, sur quel nœud suis-je maintenant ?",
    ] {
        check(
            message,
            "Vous êtes connecté au nœud pi ; votre session tourne sur le nœud nas.",
            true,
        );
    }
    check("who is the leader?", "Node attic is the leader.", true);
    check("Who's the leader", "Node attic is the leader.", true);
    for message in ["qui est le chef ?", "qui est le leader ?", "C'est qui le chef ?"] {
        check(message, "Le leader est le nœud attic.", true);
    }
    check(
        "how many nodes are up?",
        "2 of 3 nodes are up: nas, pi. Down: attic.",
        true,
    );
    check(
        "combien de nœuds sont actifs ?",
        "2 nœuds sur 3 sont actifs : nas, pi. En panne : attic.",
        true,
    );
}

#[test]
fn no_leader_and_one_node() {
    let mut facts = facts();
    facts.leader = None;
    facts.gateway = None;
    facts.nodes.truncate(1);
    assert_eq!(
        understand("who is the leader", &facts).text,
        "There is no leader at the moment; one is being elected."
    );
    assert_eq!(
        understand("how many nodes", &facts).text,
        "1 of 1 node is up: nas."
    );
    assert_eq!(
        understand("combien de nœuds", &facts).text,
        "1 nœud sur 1 est actif : nas."
    );
    assert_eq!(
        understand("which node am i on", &facts).text,
        "Your session runs on node nas."
    );
}

#[test]
fn time_and_date() {
    check("what time is it?", "It is 13:05 (CET).", true);
    check("What time is it now, please?", "It is 13:05 (CET).", true);
    check("quelle heure est-il ?", "Il est 13 h 05 (CET).", true);
    check("what is the date?", "Today is Sunday, 1 March 2026.", true);
    check(
        "quelle est la date ?",
        "Nous sommes le dimanche 1er mars 2026.",
        true,
    );
    check("what day is it?", "Today is Sunday.", true);
    check("on est quel jour ?", "Nous sommes dimanche.", true);
}

#[test]
fn calculations_go_first_and_in_the_right_language() {
    check("what is 2 + 2?", "2 + 2 = 4", true);
    check("combien font 3 fois 1,5 ?", "3 × 1,5 = 4,5", true);
}

#[test]
fn manners() {
    check("Hello", "Hello! Ask me something, or say \"help\".", false);
    check(
        "Bonjour Jarvis !",
        "Bonjour ! Posez-moi une question, ou dites « aide ».",
        false,
    );
    check("thank you", "You are welcome.", false);
    check("merci", "Avec plaisir.", false);
    check("bye", "Goodbye!", false);
    check("au revoir", "Au revoir !", false);
    check("repeat what I said", "You said: \"open the door\"", false);
    check(
        "répète ce que j'ai dit",
        "Vous avez dit : « open the door »",
        false,
    );
    assert!(
        understand("who are you?", &facts())
            .text
            .starts_with("I am Jarvis")
    );
    assert!(
        understand("qui es-tu ?", &facts())
            .text
            .starts_with("Je suis Jarvis")
    );
    assert!(understand("help", &facts()).text.contains("which node am I on?"));
    assert!(
        understand("aide", &facts())
            .text
            .contains("sur quel nœud suis-je ?")
    );
}

#[test]
fn slips_of_the_pen_are_understood_but_not_certain() {
    check("waht time is it?", "It is 13:05 (CET).", false);
    check("quel heure est-il", "Il est 13 h 05 (CET).", false);
    check("who is the leadr", "Node attic is the leader.", false);
}

#[test]
fn more_than_the_phrase_is_not_the_phrase() {
    for message in [
        "what time is it in Tokyo?",
        "help me write a letter to my aunt",
        "who is the leader of France?",
    ] {
        assert!(!understand(message, &facts()).certain, "{message}");
    }
}

#[test]
fn what_is_not_understood_is_given_back_with_suggestions() {
    let reply = understand("what is the weather?", &facts());
    assert!(!reply.certain);
    assert!(
        reply
            .text
            .starts_with("You said: \"what is the weather?\". I did not understand that. Try \"what"),
        "{reply:?}"
    );
    let reply = understand("quel temps fera-t-il demain ?", &facts());
    assert!(
        reply
            .text
            .starts_with("Vous avez dit : « quel temps fera-t-il demain ? »"),
        "{reply:?}"
    );
    let long = understand(&"blah ".repeat(5_000), &facts());
    assert!(long.text.chars().count() < 400);
}

#[test]
fn every_phrase_means_what_the_list_says() {
    for (language, intent, phrases) in PHRASES {
        for phrase in *phrases {
            assert_eq!(*phrase, words_only(&fold(phrase)), "phrases stand in folded form");
            let found = recognise(phrase, Some(*language)).map(|(_, found, exact)| (found, exact));
            assert_eq!(found, Some((*intent, true)), "{phrase}");
        }
    }
}

#[test]
fn every_example_is_understood() {
    for language in [Language::English, Language::French] {
        for example in phrases::examples(language) {
            let reply = understand(example, &facts()).text;
            assert!(
                !reply.contains("not understand") && !reply.contains("pas compris"),
                "{example}: {reply}"
            );
        }
    }
}

#[test]
fn odd_messages_never_panic() {
    for message in [
        "",
        " ",
        "?",
        "🙂",
        "\u{0}",
        "é".repeat(100_000).as_str(),
        "ﬀ",
        "İstanbul",
        "1/",
        "(((((",
        "\u{202e}abc",
    ] {
        assert!(!understand(message, &facts()).text.is_empty(), "{message:?}");
    }
}
