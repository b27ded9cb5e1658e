//! Which responder answers: those that do what is asked for, each unless it is about something else; the built-in one where it is
//! certain, else the models in their order, and the built-in one again where none of them can be reached.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::builtin::{BuiltIn, write};
use super::http::{Model, tls_config};
use super::{DeltaSink, Finished, Prompt, Responder, ResponderError};
use crate::logic::breaker::Breaker;
use crate::logic::intents::{understand, without_model};
use crate::metrics;
use crate::settings::ResponderSettings;

/// An endpoint's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("responder {name:?}: {why}")]
pub struct SetUpError {
    /// Which endpoint.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// Answers by the first responder that can.
pub struct Chain {
    first: Vec<Arc<dyn Responder>>,
    links: Vec<Link>,
    /// Breakers count milliseconds from here.
    started: Instant,
}

struct Link {
    responder: Arc<dyn Responder>,
    breaker: Mutex<Breaker>,
}

impl Chain {
    /// The chain of the settings' endpoints.
    ///
    /// # Errors
    /// [`SetUpError`], naming the endpoint.
    pub fn from_settings(settings: &ResponderSettings) -> Result<Self, SetUpError> {
        if settings.endpoints.is_empty() {
            return Ok(Self::new(Vec::new()));
        }
        let failed = |name: &str, why| SetUpError {
            name: name.to_owned(),
            why,
        };
        let tls = tls_config(&settings.endpoints).map_err(|why| failed("tls", why))?;
        let models = settings.endpoints.iter().map(|endpoint| {
            Model::new(endpoint.clone(), settings.system_prompt.clone(), &tls)
                .map(|model| Arc::new(model) as Arc<dyn Responder>)
                .map_err(|why| failed(&endpoint.name, why))
        });
        Ok(Self::new(models.collect::<Result<_, _>>()?))
    }

    /// A chain of these responders, with the built-in one around them.
    pub fn new(responders: Vec<Arc<dyn Responder>>) -> Self {
        let links = responders
            .into_iter()
            .map(|responder| Link {
                responder,
                breaker: Mutex::default(),
            })
            .collect();
        Self {
            first: Vec::new(),
            links,
            started: Instant::now(),
        }
    }

    /// Asks `responder` before all others but those that were given here before it. It answers, or gives
    /// [`ResponderError::Passed`] before it does anything.
    #[must_use]
    pub fn asking_first(mut self, responder: Arc<dyn Responder>) -> Self {
        self.first.push(responder);
        self
    }

    async fn by_first(
        &self,
        prompt: &Prompt,
        sink: &mut DeltaSink,
    ) -> Option<Result<Finished, ResponderError>> {
        for responder in &self.first {
            let began = Instant::now();
            let result = responder.respond(prompt, sink).await;
            let outcome = match &result {
                Err(ResponderError::Passed) => continue,
                Err(ResponderError::Unwanted) => return Some(result),
                Err(error) => error.label(),
                Ok(_) => "ok",
            };
            metrics::generated(responder.name(), outcome, began.elapsed());
            match result {
                Ok(finished) => return Some(Ok(finished)),
                Err(error) => {
                    tracing::warn!(responder = responder.name(), %error, "no reply; the next responder is tried");
                    if sink.restart().await.is_err() {
                        return Some(Err(ResponderError::Unwanted));
                    }
                }
            }
        }
        None
    }

    async fn by_models(
        &self,
        prompt: &Prompt,
        sink: &mut DeltaSink,
    ) -> Option<Result<Finished, ResponderError>> {
        for link in &self.links {
            if !link.breaker().allows(self.now_ms()) {
                continue;
            }
            if sink.restart().await.is_err() {
                return Some(Err(ResponderError::Unwanted));
            }
            let began = Instant::now();
            let result = link.responder.respond(prompt, sink).await;
            let outcome = result.as_ref().map_or_else(ResponderError::label, |_| "ok");
            metrics::generated(link.responder.name(), outcome, began.elapsed());
            match result {
                Ok(finished) => {
                    link.breaker().succeeded();
                    return Some(Ok(finished));
                }
                Err(ResponderError::Unwanted) => return Some(Err(ResponderError::Unwanted)),
                Err(error) => {
                    tracing::warn!(responder = link.responder.name(), %error, "no reply; the next responder is tried");
                    link.breaker().failed(self.now_ms(), asked_pause_ms(&error));
                }
            }
        }
        None
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Link {
    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Responder for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        if let Some(result) = self.by_first(prompt, sink).await {
            return result;
        }
        let began = Instant::now();
        let own = understand(&prompt.text, &prompt.facts);
        let mut text = own.text;
        if !self.links.is_empty() && !own.certain {
            if let Some(result) = self.by_models(prompt, sink).await {
                return result;
            }
            text = without_model(&prompt.text, &text);
            sink.restart().await.map_err(|_| ResponderError::Unwanted)?;
        }
        write(sink, &text).await?;
        metrics::generated(BuiltIn.name(), "ok", began.elapsed());
        Ok(Finished {
            responder: BuiltIn.name().to_owned(),
        })
    }
}

fn asked_pause_ms(error: &ResponderError) -> Option<u64> {
    match error {
        ResponderError::Status { retry_after, .. } => retry_after.map(|pause| pause.as_millis() as u64),
        _ => None,
    }
}
