use std::{num::NonZeroU64, time::Duration};

use super::{Check, borrow, globs, targets::Targets};
use crate::policy::{
    Cheaper, Limit, Period, Quota, Reserve, Scope, Shape, Unit, WhenFull, WhenStoreIsAway,
    node::Span,
    read::{At, OneOrMany, Scalar},
    values::{AwayName, Count, Per, Rate, ReserveName, ShapeName, Text},
    written::{InsteadWritten, LimitWritten, PolicyWritten, WordOr},
};

pub(super) fn limits(
    written: &PolicyWritten,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Vec<Limit> {
    let mut names = vec![];
    let mut limits: Vec<(Limit, Span, String)> = vec![];
    for at in written.limits.iter().flat_map(|list| &list.value.0) {
        if let Some(name) = &at.value.name {
            check.unique(&mut names, name, "limits");
        }
        if let Some(limit) = limit(at, targets, check) {
            if let Some(name) = &at.value.name {
                named(name, &limit, check);
            }
            limits.push((limit, at.span, at.path.clone()));
        }
    }
    for (index, (limit, span, path)) in limits.iter().enumerate() {
        let others = limits.iter().enumerate().filter(|(other, _)| *other != index);
        for quota in &limit.quotas {
            // Of two equal ones, the later is the useless one.
            let tighter = others.clone().find(|(other, (tighter, _, _))| {
                binds_first(tighter, limit, quota)
                    && (*other < index
                        || !tighter.quotas.iter().any(|theirs| binds_first(limit, tighter, theirs)))
            });
            if let Some((_, (tighter, _, _))) = tighter {
                let message = format!(
                    "limit `{}` can never bind on {}: `{}` counts the same requests and is full first",
                    check.name(&limit.name),
                    quota.unit.as_str(),
                    check.name(&tighter.name)
                );
                check.warn(*span, path, message);
            }
        }
    }
    limits.into_iter().map(|(limit, _, _)| limit).collect()
}

/// Whether `tight` is always full before `quota`, which belongs to `loose`.
fn binds_first(tight: &Limit, loose: &Limit, quota: &Quota) -> bool {
    let same = tight.per == loose.per && tight.models == loose.models;
    // Who is over it goes on, if it is one that downgrades.
    let refuses = tight.enforce && !matches!(tight.when_full, WhenFull::Downgrade(_));
    same && refuses
        && tight.headroom >= loose.headroom
        && tight.quotas.iter().any(|first| first.unit == quota.unit && tighter(first, quota))
}

fn tighter(first: &Quota, than: &Quota) -> bool {
    let amounts = first.amount <= than.amount;
    match (first.shape, than.shape) {
        (Shape::Bucket { per: a, burst: x }, Shape::Bucket { per: b, burst: y }) => {
            let rate = u128::from(first.amount.get()).saturating_mul(b.as_nanos());
            x <= y && rate <= u128::from(than.amount.get()).saturating_mul(a.as_nanos())
        }
        (Shape::Sliding { window: a }, Shape::Sliding { window: b }) => amounts && a >= b,
        (Shape::Calendar(a), Shape::Calendar(b)) => amounts && a == b,
        (Shape::Concurrent, Shape::Concurrent) => amounts,
        _ => false,
    }
}

/// Names stand in headers, with the unit behind them where there are several.
fn named(at: &At<Text>, limit: &Limit, check: &mut Check<'_, '_>) {
    let fits = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
    let units = limit.quotas.iter().filter(|_| limit.quotas.len() > 1);
    let unit = units.map(|quota| quota.unit.as_str().len() + 1).max().unwrap_or(0);
    if limit.name.is_empty() || limit.name.len() + unit > 64 || !limit.name.bytes().all(fits) {
        let expected = format!("1 to {} ASCII characters, without quotes and `\\`", 64 - unit);
        check.reader.wrong(at, "a limit can't have this name").expected(expected);
    }
}

fn limit(at: &At<LimitWritten>, targets: &Targets<'_>, check: &mut Check<'_, '_>) -> Option<Limit> {
    let written = &at.value;
    let per = scopes(written, check);
    let quotas = quotas(at, check);
    let headroom = written.headroom.as_ref().map_or(0.0, |at| at.value.0);
    if let (Some(at), true) = (&written.headroom, headroom >= 1.0) {
        check
            .reader
            .wrong(at, "a headroom of 100% leaves nothing to use")
            .expected("less than 100%");
    }
    let warn_at = written.warn_at.as_ref().map(|at| at.value.0);
    if let (Some(at), Some(0.0)) = (&written.warn_at, warn_at) {
        check.reader.wrong(at, "a warning at 0% would never stop").expected("above 0%");
    }
    let models =
        written.r#match.as_ref().map(|at| globs(&at.value.model, check)).unwrap_or_default();
    let when_full = match &written.when_full {
        Some(At { value: WordOr::Section(instead), .. }) => {
            self::instead(at, instead, (per.as_deref(), &quotas), targets, check)
        }
        _ => WhenFull::Reject,
    };
    let when_store_is_away = match written.when_store_is_away.as_ref().map(|at| at.value) {
        Some(AwayName::Open) => WhenStoreIsAway::Open,
        Some(AwayName::Closed) => WhenStoreIsAway::Closed,
        Some(AwayName::Local) | None => WhenStoreIsAway::Local,
    };
    let reserve = reserve(written, &quotas, check);
    if quotas.is_empty() {
        return None;
    }
    Some(Limit {
        name: written.name.as_ref()?.value.0.as_str().into(),
        per: per?,
        reserve,
        when_full,
        when_store_is_away,
        borrow: borrow::share(at, &quotas, headroom, check),
        quotas,
        enforce: written.enforce.as_ref().is_none_or(|at| at.value),
        headroom,
        warn_at,
        models,
    })
}

/// What is taken for a reply, by limits that count what replies use.
fn reserve(written: &LimitWritten, quotas: &[Quota], check: &mut Check<'_, '_>) -> Reserve {
    let Some(at) = &written.reserve else { return Reserve::Usual };
    let counts = |unit| matches!(unit, Unit::Tokens | Unit::OutputTokens | Unit::Usd);
    if !quotas.is_empty() && !quotas.iter().any(|quota| counts(quota.unit)) {
        let message = "nothing that the limit counts hangs on the reply";
        check
            .reader
            .wrong(at, message)
            .help("`reserve` goes with `tokens`, `output_tokens` or `usd`");
    }
    match at.value {
        ReserveName::Usual => Reserve::Usual,
        ReserveName::Most => Reserve::Most,
    }
}

/// What happens instead of a refusal.
fn instead(
    at: &At<LimitWritten>,
    instead: &InsteadWritten,
    (per, quotas): (Option<&[Scope]>, &[Quota]),
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> WhenFull {
    match (&instead.wait, &instead.downgrade) {
        (Some(_), Some(list)) => {
            check.reader.wrong(list, "it can't wait and go elsewhere").help("keep one of them");
        }
        (Some(at), None) if at.value.0.is_zero() => {
            check.reader.wrong(at, "a wait of zero is no wait").help("say `when_full: reject`");
        }
        (Some(at), None) => return WhenFull::Wait(at.value.0),
        (None, Some(list)) => {
            if quotas.iter().any(|quota| quota.unit != Unit::Usd) {
                let message = "cheaper targets save money alone";
                check.reader.wrong(list, message).help("give `usd` a limit of its own");
            }
            if per.is_some_and(|per| per.iter().any(Scope::is_of_target)) {
                let message = "the limit is decided when the target is chosen already";
                check
                    .reader
                    .wrong(list, message)
                    .expected("a limit per all, user, key, ip, model or tag");
            }
            return WhenFull::Downgrade(cheaper(list, targets, check));
        }
        (None, None) => {
            let full = at.value.when_full.as_ref();
            // What could not be read was told already.
            if let Some(full) = full.filter(|full| !check.reader.told_under(&full.path)) {
                let expected = "`wait` or `downgrade`";
                check.reader.wrong(full, "it doesn't say what happens").expected(expected);
            }
        }
    }
    WhenFull::Reject
}

fn cheaper(
    list: &At<OneOrMany<Text>>,
    targets: &Targets<'_>,
    check: &mut Check<'_, '_>,
) -> Cheaper {
    let mut all = Cheaper { to: vec![], free: false };
    for at in &list.value.0 {
        if at.value.0 == "free" {
            all.free = true;
        } else if let Some((place, _)) = targets.place(at, check)
            && !all.to.contains(&place)
        {
            all.to.push(place);
        }
    }
    if list.value.0.is_empty() {
        check.reader.wrong(list, "there is no target").expected("`[provider/model]` or `free`");
    }
    all
}

/// One scope, or two that differ.
fn scopes(written: &LimitWritten, check: &mut Check<'_, '_>) -> Option<Vec<Scope>> {
    let at = written.per.as_ref()?;
    let scopes: Vec<Scope> = at.value.0.iter().map(|one| one.value.0.clone()).collect();
    match scopes.as_slice() {
        [_] => {}
        [a, b] if a == b => {
            check.reader.wrong(at, "a pair of the same scope twice").help("name it once");
        }
        [a, b] if *a == Scope::All || *b == Scope::All => {
            check
                .reader
                .wrong(at, "`all` in a pair adds nothing")
                .help("name the other scope alone");
        }
        [Scope::Provider, Scope::ProviderKey] | [Scope::ProviderKey, Scope::Provider] => {
            check
                .reader
                .wrong(at, "each key is one provider's, so `provider` in the pair adds nothing")
                .help("name `provider_key` alone");
        }
        [_, _] => {}
        _ => {
            check
                .reader
                .wrong(at, format!("{} scopes at once", scopes.len()))
                .expected("one scope, or a pair such as [user, model]");
        }
    }
    Some(scopes)
}

fn quotas(at: &At<LimitWritten>, check: &mut Check<'_, '_>) -> Vec<Quota> {
    let written = &at.value;
    let rates = [
        (Unit::Requests, &written.requests),
        (Unit::Tokens, &written.tokens),
        (Unit::InputTokens, &written.input_tokens),
        (Unit::OutputTokens, &written.output_tokens),
        (Unit::Usd, &written.usd),
    ];
    let given = rates.iter().filter(|(_, rate)| rate.is_some()).count();
    let before = check.reader.count();
    let mut used = [false; 2];
    let mut quotas = vec![];
    for (unit, rate) in rates {
        let Some(rate) = rate else { continue };
        let (which, burst) = match unit {
            Unit::Tokens | Unit::InputTokens | Unit::OutputTokens
                if written.burst_tokens.is_some() =>
            {
                (1, written.burst_tokens.as_ref())
            }
            Unit::Requests => (0, written.burst.as_ref()),
            // The only unit may use the short name; money has no burst of its own kind.
            Unit::Tokens | Unit::InputTokens | Unit::OutputTokens if given == 1 => {
                (0, written.burst.as_ref())
            }
            _ => (0, None),
        };
        used[which] |= burst.is_some();
        quotas.extend(quota(unit, rate, burst, written.shape.as_ref(), check));
    }
    for (burst, used) in [(&written.burst, used[0]), (&written.burst_tokens, used[1])] {
        if let (Some(burst), false) = (burst, used) {
            check
                .reader
                .wrong(burst, "a burst without a rate that it belongs to")
                .help("`burst` goes with `requests`, `burst_tokens` with `tokens`");
        }
    }
    if written.concurrent.is_some() {
        let amount = check.at_least_one(&written.concurrent, 1);
        quotas.push(Quota { unit: Unit::Concurrent, amount, shape: Shape::Concurrent });
        if let (Some(shape), 0) = (&written.shape, given) {
            check
                .reader
                .wrong(shape, "requests at the same time have no shape")
                .help("`shape` goes with a rate such as `requests: 100/min`");
        }
    }
    let nothing_written = given == 0 && written.concurrent.is_none();
    // A quota that could not be read was told at its own place.
    if nothing_written && check.reader.count() == before && !check.reader.told_under(&at.path) {
        check.reader.wrong(at, "the limit limits nothing").expected(
            "one or more of `requests`, `tokens`, `input_tokens`, `output_tokens`, `usd`, `concurrent`",
        );
    }
    quotas
}

fn quota(
    unit: Unit,
    rate: &At<Rate>,
    burst: Option<&At<Count>>,
    shape: Option<&At<ShapeName>>,
    check: &mut Check<'_, '_>,
) -> Option<Quota> {
    let amount = amount(unit, rate, check)?;
    let per = rate.value.per;
    let hour = Per::Time(Duration::from_secs(3600));
    let calendar = matches!(per, Per::Day | Per::Month) || (unit == Unit::Usd && per == hour);
    let name = shape.map(|at| at.value).unwrap_or(match calendar {
        true => ShapeName::Calendar,
        false => ShapeName::Bucket,
    });
    let length = match per {
        Per::Time(time) => Some(time),
        Per::Day => Some(Duration::from_secs(86_400)),
        Per::Month => None,
    };
    if let (Some(at), true) = (burst, name != ShapeName::Bucket) {
        check
            .reader
            .wrong(at, "only a bucket has a burst")
            .help("say `shape: bucket`, or take the burst away");
    }
    let shape = match (name, length, per) {
        (ShapeName::Bucket, Some(per), _) => {
            Shape::Bucket { per, burst: burst_of(burst, amount, check) }
        }
        (ShapeName::Sliding, Some(window), _) => Shape::Sliding { window },
        (ShapeName::Calendar, _, Per::Day) => Shape::Calendar(Period::Day),
        (ShapeName::Calendar, _, Per::Month) => Shape::Calendar(Period::Month),
        (ShapeName::Calendar, _, time) if time == hour => Shape::Calendar(Period::Hour),
        (ShapeName::Calendar, _, _) => {
            check
                .reader
                .wrong(rate, "the calendar has no such period")
                .expected("an amount per hour, day or month");
            return None;
        }
        (ShapeName::Bucket | ShapeName::Sliding, None, _) => {
            check
                .reader
                .wrong(rate, "months differ in length, so only the calendar can count them")
                .help("say `shape: calendar`, or give the time in days: `/30d`");
            return None;
        }
    };
    Some(Quota { unit, amount, shape })
}

fn burst_of(at: Option<&At<Count>>, amount: NonZeroU64, check: &mut Check<'_, '_>) -> NonZeroU64 {
    let Some(at) = at else { return amount };
    NonZeroU64::new(at.value.0).unwrap_or_else(|| {
        check
            .reader
            .wrong(at, "a bucket with a burst of 0 lets nothing through")
            .expected("a whole number from 1");
        amount
    })
}

/// The amount in the unit's smallest part.
fn amount(unit: Unit, rate: &At<Rate>, check: &mut Check<'_, '_>) -> Option<NonZeroU64> {
    let amount = unit.amount(&rate.value.amount);
    let quote = check.reader.quote(rate);
    match amount.map(NonZeroU64::new) {
        Some(Some(amount)) => Some(amount),
        Some(None) => {
            check
                .reader
                .wrong(rate, format!("`{quote}` lets nothing through"))
                .expected("an amount above zero");
            None
        }
        None => {
            let expected = match unit {
                Unit::Usd => {
                    "an amount of USD with at most nine decimals, such as 20/day or 0.50/hour"
                }
                _ => Rate::EXPECTED,
            };
            let message = format!("`{quote}` is no amount of {}", unit.as_str());
            check.reader.wrong(rate, message).expected(expected);
            None
        }
    }
}
