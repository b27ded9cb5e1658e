//! What people say, and what is made of it.

use jarvis_rules::template::Templates;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::*;
use crate::registry::tests::{NOW, home, registry, say, tell};
use crate::registry::{Assignment, Registry, Thing};
use crate::service::call;

/// A home with English names: two floors, things that must not be guessed at.
fn english() -> Registry {
    let mut registry = registry();
    for (component, name, area, more) in [
        (
            "light",
            "Ceiling lamp",
            "Kitchen",
            r#","bri_cmd_t":"b","rgb_cmd_t":"rgb","stat_t":"s/1""#,
        ),
        (
            "light",
            "Counter",
            "Kitchen",
            r#","bri_cmd_t":"b","stat_t":"s/2""#,
        ),
        ("light", "Reading lamp", "Living Room", r#","bri_cmd_t":"b""#),
        ("light", "Hallway light", "Hallway", ""),
        ("switch", "Coffee machine", "Kitchen", ""),
        ("switch", "Television", "Living Room", ""),
        (
            "climate",
            "Thermostat",
            "Living Room",
            r#","temp_cmd_t":"t","mode_cmd_t":"m","curr_temp_t":"now""#,
        ),
        (
            "cover",
            "Living room blind",
            "Living Room",
            r#","set_pos_t":"sp","pos_t":"p","dev_cla":"blind""#,
        ),
        (
            "cover",
            "Bedroom blind",
            "Bedroom",
            r#","set_pos_t":"sp","pos_t":"p2","dev_cla":"blind""#,
        ),
        (
            "cover",
            "Garage door",
            "Garage",
            r#","stat_t":"garage","dev_cla":"garage""#,
        ),
        ("lock", "Front door", "Hallway", r#","stat_t":"lock""#),
        ("lock", "Back door", "Kitchen", ""),
        (
            "sensor",
            "Kitchen temperature",
            "Kitchen",
            r#","stat_t":"kt","dev_cla":"temperature","unit_of_meas":"°C""#,
        ),
        (
            "binary_sensor",
            "Bathroom window",
            "Bathroom",
            r#","stat_t":"win","dev_cla":"window""#,
        ),
        ("scene", "Movie night", "Living Room", ""),
        ("fan", "Desk fan", "Office", r#","pct_cmd_t":"pct""#),
        ("switch", "Hidden", "Kitchen", r#","ent_cat":"config""#),
    ] {
        add(&mut registry, component, name, area, more);
    }
    for (topic, payload) in [
        ("s/1", "ON"),
        ("s/2", "OFF"),
        ("garage", "closed"),
        ("lock", "LOCKED"),
        ("kt", "19.5"),
        ("win", "ON"),
        ("now", "20.5"),
    ] {
        say(&mut registry, topic, payload);
    }
    registry
}

fn add(registry: &mut Registry, component: &str, name: &str, area: &str, more: &str) {
    let id = crate::text::slug(name);
    if registry.view(NOW).area(area).is_none() {
        registry.put_area(area, vec![]).expect("a good name");
    }
    let config = format!(
        r#"{{"name":null,"uniq_id":"{id}","cmd_t":"c/{id}"{more},"dev":{{"ids":"{id}","name":"{name}","sa":"{area}"}}}}"#
    );
    tell(registry, &format!("{component}/{id}"), &config);
}

/// A home with French names.
fn french() -> Registry {
    let mut registry = registry();
    for (component, name, area, more) in [
        ("light", "Plafonnier", "Cuisine", ""),
        ("light", "Lampe du salon", "Salon", r#","bri_cmd_t":"b""#),
        (
            "light",
            "Lampe de chevet",
            "Chambre",
            r#","bri_cmd_t":"b","rgb_cmd_t":"rgb""#,
        ),
        (
            "cover",
            "Volet gauche",
            "Salon",
            r#","set_pos_t":"sp","pos_t":"p","dev_cla":"shutter""#,
        ),
        (
            "cover",
            "Volet droit",
            "Salon",
            r#","set_pos_t":"sp","pos_t":"p","dev_cla":"shutter""#,
        ),
        (
            "cover",
            "Porte de garage",
            "Garage",
            r#","stat_t":"garage","dev_cla":"garage""#,
        ),
        (
            "climate",
            "Radiateur",
            "Salon",
            r#","temp_cmd_t":"t","mode_cmd_t":"m""#,
        ),
        (
            "sensor",
            "Thermomètre",
            "Salle de bain",
            r#","stat_t":"bt","dev_cla":"temperature","unit_of_meas":"°C""#,
        ),
        ("lock", "Porte d'entrée", "Entrée", r#","stat_t":"lock""#),
        ("switch", "Cafetière", "Cuisine", ""),
    ] {
        add(&mut registry, component, name, area, more);
    }
    for (topic, payload) in [("garage", "open"), ("bt", "22.5"), ("lock", "UNLOCKED")] {
        say(&mut registry, topic, payload);
    }
    registry
}

/// What is called, as `service ids data`.
fn done(text: &str, language: Language, registry: &Registry) -> Vec<String> {
    match understand(text, language, &registry.view(NOW)) {
        Some(Understood::Do(commands)) => commands
            .iter()
            .map(|command| {
                // Whatever is understood can be done.
                let out = call(
                    &command.service,
                    &command.target,
                    &command.data,
                    &registry.view(NOW),
                    &Templates::new(),
                );
                assert!(out.is_ok(), "{text}: {out:?}");
                let ids: Vec<&str> = command
                    .target
                    .entity_id
                    .iter()
                    .filter_map(|id| id.split_once('.'))
                    .map(|(_, object)| object)
                    .collect();
                let data = if command.data.is_empty() {
                    String::new()
                } else {
                    format!(" {}", json!(command.data))
                };
                format!("{} {}{data}", command.service, ids.join("+"))
            })
            .collect(),
        other => vec![format!("{other:?}")],
    }
}

#[track_caller]
fn check(registry: &Registry, language: Language, text: &str, expected: &[&str]) {
    assert_eq!(done(text, language, registry), expected, "{text}");
}

#[test]
fn orders_in_english() {
    let registry = english();
    for (text, expected) in [
        (
            "turn off the kitchen lights",
            &["light.turn_off ceiling_lamp+counter"][..],
        ),
        (
            "Jarvis, could you turn the kitchen lights off please?",
            &["light.turn_off ceiling_lamp+counter"],
        ),
        (
            "turn off the lights in the kitchen",
            &["light.turn_off ceiling_lamp+counter"],
        ),
        ("switch on the kitchen", &["light.turn_on ceiling_lamp+counter"]),
        ("turn on the reading lamp", &["light.turn_on reading_lamp"]),
        ("turn on the reading light", &["light.turn_on reading_lamp"]),
        ("turn the coffee machine on", &["switch.turn_on coffee_machine"]),
        ("turn off the TV", &["switch.turn_off television"]),
        (
            "turn off all the lights",
            &["light.turn_off ceiling_lamp+counter+hallway_light+reading_lamp"],
        ),
        (
            "turn off every light",
            &["light.turn_off ceiling_lamp+counter+hallway_light+reading_lamp"],
        ),
        ("turn on the hallway", &["light.turn_on hallway_light"]),
        ("toggle the reading lamp", &["light.toggle reading_lamp"]),
        (
            "set the living room to 21 degrees",
            &[r#"climate.set_temperature thermostat {"temperature":21.0}"#],
        ),
        (
            "set the living room to twenty one degrees",
            &[r#"climate.set_temperature thermostat {"temperature":21.0}"#],
        ),
        (
            "set the thermostat to 21.5",
            &[r#"climate.set_temperature thermostat {"temperature":21.5}"#],
        ),
        (
            "set the heating to 19°C",
            &[r#"climate.set_temperature thermostat {"temperature":19.0}"#],
        ),
        (
            "set the counter to 40%",
            &[r#"light.turn_on counter {"brightness_pct":40.0}"#],
        ),
        (
            "dim the kitchen to 20 percent",
            &[r#"light.turn_on ceiling_lamp+counter {"brightness_pct":20.0}"#],
        ),
        (
            "dim the reading lamp",
            &[r#"light.turn_on reading_lamp {"brightness_step_pct":-25}"#],
        ),
        (
            "make the ceiling lamp red",
            &[r#"light.turn_on ceiling_lamp {"color_name":"red"}"#],
        ),
        ("open the bedroom blind", &["cover.open_cover bedroom_blind"]),
        (
            "close all the blinds",
            &["cover.close_cover bedroom_blind+living_room_blind"],
        ),
        (
            "close the curtains in the living room",
            &["cover.close_cover living_room_blind"],
        ),
        (
            "set the bedroom blind to 50%",
            &[r#"cover.set_cover_position bedroom_blind {"position":50.0}"#],
        ),
        ("stop the bedroom blind", &["cover.stop_cover bedroom_blind"]),
        ("open the garage door", &["cover.open_cover garage_door"]),
        ("lock the front door", &["lock.lock front_door"]),
        ("unlock the front door", &["lock.unlock front_door"]),
        ("activate movie night", &["scene.turn_on movie_night"]),
        (
            "set the desk fan to 50 percent",
            &[r#"fan.set_percentage desk_fan {"percentage":50.0}"#],
        ),
        // A slip of the pen.
        ("turn on the coffe machine", &["switch.turn_on coffee_machine"]),
        // The other language works too.
        ("éteins la cuisine", &["light.turn_off ceiling_lamp+counter"]),
        (
            "ferme les volets du salon",
            &["cover.close_cover living_room_blind"],
        ),
        ("allume la télé", &["switch.turn_on television"]),
    ] {
        check(&registry, Language::English, text, expected);
    }
}

#[test]
fn orders_in_french() {
    let registry = french();
    for (text, expected) in [
        ("éteins la cuisine", &["light.turn_off plafonnier"][..]),
        (
            "Éteins les lumières de la cuisine, s'il te plaît",
            &["light.turn_off plafonnier"],
        ),
        ("allume la lampe du salon", &["light.turn_on lampe_du_salon"]),
        ("allume le salon", &["light.turn_on lampe_du_salon"]),
        (
            "peux-tu allumer la lampe de chevet ?",
            &["light.turn_on lampe_de_chevet"],
        ),
        (
            "éteins tout",
            &["light.turn_off lampe_de_chevet+lampe_du_salon+plafonnier"],
        ),
        (
            "éteins toutes les lumières",
            &["light.turn_off lampe_de_chevet+lampe_du_salon+plafonnier"],
        ),
        (
            "ferme les volets du salon",
            &["cover.close_cover volet_droit+volet_gauche"],
        ),
        ("ouvre le volet gauche", &["cover.open_cover volet_gauche"]),
        (
            "mets le salon à 21 degrés",
            &[r#"climate.set_temperature radiateur {"temperature":21.0}"#],
        ),
        (
            "règle le chauffage sur 19,5 °C",
            &[r#"climate.set_temperature radiateur {"temperature":19.5}"#],
        ),
        (
            "mets la lampe du salon à 50 %",
            &[r#"light.turn_on lampe_du_salon {"brightness_pct":50.0}"#],
        ),
        (
            "mets la lampe du salon à cinquante pour cent",
            &[r#"light.turn_on lampe_du_salon {"brightness_pct":50.0}"#],
        ),
        (
            "mets la lampe de chevet en rouge",
            &[r#"light.turn_on lampe_de_chevet {"color_name":"red"}"#],
        ),
        (
            "tamise la lampe du salon",
            &[r#"light.turn_on lampe_du_salon {"brightness_step_pct":-25}"#],
        ),
        ("allume la cafetière", &["switch.turn_on cafetiere"]),
        ("verrouille la porte d'entrée", &["lock.lock porte_d_entree"]),
        ("ferme la porte de garage", &["cover.close_cover porte_de_garage"]),
        ("turn off the kitchen lights", &["light.turn_off plafonnier"]),
    ] {
        check(&registry, Language::French, text, expected);
    }
}

#[test]
fn nothing_dangerous_is_guessed() {
    let registry = english();
    for text in [
        "unlock the door",
        "unlock the front",
        "unlock the frnt door",
        "unlock all the doors",
        "unlock everything",
        "unlock the kitchen",
        "open the garage",
    ] {
        let out = understand(text, Language::English, &registry.view(NOW));
        assert!(!matches!(out, Some(Understood::Do(_))), "{text}: {out:?}");
    }
    let out = understand("unlock the door", Language::English, &registry.view(NOW));
    assert_eq!(
        out,
        Some(Understood::Ask(
            "For this I need the exact name: Back door, Front door?".into()
        ))
    );
    // All blinds are opened, the garage is not.
    check(
        &registry,
        Language::English,
        "open all the blinds",
        &["cover.open_cover bedroom_blind+living_room_blind"],
    );
    let out = understand("open everything", Language::English, &registry.view(NOW));
    if let Some(Understood::Do(commands)) = &out {
        assert!(
            commands
                .iter()
                .all(|command| !command.target.entity_id.contains(&"cover.garage_door".to_owned())),
            "{out:?}"
        );
    }
}

#[test]
fn what_could_be_several_things_is_asked() {
    let registry = english();
    let view = registry.view(NOW);
    for (text, language, expected) in [
        (
            "turn on the light",
            Language::English,
            "Which one do you mean: Ceiling lamp, Counter, Hallway light, Reading lamp?",
        ),
        (
            "close the blind",
            Language::English,
            "Which one do you mean: Bedroom blind, Living room blind?",
        ),
        (
            "allume la lumière",
            Language::French,
            "Lequel voulez-vous dire : Ceiling lamp, Counter, Hallway light, Reading lamp ?",
        ),
    ] {
        assert_eq!(
            understand(text, language, &view),
            Some(Understood::Ask(expected.into())),
            "{text}"
        );
    }
    let nothing = "Bathroom: I know of nothing there that can be switched like this.";
    assert_eq!(
        understand("turn on the bathroom", Language::English, &view),
        Some(Understood::Tell(nothing.into()))
    );
}

#[test]
fn questions_are_answered() {
    for (registry, language, text, expected) in [
        (
            english(),
            Language::English,
            "is the garage door closed?",
            "Yes, Garage door is closed.",
        ),
        (
            english(),
            Language::English,
            "Is the garage door open",
            "No, Garage door is closed.",
        ),
        (
            english(),
            Language::English,
            "is the front door locked?",
            "Yes, Front door is locked.",
        ),
        (
            english(),
            Language::English,
            "is the back door locked?",
            "I do not know: I have no state of Back door at the moment.",
        ),
        (
            english(),
            Language::English,
            "are the kitchen lights on?",
            "1 of 2 are on: Ceiling lamp.",
        ),
        (
            english(),
            Language::English,
            "are the lights on in the kitchen",
            "1 of 2 are on: Ceiling lamp.",
        ),
        (
            english(),
            Language::English,
            "is the bathroom window open?",
            "Yes, Bathroom window is open.",
        ),
        (
            english(),
            Language::English,
            "what is the temperature in the kitchen?",
            "Kitchen temperature: 19.5 °C.",
        ),
        (
            english(),
            Language::English,
            "what's the temperature in the living room",
            "Thermostat: 20.5 °C.",
        ),
        (
            english(),
            Language::English,
            "how warm is it in the kitchen?",
            "Kitchen temperature: 19.5 °C.",
        ),
        (
            english(),
            Language::English,
            "what is the temperature in the garage",
            "Garage: I know of no thermometer there.",
        ),
        (
            french(),
            Language::French,
            "est-ce que la porte de garage est fermée ?",
            "Non, Porte de garage : ouvert.",
        ),
        (
            french(),
            Language::French,
            "la porte de garage est-elle ouverte ?",
            "Oui, Porte de garage : ouvert.",
        ),
        (
            french(),
            Language::French,
            "la porte d'entrée est-elle verrouillée ?",
            "Non, Porte d'entrée : déverrouillé.",
        ),
        (
            french(),
            Language::French,
            "quelle est la température dans la salle de bain ?",
            "Thermomètre: 22,5 °C.",
        ),
        (
            french(),
            Language::French,
            "combien fait-il dans la salle de bains ?",
            "Thermomètre: 22,5 °C.",
        ),
    ] {
        assert_eq!(
            understand(text, language, &registry.view(NOW)),
            Some(Understood::Tell(expected.into())),
            "{text}"
        );
    }
}

#[test]
fn confirmations_name_what_was_done() {
    for (registry, language, text, expected) in [
        (
            english(),
            Language::English,
            "turn off the kitchen lights",
            "Kitchen: turning off Ceiling lamp, Counter.",
        ),
        (
            english(),
            Language::English,
            "turn on the reading lamp",
            "Turning on Reading lamp.",
        ),
        (
            english(),
            Language::English,
            "set the thermostat to 21.5 degrees",
            "Setting Thermostat to 21.5 °C.",
        ),
        (
            french(),
            Language::French,
            "éteins la cuisine",
            "Cuisine : j'éteins Plafonnier.",
        ),
        (
            french(),
            Language::French,
            "mets le chauffage à 19,5 degrés",
            "Je règle Radiateur à 19,5 °C.",
        ),
        (
            french(),
            Language::French,
            "mets la lampe de chevet en rouge",
            "Je règle Lampe de chevet en rouge.",
        ),
    ] {
        let Some(Understood::Do(commands)) = understand(text, language, &registry.view(NOW)) else {
            panic!("{text}")
        };
        assert_eq!(commands[0].confirmation, expected);
    }
}

#[test]
fn names_that_people_gave() {
    let mut registry = english();
    let said = Assignment {
        name: Some("Sunrise".into()),
        aliases: vec!["the big one".into()],
        ..Assignment::default()
    };
    registry
        .assign(Thing::Entity("light.reading_lamp".into()), said, NOW)
        .expect("it exists");
    for text in [
        "turn on the sunrise",
        "turn on the big one",
        "turn on the reading lamp",
    ] {
        check(
            &registry,
            Language::English,
            text,
            &["light.turn_on reading_lamp"],
        );
    }
}

#[test]
fn what_cannot_be_reached_is_said() {
    let mut registry = registry();
    add(&mut registry, "light", "Shed light", "Shed", r#","avty_t":"av""#);
    let out = understand("turn on the shed light", Language::English, &registry.view(NOW));
    assert_eq!(
        out,
        Some(Understood::Tell(
            "I cannot reach Shed light at the moment.".into()
        ))
    );
}

#[test]
fn what_is_about_something_else_is_left() {
    let registry = english();
    for text in [
        "hello",
        "what time is it?",
        "open the pod bay doors",
        "turn",
        "turn on",
        "is it raining?",
        "tell me a joke",
        "set",
        "",
        "…",
        "quelle heure est-il ?",
        "close",
        "what is 2 + 2",
        "turn on the flux capacitor",
        "start the meeting about open plans",
    ] {
        let out = understand(text, Language::English, &registry.view(NOW));
        assert!(!matches!(out, Some(Understood::Do(_))), "{text}: {out:?}");
    }
    assert_eq!(
        understand("what time is it?", Language::English, &registry.view(NOW)),
        None
    );
    assert_eq!(understand("hello", Language::English, &registry.view(NOW)), None);
}

fn zone() -> TimeZone {
    home().time_zone.clone()
}

/// When it is due in Paris, and what it is about.
fn reminded(text: &str) -> Option<(String, String)> {
    let reminder = remind(text, Language::English, NOW, &zone())?;
    let at = Timestamp::from_millisecond(reminder.at_ms(NOW))
        .expect("in range")
        .to_zoned(zone());
    Some((at.strftime("%m-%d %H:%M:%S").to_string(), reminder.text))
}

#[test]
fn reminders_after_a_while() {
    for (text, due, about) in [
        (
            "remind me in ten minutes to call mum",
            "03-01 13:15:00",
            "call mum",
        ),
        (
            "Remind me to take the cake out in 25 minutes, please",
            "03-01 13:30:00",
            "take the cake out",
        ),
        ("remind me in half an hour", "03-01 13:35:00", ""),
        (
            "remind me in an hour and a half about the washing",
            "03-01 14:35:00",
            "the washing",
        ),
        (
            "remind me in 2 hours 30 minutes to leave",
            "03-01 15:35:00",
            "leave",
        ),
        ("remind me in a week to pay", "03-08 13:05:00", "pay"),
        ("in five minutes remind me to drink", "03-01 13:10:00", "drink"),
        ("set a timer for 90 seconds", "03-01 13:06:30", ""),
        ("set a 5 minute timer", "03-01 13:10:00", ""),
        ("timer 10 min", "03-01 13:15:00", ""),
        (
            "rappelle-moi dans dix minutes d'appeler Élodie",
            "03-01 13:15:00",
            "appeler Élodie",
        ),
        (
            "rappelle-moi de sortir les poubelles dans une demi-heure",
            "03-01 13:35:00",
            "sortir les poubelles",
        ),
        (
            "rappelle-moi dans une heure et demie de partir",
            "03-01 14:35:00",
            "partir",
        ),
        ("mets un minuteur de 3 minutes", "03-01 13:08:00", ""),
        (
            "rappelle-moi dans un quart d'heure que le thé est prêt",
            "03-01 13:20:00",
            "le thé est prêt",
        ),
        ("rappelle-moi dans vingt-cinq minutes", "03-01 13:30:00", ""),
        (
            "rappelle-moi dans 2h d'acheter du pain",
            "03-01 15:05:00",
            "acheter du pain",
        ),
    ] {
        assert_eq!(reminded(text), Some((due.to_owned(), about.to_owned())), "{text}");
    }
}

#[test]
fn reminders_at_a_time() {
    // It is Sunday, 1 March, 13:05.
    for (text, due, about) in [
        (
            "remind me at 7:30 to feed the cat",
            "03-01 19:30:00",
            "feed the cat",
        ),
        (
            "remind me at 07:30 to feed the cat",
            "03-02 07:30:00",
            "feed the cat",
        ),
        (
            "remind me at 7:30 am to feed the cat",
            "03-02 07:30:00",
            "feed the cat",
        ),
        ("remind me at 8pm", "03-01 20:00:00", ""),
        ("remind me tomorrow at 8 to call", "03-02 08:00:00", "call"),
        ("remind me to call tomorrow at 8", "03-02 08:00:00", "call"),
        ("remind me at 8 tomorrow evening", "03-02 20:00:00", ""),
        ("remind me tomorrow morning to run", "03-02 09:00:00", "run"),
        ("remind me on friday to shop", "03-06 09:00:00", "shop"),
        ("remind me on sunday at noon", "03-08 12:00:00", ""),
        ("remind me tonight to lock up", "03-01 19:00:00", "lock up"),
        ("remind me at midnight", "03-02 00:00:00", ""),
        ("wake me up at 7", "03-01 19:00:00", ""),
        (
            "remind me at 14:00 to buy 2 apples",
            "03-01 14:00:00",
            "buy 2 apples",
        ),
        (
            "rappelle-moi à 7h30 de nourrir le chat",
            "03-02 07:30:00",
            "nourrir le chat",
        ),
        (
            "rappelle-moi demain à 8 heures d'appeler maman",
            "03-02 08:00:00",
            "appeler maman",
        ),
        ("rappelle-moi ce soir à 8 heures", "03-01 20:00:00", ""),
        ("rappelle-moi ce soir de fermer", "03-01 19:00:00", "fermer"),
        (
            "rappelle-moi à vingt heures trente de dormir",
            "03-01 20:30:00",
            "dormir",
        ),
        ("rappelle-moi lundi à 9h et demie", "03-02 09:30:00", ""),
        (
            "rappelle-moi après-demain à midi de manger",
            "03-03 12:00:00",
            "manger",
        ),
        ("réveille-moi demain à 6h45", "03-02 06:45:00", ""),
    ] {
        assert_eq!(reminded(text), Some((due.to_owned(), about.to_owned())), "{text}");
    }
}

#[test]
fn what_is_no_reminder() {
    for text in [
        "remind me",
        "remind me to call",
        "remind me in",
        "remind me in ten",
        "remind me at 25:00",
        "remind me at 13:75",
        "in ten minutes",
        "remind me in 0 minutes",
        "remind me in 99999999999 weeks",
        "remind me today at 8:00",
        "what time is it",
        "rappelle",
        "timer",
        "",
    ] {
        assert_eq!(reminded(text), None, "{text}");
    }
}

#[test]
fn times_that_do_not_exist_or_exist_twice() {
    // Summer time begins on 29 March at 2:00, and ends on 25 October at 3:00.
    let at = |text: &str, now: &str| {
        let now = now.parse::<Timestamp>().expect("a time").as_millisecond();
        let reminder = remind(text, Language::English, now, &zone()).expect("it is one");
        Timestamp::from_millisecond(reminder.at_ms(now))
            .expect("in range")
            .to_string()
    };
    assert_eq!(
        at("remind me at 02:30", "2026-03-28T20:00:00Z"),
        "2026-03-29T01:30:00Z"
    );
    assert_eq!(
        at("remind me at 02:30", "2026-10-24T20:00:00Z"),
        "2026-10-25T00:30:00Z"
    );
}

#[test]
fn reminders_are_confirmed_with_the_time() {
    for (text, language, expected) in [
        (
            "remind me in ten minutes to call mum",
            Language::English,
            "I will remind you at 13:15: call mum.",
        ),
        (
            "remind me tomorrow at 8",
            Language::English,
            "I will remind you tomorrow at 08:00.",
        ),
        (
            "remind me on friday at 9",
            Language::English,
            "I will remind you on 2026-03-06 at 09:00.",
        ),
        (
            "rappelle-moi demain à 8h de courir",
            Language::French,
            "Je vous le rappellerai demain à 08 h 00 : courir.",
        ),
        (
            "set a timer for 90 seconds",
            Language::English,
            "I will remind you at 13:06:30.",
        ),
    ] {
        assert_eq!(
            remind(text, language, NOW, &zone())
                .map(|one| one.confirmation)
                .as_deref(),
            Some(expected),
            "{text}"
        );
    }
}
