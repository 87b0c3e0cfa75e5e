use std::{
    cell::Cell,
    num::NonZeroU64,
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{request, response};
use tollway_core::{Ask, AtWork, Caller, Ending, Metered, Operation, Target, Usage};
use tollway_rate_limit::{
    self as rate_limit, Key, Part, RateLimitLayer, Rule, Settle, WhenFull, WhenStoreIsAway, Zone,
};
use tollway_store::ledger::Pen;

use super::{
    StackError,
    estimate::{self, Estimates},
    keys::{self, Accounts},
    quotes::{Quotes, Taken},
    stores::Counted,
    tell,
};
use crate::{
    alerts::Alerts,
    policy::{self, Limit, Policy, Quota, Reserve, Scope, Shape, Unit},
    telemetry::{Exchange, Telemetry},
};

/// Where a limit is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Once a request.
    Request,
    /// At each attempt: limits with a provider or its key in their scope.
    Attempt,
}

/// Where this limit is decided.
pub(super) fn side(limit: &Limit) -> Side {
    if limit.per.iter().any(Scope::is_of_target) { Side::Attempt } else { Side::Request }
}

/// The policy's limits of one side as one layer, so that they are decided in one step.
pub(super) fn layer(
    policy: &Policy,
    of: Side,
    settle: BySpending,
    counted: &Counted,
    (telemetry, alerts, pen): (&Telemetry, &Alerts, &Option<Pen>),
    before: Option<&RateLimitLayer<BySpending>>,
) -> Result<RateLimitLayer<BySpending>, StackError> {
    let zone = Zone::new(policy.time_zone.clone());
    let mut rules = Vec::new();
    for limit in policy.limits.iter().filter(|limit| side(limit) == of) {
        for quota in &limit.quotas {
            let rule = rule(limit, quota, (of, zone), &settle)?;
            rules.push(if counted.shares(quota.unit) { rule } else { rule.here() });
        }
    }
    let builder = RateLimitLayer::builder(rules, settle);
    let builder = match (before, &counted.journal) {
        // What goes on is saved where it was.
        (Some(before), _) => builder.resume(before),
        (None, Some(journal)) => {
            let wrong = |error| StackError::new("state.limits", error);
            builder.journal(journal.clone()).map_err(wrong)?
        }
        (None, None) => builder,
    };
    let builder = match &counted.shared {
        Some(store) => builder.shared(store.clone()),
        None => builder,
    };
    builder
        .hook(tell::limits(telemetry.clone(), alerts.clone(), pen.clone()))
        .build()
        .map_err(|error| StackError::new("limits", error))
}

/// A limit of several quotas makes several rules; `user.tokens` is the tokens of `user`.
pub(super) fn rule_name(limit: &Limit, quota: &Quota) -> Arc<str> {
    if limit.quotas.len() == 1 {
        return limit.name.clone();
    }
    memory_name(limit, quota)
}

/// Under which what was used goes on, however many quotas the limit has.
fn memory_name(limit: &Limit, quota: &Quota) -> Arc<str> {
    format!("{}.{}", limit.name, quota.unit.as_str()).into()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are 0..=1")]
fn percent(share: f64) -> u8 {
    (share * 100.0).round() as u8
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "no larger than the amount; some units more or less are no matter"
)]
fn share_of(amount: u64, share: f64) -> u64 {
    ((amount as f64 * share) as u64).min(amount / 10)
}

fn rule(
    limit: &Limit,
    quota: &Quota,
    (side, zone): (Side, Zone),
    settle: &BySpending,
) -> Result<Rule, StackError> {
    let name = rule_name(limit, quota);
    let mut built = rate_limit::Limit::builder(name.clone(), as_layer(quota, side))
        .enforce(limit.enforce)
        .zone(zone)
        .headroom(percent(limit.headroom));
    built = match limit.when_full {
        policy::WhenFull::Reject => built,
        policy::WhenFull::Wait(time) => built.when_full(WhenFull::Wait(time)),
        policy::WhenFull::Downgrade(_) => built.when_full(WhenFull::Downgrade),
    };
    built = built.when_store_is_away(match limit.when_store_is_away {
        policy::WhenStoreIsAway::Local => WhenStoreIsAway::Local,
        policy::WhenStoreIsAway::Open => WhenStoreIsAway::Open,
        policy::WhenStoreIsAway::Closed => WhenStoreIsAway::Closed,
    });
    if let Some(share) = limit.warns_at(quota) {
        built = built.warn_at(percent(share));
    }
    // Of the quota without its headroom, as the limit counts it.
    let whole = built.clone().build().map_or(0, |limit| limit.capacity());
    built = built.borrow(share_of(whole, limit.borrow));
    let built = built.build().map_err(|error| StackError::new(format!("limit {name}"), error))?;
    let (per, models) = (limit.per.clone(), limit.models.clone());
    let scope: Vec<_> = per.iter().map(ToString::to_string).collect();
    let (unit, reserve, settle) = (quota.unit, limit.reserve, settle.clone());
    let (aliases, accounts) = (settle.quotes.aliases.clone(), settle.accounts.clone());
    let rule = Rule::new(built, unit_tag(unit))
        .scope(scope.join(", "))
        .known_as(memory_name(limit, quota))
        .key(move |request| {
            let model = model(request, side).map(|model| aliases.resolve(model));
            let applies = models.is_empty()
                || model.is_some_and(|model| models.iter().any(|glob| glob.matches(&**model)));
            applies.then(|| key(&per, request, model, &accounts))?
        })
        .estimate(move |request| settle.estimate(unit, reserve, request));
    Ok(match reserve {
        // What is larger than the whole quota waits for all of it and owes the rest: an estimate
        // must not shut out a request that the true count would let in.
        Reserve::Usual => rule.bounded(),
        // That is what it may really cost.
        Reserve::Most => rule,
    })
}

/// Added to the window of a provider's published limit: between our decision and the provider's
/// lies the network, and a request that was slow to arrive stays in its window longer than in ours.
fn margin(window: Duration) -> Duration {
    (window / 50).min(Duration::from_secs(2))
}

/// A policy's quota as the layer has it.
pub(super) fn as_layer(quota: &Quota, side: Side) -> rate_limit::Quota {
    let amount = quota.amount.get();
    match quota.shape {
        Shape::Bucket { per, burst } => {
            rate_limit::Quota::TokenBucket { amount, per, burst: burst.get() }
        }
        Shape::Sliding { window } if side == Side::Attempt => {
            rate_limit::Quota::SlidingWindow { amount, window: window + margin(window) }
        }
        Shape::Sliding { window } => rate_limit::Quota::SlidingWindow { amount, window },
        Shape::Calendar(period) => rate_limit::Quota::Calendar {
            amount,
            period: match period {
                policy::Period::Hour => rate_limit::Period::Hour,
                policy::Period::Day => rate_limit::Period::Day,
                policy::Period::Month => rate_limit::Period::Month,
            },
        },
        Shape::Concurrent => rate_limit::Quota::Concurrent { amount },
    }
}

/// What [`as_layer`] was made of.
pub(super) fn as_policy(quota: rate_limit::Quota, unit: Unit, side: Side) -> Quota {
    let (amount, shape) = match quota {
        rate_limit::Quota::TokenBucket { amount, per, burst } => {
            (amount, Shape::Bucket { per, burst: at_least_one(burst) })
        }
        rate_limit::Quota::SlidingWindow { amount, window } if side == Side::Attempt => {
            let window = window.saturating_sub(Duration::from_secs(2)).max(window / 51 * 50);
            (amount, Shape::Sliding { window })
        }
        rate_limit::Quota::SlidingWindow { amount, window } => (amount, Shape::Sliding { window }),
        rate_limit::Quota::Calendar { amount, period } => {
            let period = match period {
                rate_limit::Period::Hour => policy::Period::Hour,
                rate_limit::Period::Day => policy::Period::Day,
                rate_limit::Period::Month => policy::Period::Month,
            };
            (amount, Shape::Calendar(period))
        }
        rate_limit::Quota::Concurrent { amount } => (amount, Shape::Concurrent),
    };
    Quota { unit, amount: at_least_one(amount), shape }
}

fn at_least_one(amount: u64) -> NonZeroU64 {
    NonZeroU64::new(amount).unwrap_or(NonZeroU64::MIN)
}

fn unit_tag(unit: Unit) -> rate_limit::Unit {
    match unit {
        Unit::Requests | Unit::Concurrent => rate_limit::Unit::Requests,
        Unit::Tokens => rate_limit::Unit::Tokens,
        Unit::InputTokens => rate_limit::Unit::InputTokens,
        Unit::OutputTokens => rate_limit::Unit::OutputTokens,
        Unit::Usd => rate_limit::Unit::NanoUsd,
    }
}

/// The model a request is about: the target's where there is a target, else the asked one.
fn model(request: &request::Parts, side: Side) -> Option<&Arc<str>> {
    let target = request.extensions.get::<Target>().filter(|_| side == Side::Attempt);
    let asked = || request.extensions.get::<Ask>()?.model.as_ref();
    target.and_then(Target::model).or_else(asked)
}

fn key(
    per: &[Scope],
    request: &request::Parts,
    model: Option<&Arc<str>>,
    accounts: &Accounts,
) -> Option<Key> {
    let part = |scope: &Scope| match scope {
        Scope::ProviderKey => account(request, accounts).map(Part::Name),
        scope => part(scope, request, model),
    };
    match per {
        [] | [Scope::All] => Some(Key::All),
        [Scope::Ip] => Some(Key::network(request.extensions.get::<Caller>()?.ip?)),
        [one] => part(one).map(Key::One),
        [Scope::All, one] | [one, Scope::All] => part(one).map(Key::One),
        [one, two, ..] => Some(Key::Two(part(one)?, part(two)?)),
    }
}

/// The account that is charged: a key of the policy's, or the client's own credential.
fn account(request: &request::Parts, accounts: &Accounts) -> Option<Arc<str>> {
    let target = request.extensions.get::<Target>()?;
    keys::callers_own(target, &request.extensions).or_else(|| accounts.of(target).cloned())
}

static NOBODY: LazyLock<Arc<str>> = LazyLock::new(|| "(nobody)".into());

fn part(scope: &Scope, request: &request::Parts, model: Option<&Arc<str>>) -> Option<Part> {
    let caller = request.extensions.get::<Caller>();
    let name = |name: &Arc<str>| Some(Part::Name(name.clone()));
    match scope {
        Scope::All | Scope::ProviderKey => None,
        // Whoever says no name shares one bucket with all others who don't.
        Scope::User => name(caller.and_then(|caller| caller.user.as_ref()).unwrap_or(&NOBODY)),
        Scope::Key => name(caller?.key.as_ref()?),
        Scope::Tag(tag) => name(caller?.tags.get(tag)?),
        Scope::Provider => name(request.extensions.get::<Target>()?.provider()),
        Scope::Model => name(model?),
        Scope::Ip => match Key::network(caller?.ip?) {
            Key::One(part) => Some(part),
            Key::All | Key::Two(..) => None,
        },
    }
}

/// Reserves what a request will probably use, and settles to what it did.
#[derive(Clone, Debug)]
pub(super) struct BySpending {
    quotes: Quotes,
    accounts: Accounts,
    estimates: Arc<Estimates>,
}

/// What is remembered of a request until it ends.
#[derive(Default)]
pub(super) struct Ticket {
    operation: Operation,
    input_tokens: u64,
    choices: u64,
    /// Whose reply is yet to be learnt from.
    who: Cell<Option<estimate::Key>>,
    /// Of which it is yet to be learnt what they pay, and the route that they take.
    pays: Cell<Option<(estimate::Key, Taken)>>,
    target: Option<Target>,
    /// Only of a reply that can have used tokens.
    metered: Option<Metered>,
    succeeded: bool,
    at_work: Option<AtWork>,
}

impl BySpending {
    pub(super) fn new(quotes: Quotes, accounts: Accounts, estimates: Arc<Estimates>) -> Self {
        Self { quotes, accounts, estimates }
    }

    fn estimate(&self, unit: Unit, reserve: Reserve, request: &request::Parts) -> u64 {
        if matches!(unit, Unit::Requests | Unit::Concurrent) {
            return 1;
        }
        let Some(ask) = request.extensions.get::<Ask>() else { return 0 };
        let output = || self.quotes.output(reserve, request, ask, &self.estimates);
        match unit {
            Unit::Requests | Unit::Concurrent => 1,
            Unit::InputTokens => ask.input_tokens,
            Unit::OutputTokens => output(),
            Unit::Tokens => ask.input_tokens.saturating_add(output()),
            Unit::Usd => self.quotes.money(reserve, request, ask, &self.estimates),
        }
    }

    /// Input and output tokens that a request will probably use.
    pub(super) fn tokens(&self, request: &request::Parts) -> (u64, u64) {
        let of = |unit| self.estimate(unit, Reserve::Usual, request);
        (of(Unit::InputTokens), of(Unit::OutputTokens))
    }
}

impl Ticket {
    fn usage(&self) -> Option<Usage> {
        self.metered.as_ref()?.used(self.operation, self.input_tokens, self.succeeded)
    }
}

impl Settle for BySpending {
    type Ticket = Ticket;

    fn open(&self, request: &request::Parts) -> Ticket {
        let exchange = request.extensions.get::<Arc<Exchange>>();
        if let (Some(exchange), Some(rate_limit::Waited)) = (exchange, request.extensions.get()) {
            exchange.pause();
        }
        let ask = request.extensions.get::<Ask>();
        let caller = request.extensions.get::<Caller>();
        let pays = ask
            .and_then(|ask| Some((estimate::key(caller, ask), self.quotes.taken(request, ask)?)));
        Ticket {
            pays: Cell::new(pays),
            operation: ask.map(|ask| ask.operation).unwrap_or_default(),
            input_tokens: ask.map_or(0, |ask| ask.input_tokens),
            choices: ask.map_or(1, |ask| ask.choices.max(1).into()),
            who: Cell::new(ask.map(|ask| estimate::key(caller, ask))),
            target: request.extensions.get::<Target>().cloned(),
            at_work: request.extensions.get().cloned(),
            ..Ticket::default()
        }
    }

    fn head(&self, ticket: &mut Ticket, response: &response::Parts) {
        ticket.metered = response.extensions.get::<Metered>().cloned();
        ticket.succeeded = response.status.is_success();
        if let Some(served) = response.extensions.get::<Target>() {
            ticket.target = Some(served.clone());
        }
    }

    fn spent(&self, ticket: &Ticket, unit: rate_limit::Unit, _: Ending) -> Option<u64> {
        if unit == rate_limit::Unit::Requests {
            return None;
        }
        let Some(usage) = ticket.usage() else { return Some(0) };
        // Once a reply, however many limits count its tokens or its price.
        if unit != rate_limit::Unit::InputTokens
            && !usage.is_estimate()
            && let Some(who) = ticket.who.take()
        {
            self.estimates.learn(who, usage.output.div_ceil(ticket.choices.max(1)));
        }
        match unit {
            rate_limit::Unit::InputTokens => Some(usage.input),
            rate_limit::Unit::NanoUsd => {
                let nanos = self.quotes.nanos(ticket.target.as_ref(), &usage);
                if let Some((who, taken)) = ticket.pays.take()
                    && let Some(share) = self.quotes.share(&taken, &usage, nanos)
                {
                    self.estimates.learn_share(who, share);
                }
                Some(nanos)
            }
            rate_limit::Unit::OutputTokens => Some(usage.output),
            rate_limit::Unit::Tokens => Some(usage.total()),
            _ => None,
        }
    }

    /// Who leaves while a provider is at work has at least asked.
    fn failed(&self, ticket: &Ticket, unit: rate_limit::Unit, reserved: u64) -> u64 {
        let asked_of = ticket.at_work.as_ref().and_then(AtWork::target);
        let abandoned = asked_of.is_some();
        let asked = Usage::new(ticket.input_tokens, 0);
        match unit {
            rate_limit::Unit::Requests => reserved,
            rate_limit::Unit::Tokens | rate_limit::Unit::InputTokens if abandoned => asked.input,
            rate_limit::Unit::NanoUsd if abandoned => self.quotes.nanos(asked_of.as_ref(), &asked),
            _ => 0,
        }
    }
}
