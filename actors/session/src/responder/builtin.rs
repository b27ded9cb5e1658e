//! The responder that needs nothing: intents in English and French.

use async_trait::async_trait;

use super::{DeltaSink, Finished, Prompt, Responder, ResponderError, SinkError};
use crate::logic::intents::understand;

/// Answers by [`understand`].
#[derive(Debug, Default, Clone, Copy)]
pub struct BuiltIn;

#[async_trait]
impl Responder for BuiltIn {
    fn name(&self) -> &str {
        "built-in"
    }

    async fn respond(&self, prompt: &Prompt, sink: &mut DeltaSink) -> Result<Finished, ResponderError> {
        write(sink, &understand(&prompt.text, &prompt.facts).text).await?;
        Ok(Finished {
            responder: self.name().to_owned(),
        })
    }
}

/// Writes a whole reply.
pub(super) async fn write(sink: &mut DeltaSink, text: &str) -> Result<(), ResponderError> {
    match sink.push(text).await {
        Ok(()) | Err(SinkError::Full) => Ok(()),
        Err(SinkError::Closed) => Err(ResponderError::Unwanted),
    }
}
