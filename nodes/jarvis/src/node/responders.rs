//! The language models' settings as the session kind takes them, keys read from where they are kept.

use jarvis_config::Settings;
use jarvis_session::settings::{ApiKey, Deadlines, EndpointSettings, Protocol, ResponderSettings};

use crate::fail::Failure;

/// The responders' settings, keys read from where they are kept.
pub(super) fn responders(settings: &Settings) -> Result<ResponderSettings, Failure> {
    let defaults = ResponderSettings::default();
    let mut endpoints = Vec::new();
    for (index, responder) in settings.responders.iter().enumerate() {
        let deadlines = Deadlines {
            first_token: responder.first_token_timeout,
            whole: responder.total_timeout,
            ..Deadlines::default()
        };
        endpoints.push(EndpointSettings {
            name: format!("{}-{index}", responder.model),
            protocol: match responder.kind {
                jarvis_config::ResponderKind::OpenAi => Protocol::OpenAi,
                jarvis_config::ResponderKind::Ollama => Protocol::Ollama,
            },
            url: responder.url.clone(),
            model: responder.model.clone(),
            api_key: api_key(index, responder)?,
            deadlines,
        });
    }
    Ok(ResponderSettings {
        endpoints,
        history_entries: settings.session.history_messages as usize,
        system_prompt: settings
            .session
            .system_prompt
            .clone()
            .unwrap_or(defaults.system_prompt),
        time_zone: settings.session_time_zone().map(str::to_owned),
    })
}

fn api_key(index: usize, responder: &jarvis_config::ResponderSettings) -> Result<Option<ApiKey>, Failure> {
    let what = format!("the key of responder[{index}] cannot be read");
    if let Some(path) = &responder.api_key_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(what, format!("{path}: {error}")).next("correct api_key_file"))?;
        return Ok(Some(ApiKey::new(text.trim())));
    }
    if let Some(name) = &responder.api_key_env {
        let text = std::env::var(name).map_err(|error| {
            Failure::new(what, format!("{name}: {error}")).next("set it, or correct api_key_env")
        })?;
        return Ok(Some(ApiKey::new(text.trim())));
    }
    Ok(responder.api_key.as_ref().map(|key| ApiKey::new(key.expose())))
}
