//! Whether a trigger leads to a run, and the run's beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::limits::weight_of_map;
use super::{Check, Context, Env, RUN_FORMAT, Run, RunId, RunState, Trace, TraceStep, What, render};
use crate::program::Program;

/// What a run begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// `trigger`, `this` and the automation's own.
    pub variables: Map<String, Value>,
    /// Its first entry.
    pub trace: TraceStep,
}

/// Why a trigger led to no run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOver {
    /// The automation's conditions do not hold; which did not, or could not be looked at, with the reason.
    Conditions {
        /// Its place in the list, from 0.
        index: usize,
        /// What could not be looked at.
        error: Option<String>,
    },
    /// A variable could not be had.
    Variables {
        /// Which, and why.
        error: String,
    },
}

impl Run {
    /// Decides whether a trigger leads to a run: makes the automation's variables, then looks at its conditions.
    ///
    /// `trigger` is what templates see under that name; its `idx` says which of the automation's triggers it is. `late_ms` says
    /// by how much it came late, if nobody looked when it fell due. Who starts an automation by hand may skip its conditions.
    ///
    /// # Errors
    /// Why not.
    pub fn decide(
        program: &Program,
        trigger: Value,
        this: Value,
        late_ms: Option<u64>,
        skip_conditions: bool,
        env: &Env<'_>,
    ) -> Result<Begun, PassedOver> {
        Self::decide_given(program, trigger, this, Map::new(), late_ms, skip_conditions, env)
    }

    /// The same with variables that whoever starts it gives: the automation's own of the same names do not count then.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_given(
        program: &Program,
        trigger: Value,
        this: Value,
        given: Map<String, Value>,
        late_ms: Option<u64>,
        skip_conditions: bool,
        env: &Env<'_>,
    ) -> Result<Begun, PassedOver> {
        let automation = program.automation();
        let id = trigger.get("id").map(super::render::text_of).unwrap_or_default();
        let index = trigger
            .get("idx")
            .map(super::render::text_of)
            .and_then(|index| index.parse::<usize>().ok());
        let own = index.and_then(|index| automation.triggers.get(index));

        let mut variables = given;
        variables.insert("this".into(), this);
        variables.insert("trigger".into(), trigger);
        // A variable of the automation takes the place of a trigger variable of its name.
        let named = |name: &String| automation.variables.iter().find(|(own, _)| own == name);
        let of_triggers = automation.trigger_variables.iter();
        let of_triggers = of_triggers.map(|known| named(&known.0).unwrap_or(known));
        let of_own = own.into_iter().flat_map(|own| &own.variables);
        for (name, data) in of_own.chain(of_triggers).chain(&automation.variables) {
            // What the trigger brought is not overridden.
            if variables.contains_key(name) {
                continue;
            }
            let value = render(data, env.templates, env.facts, &variables).map_err(|error| {
                PassedOver::Variables {
                    error: format!("{name}: {error}"),
                }
            })?;
            variables.insert(name.clone(), value);
        }
        if weight_of_map(&variables) > env.limits.variables_bytes {
            return Err(PassedOver::Variables {
                error: format!(
                    "all together are larger than {} bytes",
                    env.limits.variables_bytes
                ),
            });
        }

        if !skip_conditions {
            let check = Check {
                facts: env.facts,
                templates: env.templates,
                variables: &variables,
            };
            for (index, condition) in automation.conditions.iter().enumerate() {
                match check.all(std::slice::from_ref(condition)) {
                    Ok(true) => {}
                    Ok(false) => return Err(PassedOver::Conditions { index, error: None }),
                    Err(error) => {
                        return Err(PassedOver::Conditions {
                            index,
                            error: Some(error.to_string()),
                        });
                    }
                }
            }
        }
        Ok(Begun {
            variables,
            trace: TraceStep {
                path: index.map_or_else(|| String::from("trigger"), |index| format!("trigger/{index}")),
                at_ms: env.now_ms(),
                node: env.node.to_owned(),
                what: What::Triggered { trigger: id, late_ms },
            },
        })
    }

    /// A run that has not begun yet: it waits for [`Input::Begin`](super::Input::Begin).
    pub fn new(id: RunId, program: &Program, begun: Begun, context: Context) -> Self {
        let started_ms = begun.trace.at_ms;
        let mut trace = Trace::default();
        trace.steps.push_back(begun.trace);
        Self {
            format: RUN_FORMAT,
            id,
            automation: program.automation().id.clone(),
            revision: program.revision().clone(),
            context,
            started_ms,
            state: RunState::Queued,
            variables: begun.variables,
            threads: BTreeMap::new(),
            intents: BTreeMap::new(),
            next_intent: 1,
            next_thread: 0,
            next_wait: 1,
            steps: 0,
            steps_since_wait: 0,
            trace,
        }
    }
}

impl<'e> Env<'e> {
    /// What conditions need, with these variables.
    pub(super) fn check<'c>(&'c self, variables: &'c Map<String, Value>) -> Check<'c>
    where
        'e: 'c,
    {
        let facts: &Arc<_> = self.facts;
        Check {
            facts,
            templates: self.templates,
            variables,
        }
    }
}
