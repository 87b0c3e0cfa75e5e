//! Decisions of a store that instances share, and what is done while it is away.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tollway_core::BoxError;
use tollway_store::limits::{
    Crossing, Had, Kind, Lack, Settlement, Shape, Take, Tell, Verdict, Want,
};

use super::{Entry, Limiter, Place};
use crate::{
    Event, EventKind, LimitExceeded, Rule, StoreAway, WhenFull, WhenStoreIsAway,
    decide::{Claim, Effects, Refusal, Stage, View},
    key::Key,
    patience::Patience,
    remote::{Remote, share},
};

/// How often the first in line asks for a place that nobody knows the time of.
const ASK_AGAIN: Duration = Duration::from_millis(25);

/// A decision that is waited for.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Granted, BoxError>> + Send>>;

/// What a request was granted.
pub(crate) struct Granted {
    pub(crate) claims: Vec<Claim>,
    pub(crate) loan: Loan,
    pub(crate) waited: bool,
}

/// What the store is to be told when the request is over.
#[derive(Debug)]
pub(crate) enum Loan {
    /// The store granted it.
    Taken(Take),
    /// This instance did, while the store was away.
    Alone,
}

impl Limiter {
    /// Decides there, or alone if the store is away.
    pub(crate) async fn ask(
        self: Arc<Self>,
        remote: Arc<Remote>,
        claims: Vec<Claim>,
        patience: Patience,
    ) -> Result<Granted, BoxError> {
        self.divide(&remote);
        let (here, mut claims): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| self.rule(claim.rule).here);
        self.bound(&mut claims);
        let mut wants: Arc<[Want]> = claims.iter().map(|claim| self.want(claim)).collect();
        let arrived = Instant::now();
        let waits: Vec<_> = claims.iter().map(|claim| self.max_wait(claim)).collect();
        let deadline = |at: usize| waits.get(at).copied().flatten().map(|wait| arrived + wait);
        let (mut turn, mut waited) = (None, Vec::new());
        // Nobody overtakes who waits already.
        let busy = (0..wants.len())
            .find(|at| deadline(*at).is_some() && remote.lines.is_busy(&wants[*at].key));
        if let Some((at, until)) = busy.and_then(|at| Some((at, deadline(at)?))) {
            turn = remote.lines.join(&wants[at].key, until).await.0;
            waited.push(at);
        }
        loop {
            if remote.store.is_away() {
                return self.alone(claims, here).await;
            }
            let wall = self.now().wall;
            let take = Take { id: remote.store.id(), wants: wants.clone(), wall };
            let lacks = match patience.wait(remote.store.take(take.clone())).await {
                Some(Verdict::Taken(had)) => {
                    let mut undo = Undo { remote: &remote, take: Some(take) };
                    let (mut here, line) = self.beside(here).await?;
                    let Some(take) = undo.take.take() else { return Err("taken once".into()) };
                    self.granted(&mut claims, (&wants, &had), &waited, arrived);
                    remote.repay(self.now());
                    claims.append(&mut here);
                    let waited = line || !waited.is_empty();
                    return Ok(Granted { claims, loan: Loan::Taken(take), waited });
                }
                Some(Verdict::Refused(lacks)) => lacks,
                Some(Verdict::Settled) | None => return self.alone(claims, here).await,
            };
            if self.downgrade(&mut claims, &lacks) {
                wants = claims.iter().map(|claim| self.want(claim)).collect();
                continue;
            }
            let Some((lack, limit)) = worst(&lacks, deadline) else {
                return self.alone(claims, here).await;
            };
            let now = Instant::now();
            let ready = now + lack.wait.map_or(ASK_AGAIN, Duration::from_nanos);
            let Some(limit) =
                limit.filter(|limit| *limit > now && (lack.wait.is_none() || ready <= *limit))
            else {
                return Err(self.lacks(&claims[lack.want], lack).into());
            };
            if !waited.contains(&lack.want) {
                waited.push(lack.want);
            }
            let key = &wants[lack.want].key;
            if turn.as_ref().is_none_or(|turn| turn.key != *key) {
                drop(turn.take());
                let (mine, late) = remote.lines.join(key, limit).await;
                turn = mine;
                if late {
                    continue;
                }
            }
            sleep_until(ready.min(limit)).await;
            patience.renew();
        }
    }

    /// The local tables are one instance's share.
    fn divide(&self, remote: &Remote) {
        let instances = remote.store.instances();
        if remote.instances.swap(instances, Ordering::Relaxed) == instances {
            return;
        }
        let (places, now) = (self.places(), self.now());
        let mut core = self.lock();
        if core.generation != places.generation {
            return;
        }
        for (rule, table) in self.rules.iter().zip(&places.tables) {
            core.tables[*table as usize].reshape(&self.table(rule), now);
        }
    }

    fn want(&self, claim: &Claim) -> Want {
        let rule = self.rule(claim.rule);
        let key = name(rule, &claim.key);
        let ((shape, _), enforce) = (self.in_force(claim, rule), rule.limit.enforced());
        // Who is over it goes on, and owes what it uses.
        let force = claim.over.is_some();
        let amount = if force { 0 } else { claim.amount };
        let borrow = rule.limit.borrow().min(shape.capacity / 10);
        let tell = shape.warn.map(|_| self.tell(rule, claim, shape.capacity));
        Want { key, shape, amount, enforce, force, borrow, tell }
    }

    /// Tells what the store finds when the request is settled.
    fn tell(&self, rule: &Rule, claim: &Claim, capacity: u64) -> Tell {
        let (hook, unit) = (self.hook.clone(), rule.unit);
        let (limit, key) = (rule.limit.name().clone(), claim.key.clone());
        Tell::new(move |crossing| {
            let kind = match crossing {
                Crossing::Warned { used } => EventKind::Warned { used, capacity },
                Crossing::Filled { used } => EventKind::Filled { used, capacity },
            };
            hook.on(&Event { limit: limit.clone(), unit, key: key.clone(), kind });
        })
    }

    /// Who wants more than there ever is takes all that there is, where the rule says so.
    fn bound(&self, claims: &mut [Claim]) {
        for claim in claims {
            let rule = self.rule(claim.rule);
            if rule.bounded {
                claim.amount = claim.amount.min(self.in_force(claim, rule).0.capacity);
            }
        }
    }

    fn max_wait(&self, claim: &Claim) -> Option<Duration> {
        match self.rule(claim.rule).limit.when_full() {
            WhenFull::Reject | WhenFull::Downgrade => None,
            // A century is for ever, and no overflow.
            WhenFull::Wait(time) => Some(time.min(Duration::from_secs(100 * 365 * 86_400))),
        }
    }

    /// Counts here what the store granted, and tells of it.
    fn granted(
        &self,
        claims: &mut [Claim],
        (wants, had): (&[Want], &[Had]),
        waited: &[usize],
        arrived: Instant,
    ) {
        let mut effects = Effects::default();
        for (at, ((claim, want), had)) in claims.iter_mut().zip(wants).zip(had).enumerate() {
            claim.stage = if had.taken { Stage::Open } else { Stage::Passed };
            if had.climbed {
                let capacity = want.shape.capacity;
                let kind = EventKind::Warned { used: had.used, capacity };
                effects.events.push(self.event(claim, kind));
            }
            if waited.contains(&at) {
                let kind = EventKind::Waited(arrived.elapsed());
                effects.events.push(self.event(claim, kind));
            }
        }
        let now = self.now();
        self.lock().mirror(claims, now, &mut effects);
        self.finish(effects);
    }

    fn event(&self, claim: &Claim, kind: EventKind) -> Event {
        let rule = self.rule(claim.rule);
        let (limit, key) = (rule.limit.name().clone(), claim.key.clone());
        Event { limit, unit: rule.unit, key, kind }
    }

    /// The store refuses.
    fn lacks(&self, claim: &Claim, lack: &Lack) -> LimitExceeded {
        let rule = self.rule(claim.rule);
        let retry_after = lack.wait.map(Duration::from_nanos);
        let never_fits = lack.never_fits;
        let view = self.view(claim, lack);
        let available = view.capacity.saturating_sub(view.used);
        let asked = claim.amount;
        let kind = EventKind::Refused { never_fits, asked, available, retry_after };
        let events = vec![self.event(claim, kind)];
        self.finish(Effects { events, ..Effects::default() });
        LimitExceeded::new(super::tell(rule, view), retry_after, never_fits)
    }

    /// Whether some of what is lacking is of limits that let such requests go on; the next take
    /// takes nothing of these.
    fn downgrade(&self, claims: &mut [Claim], lacks: &[Lack]) -> bool {
        let mut found = false;
        for lack in lacks {
            let Some(claim) = claims.get_mut(lack.want) else { continue };
            let rule = self.rule(claim.rule);
            if rule.limit.when_full() != WhenFull::Downgrade || claim.over.is_some() {
                continue;
            }
            let retry_after = lack.wait.filter(|_| !lack.never_fits);
            let (standing, never_fits) = (self.view(claim, lack), lack.never_fits);
            let refusal = Refusal { rule: claim.rule, never_fits, retry_after, standing };
            claim.over = Some(Box::new(refusal));
            found = true;
        }
        found
    }

    /// The store is away: each limit does what it was told to do then.
    async fn alone(
        self: Arc<Self>,
        claims: Vec<Claim>,
        mut here: Vec<Claim>,
    ) -> Result<Granted, BoxError> {
        let event = |claim| self.event(claim, EventKind::DecidedAlone);
        let events = claims.iter().map(event).collect();
        self.finish(Effects { events, ..Effects::default() });
        let mut open = Vec::new();
        for mut claim in claims {
            claim.over = None;
            let rule = self.rule(claim.rule);
            let limit = &rule.limit;
            match limit.when_store_is_away() {
                WhenStoreIsAway::Closed if limit.enforced() => {
                    return Err(StoreAway::new(limit.name().clone()).into());
                }
                WhenStoreIsAway::Local => {
                    // Larger than a share is not larger than the limit.
                    let (whole, _) = self.in_force(&claim, rule);
                    if claim.amount <= whole.capacity {
                        claim.amount = claim.amount.min(self.local(rule, whole).capacity);
                    }
                    here.push(claim);
                }
                _ => open.push(claim),
            }
        }
        let (mut claims, waited) = self.beside(here).await?;
        let mut effects = Effects::default();
        let now = self.now();
        self.lock().mirror(&mut open, now, &mut effects);
        self.finish(effects);
        claims.append(&mut open);
        Ok(Granted { claims, loan: Loan::Alone, waited })
    }

    /// Decides by the local limits; also whether that was waited for.
    async fn beside(
        self: &Arc<Self>,
        claims: Vec<Claim>,
    ) -> Result<(Vec<Claim>, bool), LimitExceeded> {
        match self.enter_here(claims) {
            Entry::Admitted(claims) => Ok((claims, false)),
            Entry::Refused(error) => Err(error),
            Entry::Waiting(place) => Ok((in_line(place).await?, true)),
            Entry::Asking(_) => Ok((Vec::new(), false)),
        }
    }

    /// Tells the store what was used. Never waits.
    pub(crate) fn give_back(&self, loan: Loan, claims: &[Claim]) {
        let Some(remote) = &self.remote else { return };
        match loan {
            Loan::Taken(Take { id, wants, wall }) => {
                // Behind them come those that were decided here.
                let spent = claims.iter().take(wants.len()).map(|claim| claim.spent).collect();
                remote.store.settle(Settlement { id, wants, spent, wall });
            }
            Loan::Alone => {
                let now = self.now();
                for claim in claims.iter().filter(|claim| claim.stage == Stage::Taken) {
                    let rule = self.rule(claim.rule);
                    if rule.here {
                        continue;
                    }
                    let want = Want { force: false, ..self.want(claim) };
                    let share = self.local(rule, want.shape);
                    remote.owe(want, share, claim.spent, now);
                }
                self.repay();
                if remote.debtors() > 0 {
                    remote.repay_later(now);
                }
            }
        }
    }

    /// Tells the store what was used without it, if it is there.
    pub(crate) fn repay(&self) {
        if let Some(remote) = self.remote.as_ref().filter(|remote| !remote.store.is_away()) {
            remote.repay(self.now());
        }
    }

    pub(crate) fn owed(&self) -> usize {
        self.remote.as_ref().map_or(0, |remote| remote.debtors())
    }

    /// A shape in the local tables.
    pub(super) fn local(&self, rule: &Rule, whole: Shape) -> Shape {
        self.parts(rule).map_or(whole, |parts| share(whole, parts))
    }

    /// Instances that the local table of a rule is one's share of; `None`: it is the whole.
    pub(super) fn parts(&self, rule: &Rule) -> Option<u32> {
        let remote = self.remote.as_ref().filter(|_| !rule.here)?;
        Some(remote.instances.load(Ordering::Relaxed))
    }

    /// What a store tells of a limit without room.
    fn view(&self, claim: &Claim, lack: &Lack) -> View {
        let (Shape { capacity, .. }, own) = self.in_force(claim, self.rule(claim.rule));
        View { capacity, used: lack.used, held: 0, waiting: 0, reset: lack.reset, own }
    }

    /// Whether the local tables decide it.
    pub(super) fn is_here(&self, rule: &Rule) -> bool {
        self.remote.is_none() || rule.here
    }
}

/// Gives back what a store granted, unless the request goes on.
struct Undo<'a> {
    remote: &'a Remote,
    take: Option<Take>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(Take { id, wants, wall }) = self.take.take() {
            let spent = vec![0; wants.len()];
            self.remote.store.settle(Settlement { id, wants, spent, wall });
        }
    }
}

/// Waits in the local line.
async fn in_line(place: Place) -> Result<Vec<Claim>, LimitExceeded> {
    let mut place = place;
    loop {
        let asked = poll_fn(|cx| Poll::Ready(place.poll(cx))).await;
        let until = match asked {
            Ok(outcome) => return outcome,
            Err(until) => until,
        };
        // Whoever makes room wakes the task: then the place is asked again, too.
        let mut sleep = pin!(sleep_until(until));
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

/// Of what is lacking that which lasts longest, and until when it is waited for: not at all if one
/// of them refuses.
fn worst(
    lacks: &[Lack],
    deadline: impl Fn(usize) -> Option<Instant>,
) -> Option<(&Lack, Option<Instant>)> {
    let until = |lack: &Lack| deadline(lack.want).filter(|_| !lack.never_fits);
    let refuses = lacks.iter().any(|lack| until(lack).is_none());
    let rank = |lack: &&Lack| (lack.never_fits, lack.wait.unwrap_or(u64::MAX));
    let some = lacks.iter().filter(|lack| !refuses || until(lack).is_none());
    let worst = some.max_by_key(rank)?;
    let limit = lacks.iter().map(until).min().flatten();
    Some((worst, limit))
}

/// The name of one key of a limit in a store.
pub(super) fn name(rule: &Rule, key: &Key) -> Arc<str> {
    let mut name = prefix(rule);
    key.write(&mut name);
    name.into()
}

/// What the names of its keys begin with.
pub(super) fn prefix(rule: &Rule) -> String {
    let limit = rule.memory();
    let mut name = String::with_capacity(limit.len() + 32);
    name.push_str(limit);
    // Instances whose policies differ for a while would each take the other's for nothing.
    name.push_str(match rule.limit.shape().kind {
        Kind::Bucket { .. } => ".bucket",
        Kind::Window { .. } => ".sliding",
        Kind::Calendar(_) => ".calendar",
        Kind::Concurrent => ".places",
    });
    if let Some(scope) = &rule.scope {
        name.push('/');
        name.push_str(scope);
    }
    name.push(':');
    name
}
