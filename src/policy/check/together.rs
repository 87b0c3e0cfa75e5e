//! What no section can tell by itself: sections that need each other, or contradict each other.

use std::sync::Arc;

use super::{Check, providers::Declared, strategies::strategies};
use crate::policy::{
    Auth, Callers, Endpoint, Glob, Provider, Route, Scope, Source,
    read::{At, OneOrMany},
    registry::{Model, Registry},
    values::{ReserveName, Text},
    written::{KeyWritten, LimitWritten, PolicyWritten, RouteWritten, StrategyWritten},
};

/// Headers that carry a credential. A policy may set one itself instead of an `api_key`.
pub(super) const CREDENTIALS: [&str; 4] =
    ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// The sections that are looked at together.
pub(super) struct Sections<'s> {
    pub(super) written: &'s PolicyWritten,
    pub(super) callers: &'s Callers,
    pub(super) providers: &'s [Declared],
    pub(super) routes: &'s [Route],
    pub(super) registry: &'s Registry,
}

impl Sections<'_> {
    pub(super) fn check(&self, check: &mut Check<'_, '_>) {
        self.providers_without_key(check);
        self.sources(check);
        for at in self.written.limits.iter().flat_map(|list| &list.value.0) {
            self.scopes(&at.value, check);
            let matched = at.value.r#match.iter().flat_map(|at| &at.value.model);
            self.no_alias(matched, "a limit", check);
            self.budget(&at.value, check);
            self.longest(&at.value, check);
        }
        for key in self.keys() {
            self.no_alias(&key.models, "a key", check);
        }
        for at in self.written.routes.iter().flat_map(|list| &list.value.0) {
            self.route_tags(&at.value, check);
        }
    }

    /// As written, so that a key with another mistake in it still counts.
    fn keys(&self) -> impl Iterator<Item = &KeyWritten> {
        let keys = self.written.callers.iter().filter_map(|at| at.value.keys.as_ref());
        keys.flat_map(|list| &list.value.0).map(|at| &at.value)
    }

    /// Whether each caller has a key.
    fn has_keys(&self) -> bool {
        self.callers.require_key || self.keys().next().is_some()
    }

    /// Whether keys are said to be made at run time, of which nothing is known here.
    fn has_other_keys(&self) -> bool {
        let callers = self.written.callers.as_ref();
        callers.is_some_and(|at| at.value.require_key.as_ref().is_some_and(|at| at.value))
    }

    /// Tollway keys are taken away before a request goes upstream, and nothing takes their place.
    fn providers_without_key(&self, check: &mut Check<'_, '_>) {
        let Some(section) = self.written.providers.as_ref().filter(|_| self.has_keys()) else {
            return;
        };
        for ((name, value), declared) in section.value.0.iter().zip(self.providers) {
            let (Some(value), Some(provider)) = (value, &declared.checked) else { continue };
            let Endpoint::Http(http) = &provider.endpoint else { continue };
            let signed =
                http.headers.iter().any(|(header, _)| CREDENTIALS.contains(&header.as_str()));
            let told = ["api_key", "keys"]
                .iter()
                .any(|key| check.reader.told_at(&format!("{}.{key}", name.path)));
            if signed || told || http.auth != Auth::Passthrough {
                continue;
            }
            let quote = check.reader.quote(name);
            let message = format!(
                "Tollway keys never go upstream, so `{quote}` would be called without any key"
            );
            let said = match &value.value.auth {
                Some(at) => check.reader.wrong(at, message),
                None => check.reader.wrong(name, message),
            };
            said.help("give it an `api_key: ${NAME}`, or say `auth: none` if it needs no key");
        }
    }

    /// Ways to tell callers that never tell anything, or that anybody can use.
    fn sources(&self, check: &mut Check<'_, '_>) {
        let callers = self.written.callers.as_ref().map(|at| &at.value);
        let Some(identify) = callers.and_then(|callers| callers.identify.as_ref()) else { return };
        if self.callers.identify == [Source::Key] && !self.has_keys() {
            check
                .reader
                .wrong(identify, "there are no keys, so anybody may call, and nobody has a name")
                .help("add `callers.keys` (`tollway keys new` makes one), `require_key: true` where keys are made at run time, or another way to tell callers");
        }
        let after_key = identify.value.0.iter().skip_while(|at| at.value.0 != Source::Key);
        for at in after_key.filter(|_| self.has_keys()) {
            if let Source::Header(_) = &at.value.0 {
                let quote = check.reader.quote(at);
                let name = quote.strip_prefix("header").unwrap_or(&quote).trim();
                let message = format!(
                    "the header `{name}` is never read: each caller has a key, and `key` comes first"
                );
                check.warn(at.span, &at.path, message);
            }
        }
        let listen = self.written.listen.as_ref().map(|at| at.value);
        let public = listen.is_some_and(|listen| !listen.ip().is_loopback());
        if !public || !self.callers.trusted_proxies.is_empty() || self.has_keys() {
            return;
        }
        for at in &identify.value.0 {
            if let Source::Header(_) = &at.value.0 {
                let quote = check.reader.quote(at);
                let name = quote.strip_prefix("header").unwrap_or(&quote).trim();
                let message = format!(
                    "everybody who can reach `listen` can write the header `{name}`: name the proxy that sets it in `trusted_proxies`"
                );
                check.warn(at.span, &at.path, message);
            }
        }
    }

    /// A scope that nobody falls under never binds; one that some don't fall under is theirs together.
    fn scopes(&self, limit: &LimitWritten, check: &mut Check<'_, '_>) {
        let keys = self.has_keys() || self.callers.identify.contains(&Source::ProviderKey);
        let names_all = self.has_keys() || self.callers.identify.contains(&Source::Ip);
        for at in limit.per.iter().flat_map(|many| &many.value.0) {
            match &at.value.0 {
                Scope::Key if !keys => {
                    check
                        .reader
                        .wrong(at, "the limit can never bind: no caller has a key here")
                        .help("add `callers.keys`, or `provider_key` to `callers.identify`");
                }
                Scope::Tag(tag) => self.tag(tag, "the limit can never bind", at, check),
                Scope::User if !names_all => {
                    let limit = limit.name.as_ref().map(|name| check.reader.quote(name));
                    let message = format!(
                        "callers without a name share one bucket of `{}`: not all of them have one by `callers.identify`; add `ip` there to tell them apart",
                        limit.unwrap_or_default()
                    );
                    check.warn(at.span, &at.path, message);
                }
                _ => {}
            }
        }
    }

    /// Aliases are replaced before keys and limits look at a model, so none of them sees one.
    fn no_alias<'m>(
        &self,
        models: impl IntoIterator<Item = &'m At<OneOrMany<Text>>>,
        who: &str,
        check: &mut Check<'_, '_>,
    ) {
        let aliases: Vec<_> =
            self.written.aliases.iter().flat_map(|named| &named.value.0).collect();
        for at in models.into_iter().flat_map(|many| &many.value.0) {
            let alias = aliases.iter().find(|(name, _)| name.value == at.value.0);
            let Some((_, model)) = alias else { continue };
            let quote = check.reader.quote(at);
            let model = model.as_ref().map(|model| check.reader.quote(model));
            check
                .reader
                .wrong(at, format!("`{quote}` is an alias, and {who} goes by what it stands for"))
                .help(format!("name `{}`", model.unwrap_or_default()));
        }
    }

    /// A tag that is used has to be on some key.
    fn tag<T>(&self, tag: &str, so: &str, at: &At<T>, check: &mut Check<'_, '_>) {
        let tags = || self.keys().filter_map(|key| key.tags.as_ref()).flat_map(|at| &at.value.0);
        if self.has_other_keys() || tags().any(|(name, _)| name.value == tag) {
            return;
        }
        let names: Vec<&str> = tags().map(|(name, _)| name.value.as_str()).collect();
        let said = check.reader.wrong(at, format!("{so}: no key has this tag"));
        match names.is_empty() {
            true => said.help("tags are given to keys: `tags: { team: search }`"),
            false => said.did_you_mean(tag, names),
        };
    }

    fn route_tags(&self, route: &RouteWritten, check: &mut Check<'_, '_>) {
        let tags = route.r#match.iter().filter_map(|at| at.value.tag.as_ref());
        for (name, _) in tags.flat_map(|named| &named.value.0) {
            self.tag(&name.value, "the route is never reached", name, check);
        }
        let rules = route.rules.iter().flat_map(|list| &list.value.0);
        let tags = rules.filter_map(|rule| rule.value.when.as_ref()?.value.tag.as_ref());
        for (name, _) in tags.flat_map(|named| &named.value.0) {
            self.tag(&name.value, "the rule never holds", name, check);
        }
        for at in strategies(route) {
            if let StrategyWritten::Nearest(nearest) = &at.value
                && let Some(tag) = &nearest.value.tag
            {
                self.tag(&tag.value.0, "it tells nobody's region", tag, check);
            }
        }
    }

    /// What nobody has priced can't be held against a budget.
    fn budget(&self, limit: &LimitWritten, check: &mut Check<'_, '_>) {
        let (Some(usd), Some(name)) = (&limit.usd, &limit.name) else { return };
        let Some(lacking) = self.lacking(limit, is_priced) else { return };
        let (what, name) = (told(&lacking, check), check.reader.quote(name));
        let message = format!(
            "{what} has no known price, so what it costs is not held against `{name}`: give it one under `models:`"
        );
        check.warn(usd.span, &usd.path, message);
    }

    /// Of whose replies nobody knows how long they can get, as much is reserved as usual.
    fn longest(&self, limit: &LimitWritten, check: &mut Check<'_, '_>) {
        let Some(reserve) = &limit.reserve else { return };
        if !matches!(reserve.value, ReserveName::Most) {
            return;
        }
        let Some(lacking) = self.lacking(limit, is_bounded) else { return };
        let what = told(&lacking, check);
        let message = format!(
            "how long replies of {what} can get is not known, so what is usual is reserved for those without `max_tokens`: give it `max_output_tokens` under `models:`"
        );
        check.warn(reserve.span, &reserve.path, message);
    }

    /// A provider and its model, or any of its models, that may be asked for under this limit, and
    /// that lacks what `has` looks for.
    fn lacking(&self, limit: &LimitWritten, has: fn(&Model) -> bool) -> Option<Lacking> {
        let only = limit.r#match.iter().filter_map(|at| at.value.model.as_ref());
        let only = only.flat_map(|many| &many.value.0).filter_map(|at| at.value.0.parse().ok());
        let only: Vec<Glob> = only.collect();
        let per = limit.per.iter().flat_map(|many| &many.value.0);
        let by_target = per.into_iter().any(|at| at.value.0.is_of_target());
        let provider = |name: &str| self.providers.iter().find(|known| &*known.name == name);
        if self.routes.is_empty() {
            // The first provider takes anything, the others the models that are known to be theirs.
            let mut sellers = self.providers.iter().filter_map(|known| known.checked.as_ref());
            let first = sellers.next()?;
            return self.lacking_at(first, &[], &only, has).or_else(|| {
                sellers.find_map(|seller| {
                    let theirs = self.sold(seller).filter_map(|model| model.id.parse().ok());
                    let theirs: Vec<Glob> = theirs.collect();
                    self.lacking_at(seller, &theirs, &only, has).filter(|_| !theirs.is_empty())
                })
            });
        }
        let mut targets = self
            .routes
            .iter()
            .flat_map(|route| route.places().map(move |place| (&route.matches.models[..], place)));
        targets.find_map(|(asked, target)| {
            let seller = provider(&target.provider)?.checked.as_ref()?;
            let Some(model) = &target.model else {
                return self.lacking_at(seller, asked, &only, has);
            };
            // A limit with a provider in its scope sees the target's model, others the asked one.
            let counts = match by_target {
                true => only.is_empty() || only.iter().any(|glob| glob.matches(&**model)),
                false => overlap(asked, &only),
            };
            let known = self.sold(seller).any(|sold| sold.is_called(model) && has(sold));
            (counts && !known).then(|| (seller.name.clone(), Some(model.clone())))
        })
    }

    /// The same of a provider that is sent the model that was asked for.
    fn lacking_at(
        &self,
        seller: &Provider,
        asked: &[Glob],
        only: &[Glob],
        has: fn(&Model) -> bool,
    ) -> Option<Lacking> {
        if !overlap(asked, only) {
            return None;
        }
        let may = |id: &str| {
            let takes = |globs: &[Glob]| globs.is_empty() || globs.iter().any(|g| g.matches(id));
            takes(asked) && takes(only)
        };
        let known = |id: &str| self.sold(seller).any(|sold| sold.is_called(id) && has(sold));
        let named = asked.iter().chain(only).filter(|glob| glob.is_exact()).map(Glob::as_str);
        let sold = self.sold(seller).map(|model| &*model.id);
        if let Some(id) = named.chain(sold).find(|id| may(id) && !known(id)) {
            return Some((seller.name.clone(), Some(id.into())));
        }
        let none = !self.sold(seller).any(has);
        none.then(|| (seller.name.clone(), None))
    }

    /// Models whose price counts at this provider. A simulated one plays any provider.
    fn sold(&self, seller: &Provider) -> impl Iterator<Item = &Model> {
        let simulated = matches!(seller.endpoint, Endpoint::Simulate(_));
        let kind = seller.known.clone().unwrap_or_else(|| seller.name.clone());
        let models = self.registry.models.iter().map(|model| &**model);
        models.filter(move |model| simulated || model.provider == kind)
    }
}

/// A provider and, where one is meant, a model.
type Lacking = (Arc<str>, Option<Arc<str>>);

fn told((seller, model): &Lacking, check: &Check<'_, '_>) -> String {
    match model {
        Some(id) if Registry::embedded().model(id).is_some() => format!("`{seller}/{id}`"),
        Some(id) => format!("`{seller}/{}`", check.name(id)),
        None => format!("what is asked of `{seller}`"),
    }
}

fn is_priced(model: &Model) -> bool {
    model.price.input.is_some() && model.price.output.is_some()
}

fn is_bounded(model: &Model) -> bool {
    model.max_output_tokens.or(model.context_window).is_some()
}

/// Whether one name can match both, as far as the patterns' own texts tell; empty matches all.
fn overlap(some: &[Glob], others: &[Glob]) -> bool {
    let meet = |a: &Glob, b: &Glob| a.matches(b.as_str()) || b.matches(a.as_str());
    some.is_empty()
        || others.is_empty()
        || some.iter().any(|a| others.iter().any(|other| meet(a, other)))
}
