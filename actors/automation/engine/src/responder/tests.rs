//! What is said of a home, against one that writes down what it is asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jarvis_devices::{Registry, Settings};
use jarvis_rules::facts::Home;
use jarvis_rules::load::load;
use jarvis_rules::template::Templates;
use jarvis_session::logic::intents::Facts;
use jarvis_session::responder::Piece;
use jarvis_types::{Seq, SessionId};

use super::*;
use crate::library::Definition;

/// 2026-03-01, 12:05 UTC: 13:05 in the home.
const NOW: u64 = 1_772_366_700_000;
const SESSION: SessionId = SessionId(7);

/// A home that writes down what it is asked for.
struct Fake {
    registry: Registry,
    library: Library,
    reminders: Mutex<BTreeMap<String, Reminder>>,
    asked: Mutex<Vec<String>>,
    /// Not reached.
    silent: Vec<&'static str>,
    /// Given for every call.
    error: Option<AutomationError>,
}

fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a valid rule")
}

fn fake() -> Fake {
    let home = Home {
        time_zone: zone(),
        latitude: 48.85,
        longitude: 2.35,
        elevation_m: 35.0,
    };
    let mut registry = Registry::new(Settings::default(), Arc::new(Templates::new()), Arc::new(home));
    for (component, name, area) in [
        ("light", "Ceiling", "Kitchen"),
        ("light", "Counter", "Kitchen"),
        ("switch", "Coffee machine", "Kitchen"),
        ("light", "Suspension", "Salon"),
    ] {
        if registry.view(NOW as i64).area(area).is_none() {
            registry.put_area(area, Vec::new()).expect("a good name");
        }
        let id = name.to_lowercase().replace(' ', "_");
        let config = format!(
            r#"{{"name":null,"uniq_id":"{id}","cmd_t":"c/{id}","dev":{{"ids":"{id}","name":"{name}","sa":"{area}"}}}}"#
        );
        let topic = format!("homeassistant/{component}/{id}/config");
        registry.message(&topic, config.as_bytes(), true, NOW as i64);
    }
    let text = "
- id: night
  triggers:
    - trigger: jarvis
      event: intent
      intent: Bonne nuit !
  actions: []
- id: off
  triggers:
    - trigger: jarvis
      event: intent
      intent: party
  actions: []
- id: switched
  triggers:
    - trigger: jarvis
      event: intent
      intent: away
      enabled: false
  actions: []
";
    let loaded = load(&[("home.yaml", text)]);
    assert_eq!(loaded.problems, []);
    let mut library = Library::default();
    for automation in loaded.automations {
        let (id, enabled) = (automation.id.clone(), automation.id != "off");
        library.set(&id, Some(Definition::new(automation, enabled, 0)));
    }
    Fake {
        registry,
        library,
        reminders: Mutex::default(),
        asked: Mutex::default(),
        silent: Vec::new(),
        error: None,
    }
}

impl Fake {
    fn note(&self, what: String) -> Result<(), AutomationError> {
        self.asked.lock().expect("not poisoned").push(what);
        self.error.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Doing for Fake {
    async fn ready(&self) {}

    fn seen(&self) -> Result<Seen, AutomationError> {
        Ok(Seen {
            view: self.registry.view(NOW as i64),
            library: self.library.clone(),
            reminders: Arc::new(self.reminders.lock().expect("not poisoned").clone()),
        })
    }

    async fn call(&self, id: String, command: &Command) -> Result<Vec<String>, AutomationError> {
        let entities = &command.target.entity_id;
        self.note(format!("{id} {} {}", command.service, entities.join("+")))?;
        let silent = entities.iter().filter(|id| self.silent.contains(&id.as_str()));
        Ok(silent.cloned().collect())
    }

    async fn remind(&self, reminder: Reminder) -> Result<(), AutomationError> {
        self.note(format!("remind {}", reminder.id))?;
        let mut all = self.reminders.lock().expect("not poisoned");
        all.entry(reminder.id.clone()).or_insert(reminder);
        Ok(())
    }

    async fn cancel_reminder(&self, id: &str) -> Result<(), AutomationError> {
        self.note(format!("cancel {id}"))?;
        let gone = self.reminders.lock().expect("not poisoned").remove(id);
        gone.map(drop)
            .ok_or_else(|| AutomationError::NotFound("no such reminder".to_owned()))
    }

    async fn tell(&self, told: Told) -> Result<(), AutomationError> {
        let Told::Intent { name, session, .. } = told else {
            panic!("nothing else is told: {told:?}")
        };
        self.note(format!("tell {name} {session}"))
    }
}

/// Says things in a session, one after the other.
struct Chat {
    home: Arc<Fake>,
    responder: HomeResponder,
    seq: u64,
}

impl Chat {
    fn with(fake: Fake) -> Self {
        let home = Arc::new(fake);
        let responder = HomeResponder {
            home: Arc::clone(&home) as Arc<dyn Doing>,
            zone: zone(),
        };
        Self {
            home,
            responder,
            seq: 0,
        }
    }

    async fn say(&mut self, text: &str) -> Option<String> {
        self.seq += 1;
        self.again(text).await
    }

    /// The message is answered by whoever owns the session now.
    async fn again(&self, text: &str) -> Option<String> {
        let prompt = Prompt {
            session: SESSION,
            seq: Seq(self.seq),
            text: text.to_owned(),
            history: Vec::new(),
            facts: Facts {
                now_ms: NOW,
                time_zone: TimeZone::UTC,
                owner: "a".to_owned(),
                gateway: None,
                leader: None,
                nodes: Vec::new(),
                said_before: None,
            },
        };
        let (mut sink, mut pieces) = DeltaSink::new("");
        let result = self.responder.respond(&prompt, &mut sink).await;
        match result {
            Ok(finished) => {
                assert_eq!(finished.responder, "home");
                let Some(Piece::Text(text)) = pieces.recv().await else {
                    panic!("a reply has a text")
                };
                assert_eq!(text, sink.into_text());
                Some(text)
            }
            Err(ResponderError::Passed) => {
                assert_eq!(sink.into_text(), "", "who passes on says nothing");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.home.asked.lock().expect("not poisoned"))
    }
}

#[tokio::test]
async fn devices_are_switched_under_the_messages_name() {
    let mut chat = Chat::with(fake());
    let reply = chat.say("turn off the kitchen lights").await;
    assert_eq!(reply.as_deref(), Some("Kitchen: turning off Ceiling, Counter."));
    let once = chat.asked();
    assert_eq!(
        once,
        [format!(
            "chat-{SESSION}-1-0 light.turn_off light.ceiling+light.counter"
        )]
    );
    // Another node writes the reply again: it asks for the same.
    assert_eq!(chat.again("turn off the kitchen lights").await, reply);
    assert_eq!(chat.asked(), once);
    assert_eq!(
        chat.say("éteins le salon").await.as_deref(),
        Some("Salon : j'éteins Suspension.")
    );
    assert_eq!(
        chat.asked(),
        [format!("chat-{SESSION}-2-0 light.turn_off light.suspension")]
    );
}

#[tokio::test]
async fn what_is_not_reached_is_said() {
    let mut home = fake();
    home.silent = vec!["light.counter"];
    let mut chat = Chat::with(home);
    assert_eq!(
        chat.say("turn off the kitchen lights").await.as_deref(),
        Some("Kitchen: turning off Ceiling, Counter. I could not reach Counter.")
    );
    assert_eq!(
        chat.say("éteins le counter").await.as_deref(),
        Some("Je n'ai pas pu joindre Counter.")
    );

    let mut home = fake();
    home.error = Some(AutomationError::Unavailable {
        what: "no majority answered".to_owned(),
        retry_after_ms: 250,
    });
    let mut chat = Chat::with(home);
    assert_eq!(
        chat.say("turn on the coffee machine").await.as_deref(),
        Some("I could not do that at the moment: no majority answered. Please ask again.")
    );
    assert_eq!(
        chat.say("rappelle-moi dans dix minutes d'appeler")
            .await
            .as_deref(),
        Some("Je n'ai pas pu le faire pour le moment : no majority answered. Redemandez-le-moi.")
    );
}

#[tokio::test]
async fn what_could_be_several_things_is_asked_back_and_nothing_is_done() {
    let mut chat = Chat::with(fake());
    let reply = chat.say("turn on the light").await.expect("a question");
    assert!(reply.starts_with("Which one do you mean: "), "{reply}");
    let none: [String; 0] = [];
    assert_eq!(chat.asked(), none);
}

#[tokio::test]
async fn other_talk_is_passed_on() {
    let mut chat = Chat::with(fake());
    for text in [
        "what time is it?",
        "tell me a story",
        "2+2",
        "",
        "quelle heure est-il ?",
        "party",
        "away",
    ] {
        assert_eq!(chat.say(text).await, None, "{text}");
    }
    let none: [String; 0] = [];
    assert_eq!(chat.asked(), none);
}

#[tokio::test]
async fn automations_answer_to_their_phrase() {
    let mut chat = Chat::with(fake());
    for (text, reply) in [
        ("Bonne nuit !", "C'est fait."),
        ("bonne  nuit", "C'est fait."),
        ("BONNE NUIT.", "C'est fait."),
    ] {
        assert_eq!(chat.say(text).await.as_deref(), Some(reply), "{text}");
        assert_eq!(chat.asked(), [format!("tell Bonne nuit ! {SESSION}")]);
    }
    assert_eq!(chat.say("bonne nuit Jarvis").await, None, "not its words");
}

#[tokio::test]
async fn reminders_are_set_once_listed_and_cancelled() {
    let mut chat = Chat::with(fake());
    let text = "remind me in ten minutes to call mum";
    let reply = chat.say(text).await;
    assert_eq!(reply.as_deref(), Some("I will remind you at 13:15: call mum."));
    let id = format!("{SESSION}-1");
    assert_eq!(chat.asked(), [format!("remind {id}")]);
    let kept = chat.home.reminders.lock().expect("not poisoned")[&id].clone();
    assert_eq!(
        kept,
        Reminder {
            id: id.clone(),
            session: SESSION.to_string(),
            text: "Reminder: call mum".to_owned(),
            due_ms: NOW as i64 + 600_000,
            asked_ms: NOW as i64,
        }
    );
    assert_eq!(chat.again(text).await, reply);
    assert_eq!(chat.home.reminders.lock().expect("not poisoned").len(), 1);

    assert_eq!(
        chat.say("rappelle-moi demain à 8 heures de sortir les poubelles")
            .await
            .as_deref(),
        Some("Je vous le rappellerai demain à 08 h 00 : sortir les poubelles.")
    );
    let of_another = Reminder {
        id: "other".to_owned(),
        session: SessionId(8).to_string(),
        ..kept
    };
    let all = &chat.home.reminders;
    all.lock()
        .expect("not poisoned")
        .insert("other".to_owned(), of_another);
    assert_eq!(
        chat.say("what reminders do I have?").await.as_deref(),
        Some("You have 2 reminders:\n- call mum, today at 13:15\n- sortir les poubelles, tomorrow at 08:00")
    );
    chat.asked();
    assert_eq!(
        chat.say("cancel the reminder").await.as_deref(),
        Some("Which one do you mean: call mum, today at 13:15; sortir les poubelles, tomorrow at 08:00?")
    );
    assert_eq!(
        chat.say("cancel the reminder about the moon").await.as_deref(),
        Some("You have no reminder about \"moon\".")
    );
    let none: [String; 0] = [];
    assert_eq!(chat.asked(), none);
    assert_eq!(
        chat.say("annule le rappel pour les poubelles").await.as_deref(),
        Some("J'ai annulé le rappel : sortir les poubelles, demain à 08 h 00.")
    );
    assert_eq!(chat.asked(), [format!("cancel {SESSION}-2")]);
    assert_eq!(
        chat.say("cancel all reminders").await.as_deref(),
        Some("I have cancelled the reminder: call mum, today at 13:15.")
    );
    assert_eq!(
        chat.say("mes rappels").await.as_deref(),
        Some("Vous n'avez aucun rappel.")
    );
    assert_eq!(
        chat.home.reminders.lock().expect("not poisoned").len(),
        1,
        "of another session"
    );
}

#[tokio::test]
async fn reminders_have_a_bound() {
    let home = fake();
    for n in 0..MOST_REMINDERS {
        let reminder = Reminder {
            id: n.to_string(),
            session: SESSION.to_string(),
            text: String::new(),
            due_ms: NOW as i64 + 1,
            asked_ms: 0,
        };
        home.reminders
            .lock()
            .expect("not poisoned")
            .insert(n.to_string(), reminder);
    }
    let mut chat = Chat::with(home);
    assert_eq!(
        chat.say("remind me in ten minutes").await.as_deref(),
        Some("100 reminders wait already: cancel some first.")
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_start_passes_on() {
    let chat = HomeResponder {
        home: Arc::new(Late::default()),
        zone: zone(),
    };
    let chat = Chat {
        home: Arc::new(fake()),
        responder: chat,
        seq: 1,
    };
    assert_eq!(chat.again("turn off the kitchen lights").await, None);
}
