//! Limits in Redis: one script decides all of a request, by the server's clock.

mod operator;
mod script;
#[cfg(test)]
mod slices_tests;
#[cfg(test)]
mod tests;
mod trouble;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{ErrorKind, Pipeline, RedisResult, ServerErrorKind, aio::ConnectionLike};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use self::{
    script::{CLOCK, How, Names, Scripts, write},
    trouble::Trouble,
    writer::Job,
};
use super::{
    Deciding, Figures, Finding, Had, Kind, Lack, Looking, Resetting, Settlement, SharedLimits,
    Take, Verdict, Want,
    slices::{Lend, Plan, Slices},
};
use crate::{
    StoreError,
    redis::{Redis, Shared},
};

/// A reservation that isn't settled by then stays as it was taken. In milliseconds.
const RESERVED: u64 = 3_600_000;
/// So long a take may be late that was given up.
const SETTLED: u64 = 120_000;
/// Settlements that wait to be written.
const QUEUE: usize = 65_536;

/// Limits that all instances on one Redis share.
///
/// A request is one round trip, settled in another one behind it. Every key begins with
/// `{prefix}:`, so that on a cluster one server has them all. What Redis loses (a flush, a restart
/// without its file) starts over; leases of requests under way are there again within seconds.
/// Slices ([`Want::borrow`]) come with the answer to a request, and live for a second at most.
///
/// ```no_run
/// use tollway_store::{limits::RedisLimits, redis::{Redis, RedisConfig}};
///
/// let redis = Redis::open(RedisConfig::parse("redis://127.0.0.1")?)?;
/// let limits = RedisLimits::new(redis);
/// # Ok::<_, tollway_store::StoreError>(())
/// ```
pub struct RedisLimits {
    inner: Arc<Inner>,
    queue: mpsc::Sender<Job>,
    redis: Redis,
}

/// By reservation the keys of its leases, and how much of each.
type Leases = HashMap<u64, Vec<(Arc<str>, u64)>>;

/// What the writer has too; it must not hold the `Redis` whose thread runs it.
struct Inner {
    redis: Arc<Shared>,
    scripts: Scripts,
    names: Names,
    lease: u64,
    next: AtomicU64,
    counts: Counts,
    instances: AtomicU32,
    /// Whether the store has told how many instances there are.
    known: watch::Sender<bool>,
    trouble: Trouble,
    leases: Mutex<Leases>,
    slices: Mutex<Slices>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicU64,
    borrowed: AtomicU64,
    unanswered: AtomicU64,
    lost: AtomicU64,
}

impl RedisLimits {
    /// Limits there, under a name of chance for this instance, with leases of ten seconds.
    pub fn new(redis: Redis) -> Self {
        Self::with_lease(redis, Duration::from_secs(10))
    }

    /// The same, with another time after which what a dead instance had under way is free again.
    /// Three times in it each instance tells that it lives.
    pub fn with_lease(redis: Redis, lease: Duration) -> Self {
        Self::with_clock(redis, lease, CLOCK)
    }

    fn with_clock(redis: Redis, lease: Duration, clock: &str) -> Self {
        let shared = redis.shared().clone();
        // Two of them, as a name should not come twice in a century.
        let chance = [(); 2].map(|()| RandomState::new().hash_one(std::process::id()));
        let instance = format!("{:016x}{:08x}", chance[0], chance[1] as u32);
        let inner = Arc::new(Inner {
            names: Names::new(shared.config().key_prefix(), instance),
            redis: shared,
            scripts: Scripts::new(clock),
            lease: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).clamp(30, RESERVED),
            next: AtomicU64::new(0),
            counts: Counts::default(),
            instances: AtomicU32::new(1),
            known: watch::Sender::new(false),
            trouble: Trouble::default(),
            leases: Mutex::default(),
            slices: Mutex::default(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        redis.spawn(writer::run(inner.clone(), jobs));
        redis.spawn(writer::tick(inner.clone(), queue.downgrade()));
        Self { inner, queue, redis }
    }

    /// Waits until everything that was settled and charged before is written; for ever if the
    /// store stays away.
    pub async fn written(&self) {
        let (told, done) = oneshot::channel();
        if self.queue.send(Job::Tell(told)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Waits until the store has told how many instances there are, but not for longer than `most`;
    /// whether it has. Before, an instance knows of no other, and its share is the whole. Blocks.
    pub fn wait_known(&self, most: Duration) -> bool {
        let mut known = self.inner.known.subscribe();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.redis.spawn(async move {
            let word = timeout(most, known.wait_for(|known| *known)).await;
            let _ = tell.send(matches!(word, Ok(Ok(_))));
        });
        told.recv().unwrap_or(false)
    }

    /// Hears once why the store can't be asked, and once that it can be again (`None`): on the store's
    /// thread. The first who asks to hear does.
    pub fn on_trouble(&self, hear: impl Fn(Option<&str>) + Send + Sync + 'static) {
        self.inner.trouble.hear(Box::new(hear));
    }

    fn push(&self, job: Job) {
        if self.queue.try_send(job).is_err() {
            self.inner.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn decide(&self, take: Take) -> Result<Verdict, StoreError> {
        let inner = &*self.inner;
        if take.wants.iter().all(|want| want.borrow == 0) {
            return Ok(self.ask(&take, &[]).await?.0);
        }
        let plan = inner.slices().plan(&take, || self.id());
        let (wants, lends) = match plan {
            Plan::Ask(wants, lends) => (wants, lends),
            Plan::Here(had) => {
                inner.counts.borrowed.fetch_add(1, Ordering::Relaxed);
                return Ok(Verdict::Taken(had));
            }
        };
        let mut parts = Parts { inner, id: take.id, lends, taken: false };
        let asked = Take { wants, ..take };
        let (mut verdict, lent) = self.ask(&asked, &parts.lends).await?;
        let mut slices = inner.slices();
        match &mut verdict {
            Verdict::Taken(had) => {
                parts.taken = true;
                for (lend, lent) in parts.lends.iter().zip(&lent) {
                    if let (Some(had), Some(lent)) = (had.get_mut(lend.at), lent) {
                        had.climbed |= lent.climbed;
                    }
                }
            }
            // What it had itself is no obstacle.
            Verdict::Refused(lacks) => lacks.iter_mut().for_each(|lack| {
                lack.used = lack.used.saturating_sub(slices.part(asked.id, lack.want));
            }),
            Verdict::Settled => {}
        }
        for (lend, had) in parts.lends.drain(..).zip(lent) {
            slices.lent(lend, asked.wall, had);
        }
        // Its lock is taken anew.
        drop(slices);
        Ok(verdict)
    }

    /// Asks for a take, and for slices that hold up nobody.
    async fn ask(
        &self,
        take: &Take,
        lends: &[Lend],
    ) -> Result<(Verdict, Vec<Option<Had>>), StoreError> {
        let inner = &*self.inner;
        let limit = self.redis.config().timeout;
        inner.counts.asked.fetch_add(1, Ordering::Relaxed);
        let answer = inner.redis.ask(limit, async |mut link| {
            // From here on it may have been taken, whether an answer comes or not.
            let mut undo = Undo { limits: self, takes: Some((take, lends)) };
            let answer = inner.evaluate(&mut link, take, lends).await;
            if answer.is_ok() {
                undo.takes = None;
            }
            answer
        });
        let answers = answer.await.inspect_err(|error| {
            inner.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            inner.failed(error);
        })?;
        if let Some(instances) = answers.first().and_then(|answer| answer.last()) {
            inner.count(*instances);
        }
        let mut verdicts = answers.iter().map(|answer| verdict(answer));
        let verdict = verdicts.next().flatten().ok_or_else(|| {
            StoreError::wrong(format!(
                "{} gave an answer that makes no sense",
                inner.redis.config()
            ))
        })?;
        if let Verdict::Taken(had) = &verdict {
            inner.lend(take, had);
        }
        let lent = verdicts.map(|verdict| match verdict {
            Some(Verdict::Taken(had)) => had.first().copied(),
            _ => None,
        });
        Ok((verdict, lent.collect()))
    }
}

/// What a take has of slices and asks for, until it is decided.
struct Parts<'a> {
    inner: &'a Inner,
    id: u64,
    lends: Vec<Lend>,
    taken: bool,
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        if self.taken && self.lends.is_empty() {
            return;
        }
        let mut slices = self.inner.slices();
        self.lends.drain(..).for_each(|lend| slices.lent(lend, 0, None));
        if !self.taken {
            slices.cancel(self.id);
        }
    }
}

/// Gives back what may have been taken, unless the answer came.
struct Undo<'a> {
    limits: &'a RedisLimits,
    takes: Option<(&'a Take, &'a [Lend])>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Some((take, lends)) = self.takes.take() else { return };
        let lends = lends.iter().map(|lend| (lend.id, &lend.wants));
        for (id, wants) in std::iter::once((take.id, &take.wants)).chain(lends) {
            let (wants, spent) = (wants.clone(), vec![0; wants.len()]);
            self.limits.push(Job::Settle(Settlement { id, wants, spent, wall: take.wall }));
        }
    }
}

impl Inner {
    async fn evaluate(
        &self,
        link: &mut impl ConnectionLike,
        take: &Take,
        lends: &[Lend],
    ) -> RedisResult<Vec<Vec<i64>>> {
        let pipe = |known| {
            let mut pipe = Pipeline::with_capacity(1 + lends.len());
            pipe.add_command(self.take(take, How::Asked, known));
            for Lend { id, wants, .. } in lends {
                let take = Take { id: *id, wants: wants.clone(), wall: take.wall };
                pipe.add_command(self.take(&take, How::Lent, true));
            }
            pipe
        };
        match pipe(true).query_async(link).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                pipe(false).query_async(link).await
            }
            answer => answer,
        }
    }

    fn take(&self, take: &Take, how: How, known: bool) -> ::redis::Cmd {
        let mut command = self.scripts.take.command(known);
        self.names.keys_of_take(&mut command, take.id, &take.wants);
        let force = u8::from(how == How::Forced);
        command.arg(self.names.lease(take.id)).arg(RESERVED).arg(self.lease).arg(force);
        for want in take.wants.iter() {
            write(&mut command, want, want.amount, take.wall, how);
        }
        command
    }

    /// `lives`: the reservation goes on, of that much.
    fn settlement(&self, settlement: &Settlement, lives: bool, known: bool) -> ::redis::Cmd {
        let Settlement { id, wants, spent, wall } = settlement;
        let mut command = self.scripts.settle.command(known);
        self.names.keys(&mut command, *id, wants);
        let memory = if lives { RESERVED } else { SETTLED };
        command.arg(self.names.lease(*id)).arg(memory).arg(u8::from(lives));
        for (want, spent) in wants.iter().zip(spent) {
            write(&mut command, want, *spent, *wall, How::Asked);
        }
        command
    }

    /// So many instances live, this one included once it has told so.
    fn count(&self, instances: i64) {
        let instances = u32::try_from(instances).unwrap_or(0);
        // Who isn't among them was forgotten with the others, and knows better.
        if instances > 0 && self.instances.load(Ordering::Relaxed) != instances {
            self.instances.store(instances, Ordering::Relaxed);
        }
    }

    fn slices(&self) -> MutexGuard<'_, Slices> {
        self.slices.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tells the writer what the store is to count of slices; whether it has room for all.
    fn give_back(&self, queue: &mpsc::Sender<Job>) -> bool {
        self.slices().due(|settlement, lives| {
            let job = if lives { Job::Adjust } else { Job::Settle };
            queue.try_send(job(settlement)).is_ok()
        })
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Remembers the leases of a take, to renew them.
    fn lend(&self, take: &Take, had: &[Had]) {
        let places = take.wants.iter().zip(had).filter(|(want, had)| is_place(want) && had.taken);
        let leases: Vec<_> = places.map(|(want, _)| (want.key.clone(), want.amount)).collect();
        if !leases.is_empty() {
            self.leases().insert(take.id, leases);
        }
    }
}

fn is_place(want: &Want) -> bool {
    want.shape.kind == Kind::Concurrent
}

/// An answer of take.lua; behind it stands the number of instances, which is let be.
fn verdict(answer: &[i64]) -> Option<Verdict> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let nanos = |micros: i64| u64::try_from(micros).ok().map(|m| m.saturating_mul(1_000));
    let (what, rest) = answer.split_first()?;
    Some(match what {
        1 => Verdict::Taken(
            rest.chunks_exact(2)
                .map(|had| match *had {
                    [used, flags] => {
                        Had { used: count(used), taken: flags & 1 != 0, climbed: flags & 2 != 0 }
                    }
                    _ => Had { used: 0, taken: false, climbed: false },
                })
                .collect(),
        ),
        0 => Verdict::Refused(
            rest.chunks_exact(5)
                .filter_map(|lack| match *lack {
                    [at, never, wait, used, reset] => Some(Lack {
                        want: usize::try_from(at).ok()?.checked_sub(1)?,
                        never_fits: never == 1,
                        wait: nanos(wait).filter(|_| never == 0),
                        used: count(used),
                        reset: nanos(reset),
                    }),
                    _ => None,
                })
                .collect(),
        ),
        2 => Verdict::Settled,
        _ => return None,
    })
}

impl SharedLimits for RedisLimits {
    fn id(&self) -> u64 {
        self.inner.next.fetch_add(1, Ordering::Relaxed)
    }

    fn timeout(&self) -> Duration {
        self.redis.config().timeout
    }

    fn take(&self, take: Take) -> Deciding<'_> {
        Box::pin(self.decide(take))
    }

    fn settle(&self, settlement: Settlement) {
        let borrows = settlement.wants.iter().any(|want| want.borrow > 0);
        let rest = if borrows { self.inner.slices().settle(settlement) } else { Some(settlement) };
        let Some(settlement) = rest else { return };
        if settlement.wants.iter().any(is_place) {
            self.inner.leases().remove(&settlement.id);
        }
        self.push(Job::Settle(settlement));
    }

    fn charge(&self, take: Take) {
        self.push(Job::Charge(take));
    }

    fn instances(&self) -> u32 {
        self.inner.instances.load(Ordering::Relaxed).max(1)
    }

    fn is_away(&self) -> bool {
        self.redis.away().is_some()
    }

    fn trouble(&self) -> Option<String> {
        self.inner.trouble.told()
    }

    fn keys<'a>(&'a self, prefix: &'a str, from: u64) -> Finding<'a> {
        Box::pin(self.find(prefix, from))
    }

    fn look<'a>(&'a self, wants: &'a [Want], wall: u64) -> Looking<'a> {
        Box::pin(self.see(wants, wall))
    }

    fn reset<'a>(&'a self, keys: &'a [Arc<str>]) -> Resetting<'a> {
        Box::pin(self.forget(keys))
    }

    fn figures(&self) -> Figures {
        let Counts { asked, borrowed, unanswered, lost } = &self.inner.counts;
        let [asked, borrowed, unanswered, lost] =
            [asked, borrowed, unanswered, lost].map(|count| count.load(Ordering::Relaxed));
        let waiting = self.queue.max_capacity().saturating_sub(self.queue.capacity()) as u64;
        Figures { asked, borrowed, unanswered, waiting, lost }
    }

    fn flush(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.inner.slices().close();
            while !self.inner.give_back(&self.queue) {
                self.written().await;
            }
            self.written().await;
        })
    }
}

impl Drop for RedisLimits {
    fn drop(&mut self) {
        self.inner.slices().close();
        self.inner.give_back(&self.queue);
    }
}

impl fmt::Debug for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimits")
            .field("redis", &self.redis)
            .field("instance", &self.inner.names.instance())
            .finish_non_exhaustive()
    }
}
