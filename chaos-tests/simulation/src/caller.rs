//! Who loads automations and tells them of events, over HTTP. An event whose outcome is unknown is not sent again: it came once,
//! or not at all.

use std::sync::Arc;
use std::time::Duration;

use jarvis_bare::rules::{ANSWER, Rule};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::chat::http;
use crate::house;
use crate::rng::Rng;
use crate::world::{Phase, World};

/// How long loading may take before it is tried elsewhere.
const LOAD_TIMEOUT: Duration = Duration::from_secs(8);
/// How long an event may take.
const EVENT_TIMEOUT: Duration = Duration::from_secs(6);
/// Between two tries, and two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a single run may hold up the last event of its automation, beyond the delay.
const HELD_UP: Duration = Duration::from_secs(2);
/// One event of [`Rule::Waits`] in so many is answered.
const ANSWERED_PPM: u64 = 600_000;

/// Loads the automations, at a time that the seed chooses, until that is known to be done.
pub async fn load(world: Arc<World>) {
    let rng = Rng::new(world.seed, "loader");
    sleep(Duration::from_millis(rng.range(0, 4_000))).await;
    let session = loop {
        match world.session(0) {
            Some(session) => break session,
            None => sleep(PAUSE).await,
        }
    };
    let files = json!({"files": [{"name": "house.yaml", "text": world.house.text(&session)}]});
    loop {
        let machine = rng.pick(&world.machines);
        let answer = http(
            machine.ip,
            "POST",
            "/api/v1/automations",
            Some(&files),
            LOAD_TIMEOUT,
        )
        .await;
        match answer {
            Ok((200, report)) => {
                world
                    .trace
                    .event(format_args!("automations are loaded: {report}"));
                let listed = |name: &str| report[name].as_array().map_or(0, Vec::len);
                let there =
                    listed("added") + listed("changed") + report["unchanged"].as_u64().unwrap_or(0) as usize;
                if there != world.house.len() || listed("problems") + listed("warnings") > 0 {
                    world.oracle.report("automations load", report.to_string());
                }
                return world.house_is_loaded();
            }
            // Not yet: the cluster comes into being, or nobody can commit.
            Ok((404 | 503, _)) | Err(_) => {}
            Ok((400, problem)) if problem.to_string().contains("level") => {}
            Ok((status, problem)) => {
                let what = format!("{status} {problem}");
                return world.oracle.report("automations load", what);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Tells the automation of a rule of events, until one in the calm is known to have come.
pub async fn call(world: Arc<World>, rule: Rule) {
    let rng = Rng::new(world.seed, &format!("caller {}", rule.name()));
    while !world.is_house_loaded() {
        sleep(PAUSE).await;
    }
    let mut n = 0;
    loop {
        n += 1;
        let calm = world.phase() == Phase::Calm;
        let number = rng.range(0, world.size.sessions as u64) as usize;
        if let Some(session) = world.session(number) {
            let token = format!("{}-{n}", rule.name());
            let ms = house::delay_ms(rule, &rng, calm);
            let data = json!({"token": token, "session": session, "ms": ms});
            let came = tell(&world, &rng, rule.name(), &data).await;
            if rule == Rule::Waits && rng.chance_ppm(ANSWERED_PPM) {
                sleep(Duration::from_millis(rng.range(0, ms * 3 / 2))).await;
                tell(&world, &rng, ANSWER, &json!({"token": token})).await;
            }
            let is_enough = match rule {
                // An earlier run may stand in its way.
                Rule::Single => calm && came && is_told(&world, &token, ms).await,
                _ => calm && came,
            };
            if is_enough {
                world
                    .trace
                    .event(format_args!("caller {} is content", rule.name()));
                return world.one_is_content();
            }
        }
        sleep(house::pause(rule, &rng)).await;
    }
}

async fn is_told(world: &World, token: &str, ms: u64) -> bool {
    let give_up = Instant::now() + Duration::from_millis(ms) + HELD_UP;
    while Instant::now() < give_up {
        if world.oracle.is_told(token) {
            return true;
        }
        sleep(PAUSE).await;
    }
    false
}

/// Tells of an event, once. Whether it is known to have come.
async fn tell(world: &World, rng: &Rng, event: &str, data: &Value) -> bool {
    let machine = rng.pick(&world.machines);
    let path = format!("/api/v1/events/{event}");
    let answer = http(machine.ip, "POST", &path, Some(data), EVENT_TIMEOUT).await;
    let token = data["token"].as_str().unwrap_or_default();
    let how = match &answer {
        Ok((200, _)) => "came",
        Ok((400..500, _)) => "was refused",
        _ => "may have come",
    };
    world
        .trace
        .event(format_args!("event {event} {token} at {} {how}", machine.name));
    match answer {
        Ok((200, _)) => {
            world.oracle.event_came(event, token);
            true
        }
        Ok((400..500, _)) => {
            world.oracle.event_refused(event, token);
            false
        }
        _ => false,
    }
}
