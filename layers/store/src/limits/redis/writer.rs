//! What no request waits for: settlements, charges, leases, the sign of life. One task, so that a
//! lease is never renewed behind the settlement that ends it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ::redis::{ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout_at},
};

use super::{Inner, Settlement, Take, script::How};
use crate::{limits::Crossing, redis::Link};

/// Written together.
const BATCH: usize = 256;
/// No request waits for these.
const PATIENCE: Duration = Duration::from_secs(1);
/// Leases renewed by one command.
const RENEWED: usize = 100;
/// How often an instance tells that it lives, at least, and learns of others.
const SIGN: Duration = Duration::from_millis(500);
/// How soon it tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// A quarter of a slice's life.
const TICK: Duration = Duration::from_millis(250);

pub(super) enum Job {
    Settle(Settlement),
    /// The reservation goes on, of another amount.
    Adjust(Settlement),
    Charge(Take),
    /// Everything before is written.
    Tell(oneshot::Sender<()>),
}

/// Ends when nobody has the limits any more and the queue is empty.
pub(super) async fn run(inner: Arc<Inner>, mut jobs: mpsc::Receiver<Job>) {
    let every = Duration::from_millis(inner.lease / 3);
    let (mut beat, mut renew) = (Instant::now(), Instant::now());
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let now = Instant::now();
        if beat <= now {
            let renews = renew <= now;
            let told = inner.beat(true, renews).await;
            if told && renews {
                renew = now + every;
            }
            beat = Instant::now() + if told { every.min(SIGN) } else { every.min(AGAIN) };
        }
        match timeout_at(beat, jobs.recv_many(&mut batch, BATCH)).await {
            Ok(0) => break,
            Ok(_) => inner.write(std::mem::take(&mut batch)).await,
            Err(_) => {}
        }
    }
    inner.beat(false, false).await;
}

/// Ends the lives of slices, until nobody has the limits any more.
pub(super) async fn tick(inner: Arc<Inner>, queue: mpsc::WeakSender<Job>) {
    loop {
        sleep(TICK).await;
        let Some(queue) = queue.upgrade() else { return };
        inner.trouble.look(inner.redis.away());
        inner.slices().tick();
        inner.give_back(&queue);
    }
}

impl Inner {
    /// Tries until it is written, or the store says that it never will be.
    async fn write(&self, batch: Vec<Job>) {
        loop {
            let error = match self.send(|known| self.pipe(&batch, known)).await {
                Ok(answers) => {
                    tell(&batch, &answers);
                    break;
                }
                Err(error) => error,
            };
            if !error.is_away() {
                let given_up = batch.iter().filter(|job| !matches!(job, Job::Tell(_))).count();
                self.counts.lost.fetch_add(given_up as u64, Ordering::Relaxed);
                break;
            }
            let mut away = self.redis.watch();
            let _ = away.wait_for(Option::is_none).await;
            // A store that comes and goes at once is no reason to spin.
            sleep(Duration::from_millis(1)).await;
        }
        for job in batch {
            if let Job::Tell(told) = job {
                let _ = told.send(());
            }
        }
    }

    fn pipe(&self, batch: &[Job], known: bool) -> Pipeline {
        let mut pipe = Pipeline::with_capacity(batch.len());
        // The text once is enough: all keys are on one server.
        let (mut settle, mut take) = (known, known);
        for job in batch {
            match job {
                Job::Settle(settlement) | Job::Adjust(settlement) => {
                    let lives = matches!(job, Job::Adjust(_));
                    pipe.add_command(self.settlement(settlement, lives, settle));
                    settle = true;
                }
                Job::Charge(charge) => {
                    pipe.add_command(self.take(charge, How::Forced, take));
                    take = true;
                }
                Job::Tell(_) => {}
            }
        }
        pipe
    }

    /// Tells that this instance lives (or leaves), renews its leases if they are due, and learns of the
    /// others; whether it came through.
    async fn beat(&self, lives: bool, renews: bool) -> bool {
        let leases: Vec<_> = {
            let leases = self.leases();
            let each = |(id, all): (&u64, &Vec<_>)| {
                all.iter().map(|(key, amount)| (*id, Arc::clone(key), *amount)).collect::<Vec<_>>()
            };
            leases.iter().filter(|_| renews).flat_map(each).collect()
        };
        let pipe = |known| {
            let mut pipe = Pipeline::new();
            let mut command = self.scripts.beat.command(known);
            command.arg(1).arg(self.names.instances()).arg(self.names.instance());
            pipe.add_command(command.arg(self.lease).arg(u8::from(lives)).clone());
            let mut known = known;
            for some in leases.chunks(RENEWED) {
                let mut command = self.scripts.renew.command(known);
                known = true;
                command.arg(some.len() * 2);
                for (id, key, _) in some {
                    command.arg(self.names.limit(key)).arg(self.names.reservation(*id));
                }
                command.arg(self.lease);
                for (id, _, amount) in some {
                    command.arg(*amount).arg(self.names.lease(*id));
                }
                pipe.add_command(command);
            }
            pipe
        };
        let Ok(answers) = self.send(pipe).await else { return false };
        if let Some(Value::Int(instances)) = answers.first() {
            self.count(*instances);
            self.known.send_replace(true);
        }
        true
    }

    async fn send(
        &self,
        pipe: impl Fn(bool) -> Pipeline + Send + Sync,
    ) -> Result<Vec<Value>, crate::StoreError> {
        let known = pipe(true);
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let ask = async |mut link: Link| -> RedisResult<Vec<Value>> {
            match known.query_async(&mut link).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    pipe(false).query_async(&mut link).await
                }
                answer => answer,
            }
        };
        self.redis.ask(PATIENCE, ask).await.inspect_err(|error| self.failed(error))
    }
}

/// Tells of marks that these jobs crossed: each answers a number, then flags and use of each want.
fn tell(batch: &[Job], answers: &[Value]) {
    let jobs = batch.iter().filter_map(|job| match job {
        Job::Settle(settlement) | Job::Adjust(settlement) => Some((&settlement.wants, [0, 1])),
        Job::Charge(take) => Some((&take.wants, [1, 0])),
        Job::Tell(_) => None,
    });
    for ((wants, [flags, used]), answer) in jobs.zip(answers) {
        let Value::Array(answer) = answer else { continue };
        for (want, pair) in wants.iter().zip(answer.get(1..).unwrap_or_default().chunks_exact(2)) {
            let (Some(tell), Some(Value::Int(flags)), Some(Value::Int(used))) =
                (&want.tell, pair.get(flags), pair.get(used))
            else {
                continue;
            };
            let used = u64::try_from(*used).unwrap_or(0);
            if flags & 2 != 0 {
                tell.hear(Crossing::Warned { used });
            }
            if flags & 4 != 0 {
                tell.hear(Crossing::Filled { used });
            }
        }
    }
}
