use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use tollway_core::{Ask, Caller, Hook, Prompt, Target};
use tollway_cost::Record;
use tollway_dialect::{RequestBody, tokens};

use super::{
    aliases::Aliases,
    calibration::{Calibration, Key},
};

/// Writes the best figure for a prompt into its [`Ask`], for all who reserve, price or tell by it:
/// once for the model that is asked, and again at each attempt for the one that is aimed at.
///
/// It learns from every reply's record. Clones share what is learnt.
#[derive(Clone, Debug)]
pub(super) struct InputTokens {
    aliases: Aliases,
    calibration: Arc<Mutex<Calibration>>,
}

impl InputTokens {
    pub(super) fn new(aliases: Aliases) -> Self {
        Self { aliases, calibration: Arc::default() }
    }

    /// With other aliases, and all that was learnt.
    pub(super) fn under(&self, aliases: Aliases) -> Self {
        Self { aliases, calibration: self.calibration.clone() }
    }

    /// For the asked model, whoever will serve it.
    pub(super) fn asked<B>(&self, mut request: Request<RequestBody<B>>) -> Request<RequestBody<B>> {
        let (parts, body) = (request.extensions(), request.body());
        let Some(ask) = parts.get::<Ask>().filter(|ask| ask.prompt != Prompt::default()) else {
            return request;
        };
        let model = self.resolved(ask);
        let mut prompt = ask.prompt;
        prompt.exact = exact(ask, model, body);
        let tokens = self.tokens(parts.get(), (None, model), &prompt, prompt.exact);
        self.write(&mut request, prompt, tokens);
        request
    }

    /// For the model that this attempt aims at.
    pub(super) fn aimed<B>(&self, mut request: Request<B>) -> Request<B> {
        let parts = request.extensions();
        let (Some(ask), Some(target)) = (parts.get::<Ask>(), parts.get::<Target>()) else {
            return request;
        };
        let prompt = ask.prompt;
        if prompt == Prompt::default() {
            return request;
        }
        let asked = self.resolved(ask);
        let model = target.model().map(|model| &**model).or(asked);
        let exact = prompt.exact.filter(|_| alike(asked, model));
        let tokens = self.tokens(parts.get(), (Some(target.provider()), model), &prompt, exact);
        self.write(&mut request, prompt, tokens);
        request
    }

    fn tokens(
        &self,
        caller: Option<&Caller>,
        (provider, model): (Option<&str>, Option<&str>),
        prompt: &Prompt,
        exact: Option<u64>,
    ) -> u64 {
        let text = exact.unwrap_or_else(|| {
            let key = Key::new(provider, model);
            self.learnt().tokens(user(caller), key, prompt.text)
        });
        text.saturating_add(media(prompt, model))
    }

    fn write<B>(&self, request: &mut Request<B>, prompt: Prompt, tokens: u64) {
        if let Some(ask) = request.extensions_mut().get_mut::<Ask>() {
            ask.prompt = prompt;
            ask.input_tokens = tokens;
        }
    }

    fn resolved<'a>(&'a self, ask: &'a Ask) -> Option<&'a str> {
        ask.model.as_ref().map(|model| &**self.aliases.resolve(model))
    }

    fn learnt(&self) -> MutexGuard<'_, Calibration> {
        self.calibration.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reply's record says of a prompt's text.
impl Hook<Record> for InputTokens {
    fn on(&self, record: &Record) {
        let (Some(usage), Some(target)) = (&record.usage, &record.target) else { return };
        let cached = usage.cached.saturating_add(usage.cache_write);
        let odd =
            usage.input_audio > 0 || cached.saturating_add(usage.cache_write_1h) > usage.input;
        if usage.is_estimate() || odd || !record.ask.operation.uses_tokens() {
            return;
        }
        let asked = self.resolved(&record.ask);
        let model = target.model().map(|model| &**model).or(asked);
        // Where most of it is media, nothing is known of the text.
        let media = media(&record.ask.prompt, model);
        if media > usage.input / 2 {
            return;
        }
        let (text, reported) = (record.ask.prompt.text, usage.input.saturating_sub(media));
        let user = user(Some(&record.caller));
        let (served, asked) = (Key::new(Some(target.provider()), model), Key::new(None, asked));
        let mut learnt = self.learnt();
        learnt.learn(user, served, text, reported);
        learnt.learn(user, asked, text, reported);
    }
}

fn user(caller: Option<&Caller>) -> Option<&str> {
    caller?.user.as_deref()
}

/// Few prompts hold any; for the others nobody has to ask whose model it is.
fn media(prompt: &Prompt, model: Option<&str>) -> u64 {
    if prompt.media == [0; 3] {
        return 0;
    }
    prompt.media(tokens::family(model.unwrap_or_default()))
}

/// The text counted by the asked model's own vocabulary.
#[cfg(feature = "exact-tokens")]
fn exact<B>(ask: &Ask, model: Option<&str>, body: &RequestBody<B>) -> Option<u64> {
    tokens::Vocabulary::of(model?)?.count(ask, body.as_bytes()?)
}

#[cfg(not(feature = "exact-tokens"))]
fn exact<B>(_: &Ask, _: Option<&str>, _: &RequestBody<B>) -> Option<u64> {
    None
}

/// Whether both models have the same vocabulary.
#[cfg(feature = "exact-tokens")]
fn alike(asked: Option<&str>, served: Option<&str>) -> bool {
    let of = |model: Option<&str>| tokens::Vocabulary::of(model?);
    of(asked) == of(served)
}

#[cfg(not(feature = "exact-tokens"))]
fn alike(_: Option<&str>, _: Option<&str>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::Extensions;
    use tollway_core::{Ending, Operation, Usage};

    use super::*;
    use crate::policy::{self, Alias, Env, Policy};

    fn input_tokens() -> InputTokens {
        let env = Env::new(|_| None);
        let mut policy = Policy::parse("default.yaml", policy::DEFAULT, &env).unwrap();
        policy.aliases = vec![Alias { name: "quick".into(), model: "claude-haiku-4-5".into() }];
        InputTokens::new(Aliases::new(&policy))
    }

    fn ask(model: &str, text: u64) -> Ask {
        let mut prompt = Prompt::new(text);
        prompt.media = [765, 1399, 1032];
        Ask::new(Operation::ChatCompletions).with_model(model).with_prompt(prompt)
    }

    fn target(provider: &str, model: &str) -> Target {
        Target::new(provider, "main", Some(model.into()))
    }

    fn record(ask: Ask, target: Target, usage: Usage) -> Record {
        let mut record = Record::new(SystemTime::UNIX_EPOCH, Ending::Complete);
        record.ask = ask;
        record.target = Some(target);
        record.usage = Some(usage);
        record
    }

    fn figure(tokens: &InputTokens, ask: Ask, target: Option<Target>) -> u64 {
        let mut request = Request::new(RequestBody::<()>::buffered(""));
        *request.extensions_mut() = Extensions::new();
        request.extensions_mut().insert(ask);
        let mut request = tokens.asked(request);
        if let Some(target) = target {
            request.extensions_mut().insert(target);
            request = tokens.aimed(request);
        }
        request.extensions().get::<Ask>().unwrap().input_tokens
    }

    #[test]
    fn media_count_by_the_family_that_is_asked_and_then_aimed_at() {
        let tokens = input_tokens();
        assert_eq!(figure(&tokens, ask("gpt-4o", 100), None), 865);
        assert_eq!(figure(&tokens, ask("quick", 100), None), 1499);
        let gemini = Some(target("g", "gemini-2.5-flash"));
        assert_eq!(figure(&tokens, ask("gpt-4o", 100), gemini), 1132);
        assert_eq!(figure(&tokens, Ask::new(Operation::Files), None), 0);
    }

    #[test]
    fn text_counts_as_replies_taught() {
        let tokens = input_tokens();
        let served = target("a", "claude-haiku-4-5-20251001");
        for _ in 0..200 {
            let usage = Usage::new(2 * 4000 + 1399, 5);
            tokens.on(&record(ask("quick", 4000), served.clone(), usage));
        }
        let near = |got: u64| got.abs_diff(2000 + 1399) < 100;
        assert!(near(figure(&tokens, ask("quick", 1000), None)), "by what the alias stands for");
        assert!(near(figure(&tokens, ask("claude-haiku-4-5", 1000), None)));
        assert!(near(figure(&tokens, ask("other", 1000), Some(served))));
        let elsewhere = Some(target("b", "claude-opus-4-5"));
        assert_eq!(figure(&tokens, ask("quick", 1000), elsewhere), 1000 + 1399);
    }

    #[test]
    fn estimates_odd_reports_and_pictures_teach_nothing() {
        let tokens = input_tokens();
        let served = target("a", "gpt-4o");
        let mut cached = Usage::new(6000, 5);
        cached.cached = 7000;
        let mut spoken = Usage::new(6000, 5);
        spoken.input_audio = 1;
        for usage in [Usage::new(6000, 5).estimated(), cached, spoken] {
            tokens.on(&record(ask("gpt-4o", 4000), served.clone(), usage));
        }
        tokens.on(&record(ask("gpt-4o", 400), served.clone(), Usage::new(1500, 5)));
        assert_eq!(figure(&tokens, ask("gpt-4o", 1000), Some(served)), 1765);
    }
}
