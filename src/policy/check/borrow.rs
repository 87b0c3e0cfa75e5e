//! What instances may take beforehand of limits that they share.

use super::Check;
use crate::policy::{
    Limit, Quota, Shape, State, Store, Unit,
    read::At,
    written::{LimitWritten, PolicyWritten},
};

/// The share that an instance may take beforehand.
pub(super) fn share(
    at: &At<LimitWritten>,
    quotas: &[Quota],
    headroom: f64,
    check: &mut Check<'_, '_>,
) -> f64 {
    let Some(at) = &at.value.borrow else { return 0.0 };
    let share = at.value.0;
    if share == 0.0 {
        return 0.0;
    }
    if share > 0.1 {
        let quote = check.reader.quote(at);
        let message = format!("`{quote}` can't be borrowed");
        check.reader.wrong(at, message).expected("at most 10%");
        return 0.0;
    }
    if quotas.iter().any(|quota| quota.unit == Unit::Concurrent) {
        let message = "places for requests at the same time can't be borrowed";
        check.reader.wrong(at, message).help("give `concurrent` a limit of its own");
        return 0.0;
    }
    for quota in quotas {
        let most = match quota.shape {
            Shape::Bucket { burst, .. } => burst,
            _ => quota.amount,
        };
        #[expect(clippy::cast_precision_loss, reason = "far below what a float can't tell apart")]
        let slice = most.get() as f64 * (1.0 - headroom) * share;
        if slice < 2.0 {
            let message = format!(
                "less than 2 {} would be borrowed: each request would ask all the same",
                quota.unit.as_str()
            );
            check.reader.wrong(at, message).help("take it away, or borrow more");
            return 0.0;
        }
    }
    share
}

/// Nothing can be borrowed where nobody else takes from it.
pub(super) fn alone(
    written: &PolicyWritten,
    policy: (&[Limit], &State),
    check: &mut Check<'_, '_>,
) {
    let (limits, state) = policy;
    let shared = |quota: &Quota| {
        let store = if quota.unit == Unit::Usd { &state.budgets } else { &state.limits };
        matches!(store, Store::Redis(_))
    };
    let alone = |limit: &&Limit| limit.borrow > 0.0 && !limit.quotas.iter().all(shared);
    for limit in limits.iter().filter(alone) {
        let named = |at: &&At<LimitWritten>| {
            at.value.name.as_ref().is_some_and(|name| *name.value.0 == *limit.name)
        };
        let mut all = written.limits.iter().flat_map(|list| &list.value.0);
        let Some(at) = all.find(named).and_then(|at| at.value.borrow.as_ref()) else { continue };
        // Where its store could not be read, that was told already.
        if !check.reader.told_under("state") {
            let message = "no other instance takes from this limit: it is not in a Redis";
            let help = "take it away, or say `state: { redis: URL }`";
            check.reader.wrong(at, message).help(help);
        }
    }
}
