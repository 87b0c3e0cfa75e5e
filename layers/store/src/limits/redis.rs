//! Limits in Redis: one script decides all of a request, by the server's clock.

mod script;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{ErrorKind, RedisResult, ServerErrorKind, aio::ConnectionLike};
use tokio::sync::{mpsc, oneshot};

use self::{
    script::{CLOCK, Names, Scripts, write},
    writer::Job,
};
use super::{Deciding, Had, Kind, Lack, Settlement, SharedLimits, Take, Verdict, Want};
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
    lost: AtomicU64,
    instances: AtomicU32,
    leases: Mutex<Leases>,
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
            lost: AtomicU64::new(0),
            instances: AtomicU32::new(1),
            leases: Mutex::default(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE);
        redis.spawn(writer::run(inner.clone(), jobs));
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

    fn push(&self, job: Job) {
        if self.queue.try_send(job).is_err() {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn decide(&self, take: Take) -> Result<Verdict, StoreError> {
        let inner = &*self.inner;
        let limit = self.redis.config().timeout;
        let answer = inner.redis.ask(limit, async |mut link| {
            // From here on it may have been taken, whether an answer comes or not.
            let mut undo = Undo { limits: self, take: Some(take.clone()) };
            let answer = inner.evaluate(&mut link, &take, false).await;
            if answer.is_ok() {
                undo.take = None;
            }
            answer
        });
        let verdict = verdict(&answer.await?).ok_or_else(|| {
            StoreError::wrong(format!(
                "{} gave an answer that makes no sense",
                inner.redis.config()
            ))
        })?;
        if let Verdict::Taken(had) = &verdict {
            inner.lend(&take, had);
        }
        Ok(verdict)
    }
}

/// Gives back what may have been taken, unless the answer came.
struct Undo<'a> {
    limits: &'a RedisLimits,
    take: Option<Take>,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Some(Take { id, wants, wall }) = self.take.take() else { return };
        let spent = vec![0; wants.len()];
        self.limits.settle(Settlement { id, wants, spent, wall });
    }
}

impl Inner {
    async fn evaluate(
        &self,
        link: &mut impl ConnectionLike,
        take: &Take,
        force: bool,
    ) -> RedisResult<Vec<i64>> {
        match self.take(take, force, true).query_async(link).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.take(take, force, false).query_async(link).await
            }
            answer => answer,
        }
    }

    fn take(&self, take: &Take, force: bool, known: bool) -> ::redis::Cmd {
        let mut command = self.scripts.take.command(known);
        self.names.keys(&mut command, take.id, &take.wants);
        command.arg(self.names.lease(take.id)).arg(RESERVED).arg(self.lease).arg(u8::from(force));
        for want in take.wants.iter() {
            write(&mut command, want, want.amount, take.wall);
        }
        command
    }

    fn settlement(&self, settlement: &Settlement, known: bool) -> ::redis::Cmd {
        let Settlement { id, wants, spent, wall } = settlement;
        let mut command = self.scripts.settle.command(known);
        self.names.keys(&mut command, *id, wants);
        command.arg(self.names.lease(*id)).arg(SETTLED);
        for (want, spent) in wants.iter().zip(spent) {
            write(&mut command, want, *spent, *wall);
        }
        command
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

/// An answer of take.lua.
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

    fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
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
