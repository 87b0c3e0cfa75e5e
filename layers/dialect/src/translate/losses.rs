use std::borrow::Cow;

use http::HeaderValue;

use super::{Field, Form, Loss};
use crate::BadRequest;

/// As many are told as a header has room for, about.
const MOST_NAMES: usize = 100;

/// What is done about what can't be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Refuse a request that would lose its meaning; if not, that is told as well.
    pub refuse_meaning: bool,
    /// Refuse a request that would lose something harmless.
    pub refuse_harmless: bool,
}

impl Default for Strictness {
    fn default() -> Self {
        Self { refuse_meaning: true, refuse_harmless: false }
    }
}

/// The code of a refusal for what a target's API has no place for.
pub(super) const UNSUPPORTED: &str = "unsupported_parameter";

/// What got lost on the way from one form to another, in the client's words.
#[derive(Debug)]
pub(crate) struct Losses {
    client: Form,
    target: Form,
    strictness: Strictness,
    dropped: Vec<Cow<'static, str>>,
}

impl Losses {
    pub(crate) fn new(client: Form, target: Form, strictness: Strictness) -> Self {
        Self { client, target, strictness, dropped: Vec::new() }
    }

    pub(crate) fn client(&self) -> Form {
        self.client
    }

    /// Where a call's arguments stand, in the client's words.
    pub(crate) fn arguments(&self) -> &'static str {
        match self.client {
            Form::Chat => "messages.tool_calls.function.arguments",
            Form::Responses => "input.arguments",
            Form::Messages => "messages.content.input",
            Form::Generate => "contents.parts.functionCall.args",
        }
    }

    /// Notes that `field` can't be passed on, or refuses the request for it.
    pub(crate) fn lose(&mut self, field: Field) -> Result<(), BadRequest> {
        let name = field.name(self.client).unwrap_or("(unnamed)");
        self.lose_named(Cow::Borrowed(name), field.loss())
    }

    /// The same for what only the client's form knows.
    pub(crate) fn lose_named(
        &mut self,
        name: Cow<'static, str>,
        loss: Loss,
    ) -> Result<(), BadRequest> {
        let refuse = match loss {
            Loss::Meaning => self.strictness.refuse_meaning,
            Loss::Harmless => self.strictness.refuse_harmless,
        };
        if refuse {
            let (client, target) = (self.client, self.target);
            let why = if client == target {
                format!(
                    "`{name}` comes from another provider, and is refused by the one that this \
                     request goes to. Leave it out, or ask for a model of the provider that it \
                     comes from."
                )
            } else {
                format!(
                    "`{name}` has no counterpart in the API of the provider that this request \
                     goes to ({target}). Leave it out, or ask for a model whose provider speaks \
                     {client}."
                )
            };
            return Err(BadRequest::invalid(why).with_param(name).with_code(UNSUPPORTED));
        }
        // Names of unknown fields come in any number from outside.
        if self.dropped.len() < MOST_NAMES && !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
        Ok(())
    }

    /// What to tell the client in `x-tollway-dropped`; `None` if nothing is lost.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        const MOST: usize = 1024;
        if self.dropped.is_empty() {
            return None;
        }
        let mut names = self.dropped.join(", ");
        // Names of unknown fields are the client's own.
        names = names.replace(|letter| !(' '..='~').contains(&letter), "?");
        if names.len() > MOST || self.dropped.len() == MOST_NAMES {
            names.truncate(MOST);
            names.push_str(", ...");
        }
        HeaderValue::try_from(names).ok()
    }
}
