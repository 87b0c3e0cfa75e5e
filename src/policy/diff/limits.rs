//! Limits: what becomes of what was used.

use std::time::Duration;

use tollway_core::Usd;

use super::Changes;
use crate::policy::{Cheaper, Limit, Period, Quota, Scope, Shape, Unit, WhenFull};

pub(super) fn changes(old: &[Limit], new: &[Limit], all: &mut Changes) {
    let name = |limit: &Limit| limit.name.clone();
    let find = |all: &[Limit], limit: &Limit| all.iter().position(|one| name(one) == name(limit));
    for limit in new {
        let at = format!("limits.{}", limit.name);
        match find(old, limit).and_then(|at| old.get(at)) {
            None => {
                all.tell(at, format!("added: {}; everybody begins with all of it", words(limit)))
            }
            Some(old) if old != limit => changed(&at, old, limit, all),
            Some(_) => {}
        }
    }
    for limit in old.iter().filter(|limit| find(new, limit).is_none()) {
        let words = "removed: holds nobody up any more; what was used is forgotten";
        all.tell(format!("limits.{}", limit.name), words);
    }
}

fn changed(at: &str, old: &Limit, new: &Limit, all: &mut Changes) {
    if old.per != new.per {
        let words = format!("per {} -> per {}", scopes(&old.per), scopes(&new.per));
        all.tell(at, format!("{words}; everybody begins with all of it"));
    }
    for quota in &new.quotas {
        let before = old.quotas.iter().find(|before| before.unit == quota.unit);
        match before {
            None => {
                all.tell(at, format!("{} added; everybody begins with all of it", amount(quota)))
            }
            Some(before) if before != quota => {
                let words = format!("{} -> {}", amount(before), amount(quota));
                all.tell(at, format!("{words}; {}", fill(before, quota)));
            }
            Some(_) => {}
        }
    }
    for quota in &old.quotas {
        if !new.quotas.iter().any(|now| now.unit == quota.unit) {
            all.tell(at, format!("{} removed; what was used is forgotten", amount(quota)));
        }
    }
    if old.when_full != new.when_full {
        let words = format!("{} -> {}", when_full(&old.when_full), when_full(&new.when_full));
        all.tell(format!("{at}.when_full"), words);
    }
    if old.reserve != new.reserve {
        let words = [old, new].map(|limit| limit.reserve.as_str());
        all.tell(format!("{at}.reserve"), words.join(" -> "));
    }
    if old.when_store_is_away != new.when_store_is_away {
        let words = [old, new].map(|limit| limit.when_store_is_away.as_str());
        all.tell(format!("{at}.when_store_is_away"), words.join(" -> "));
    }
    all.value(&format!("{at}.enforce"), &old.enforce, &new.enforce);
    let shares = [("headroom", old.headroom, new.headroom), ("borrow", old.borrow, new.borrow)];
    for (name, old, new) in shares.into_iter().filter(|(_, old, new)| old != new) {
        let words = format!("{}% -> {}%", percent(old), percent(new));
        all.tell(format!("{at}.{name}"), words);
    }
    for quota in &new.quotas {
        let warns_at = |limit: &Limit| limit.warns_at(quota).map(percent);
        let (before, now) = (warns_at(old), warns_at(new));
        if before != now {
            let percent = |at: Option<f64>| at.map_or("none".into(), |at| format!("{at}%"));
            let words = format!("{} -> {}", percent(before), percent(now));
            all.tell(format!("{at}.warn_at"), words);
            break;
        }
    }
    all.value(&format!("{at}.models"), &old.models, &new.models);
}

/// To a hundredth.
fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

/// What becomes of what was used: as the layer does it when rules take over.
fn fill(old: &Quota, new: &Quota) -> &'static str {
    match (old.shape, new.shape) {
        (Shape::Bucket { .. }, Shape::Bucket { .. }) => {
            "buckets stay as full as they are, by their share"
        }
        (Shape::Sliding { .. }, Shape::Sliding { .. }) => {
            "what was used within the new window counts"
        }
        (Shape::Calendar(old), Shape::Calendar(new)) if length(old) <= length(new) => {
            "what was used in this period counts"
        }
        (Shape::Concurrent, Shape::Concurrent) => "places stay taken until their replies end",
        _ => "another kind of limit: everybody begins with all of it",
    }
}

fn length(period: Period) -> u8 {
    match period {
        Period::Hour => 0,
        Period::Day => 1,
        Period::Month => 2,
    }
}

fn when_full(of: &WhenFull) -> String {
    match of {
        WhenFull::Reject => "reject".into(),
        WhenFull::Wait(time) => format!("wait {time:?}"),
        WhenFull::Downgrade(Cheaper { to, free }) => {
            let places = to.iter().map(|place| match &place.model {
                Some(model) => format!("{}/{model}", place.provider),
                None => place.provider.to_string(),
            });
            let all: Vec<_> = places.chain(free.then(|| "free".into())).collect();
            format!("downgrade to {}", all.join(", "))
        }
    }
}

fn words(limit: &Limit) -> String {
    let quotas: Vec<_> = limit.quotas.iter().map(amount).collect();
    format!("{} per {}", quotas.join(", "), scopes(&limit.per))
}

fn scopes(per: &[Scope]) -> String {
    per.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn amount(quota: &Quota) -> String {
    let number = quota.amount.get();
    let what = match quota.unit {
        Unit::Requests => format!("{number} requests"),
        Unit::Tokens => format!("{number} tokens"),
        Unit::InputTokens => format!("{number} input tokens"),
        Unit::OutputTokens => format!("{number} output tokens"),
        Unit::Usd => format!("{} USD", Usd::from_nanos(number)),
        Unit::Concurrent => format!("{number} at the same time"),
    };
    match quota.shape {
        Shape::Bucket { per, burst } if burst.get() == number => format!("{what} {}", each(per)),
        Shape::Bucket { per, burst } => format!("{what} {}, {burst} at once", each(per)),
        Shape::Sliding { window } => format!("{what} in any {window:?}"),
        Shape::Calendar(Period::Hour) => format!("{what} a calendar hour"),
        Shape::Calendar(Period::Day) => format!("{what} a calendar day"),
        Shape::Calendar(Period::Month) => format!("{what} a calendar month"),
        Shape::Concurrent => what,
    }
}

/// `a minute`, or `in 90s`.
fn each(time: Duration) -> String {
    match (time.as_secs(), time.subsec_nanos()) {
        (1, 0) => "a second".into(),
        (60, 0) => "a minute".into(),
        (3600, 0) => "an hour".into(),
        (86_400, 0) => "a day".into(),
        _ => format!("in {time:?}"),
    }
}
