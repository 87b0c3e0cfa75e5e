//! What an operator asks: how keys stand, and that all they have used is given back.

use std::{sync::Arc, time::Duration};

use super::{How, Inner, RedisLimits, write};
use crate::{
    StoreError,
    limits::{Seen, Want},
};

/// An operator waits for it, and no request does.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names looked at in one step.
const PAGE: usize = 1_000;
/// In a script, as on a cluster its key says which server is meant.
const SCAN: &str = "return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])";

impl RedisLimits {
    pub(super) async fn find(
        &self,
        prefix: &str,
        from: u64,
    ) -> Result<(Vec<Arc<str>>, Option<u64>), StoreError> {
        let inner = &self.inner;
        let all = inner.names.limit("");
        let mut command = ::redis::cmd("EVAL");
        command.arg(SCAN).arg(1).arg(inner.names.instances());
        command.arg(from).arg(literally(&inner.names.limit(prefix)) + "*").arg(PAGE);
        let ask = async |mut link| command.query_async::<(u64, Vec<String>)>(&mut link).await;
        let (next, found) = inner.redis.ask(PATIENCE, ask).await?;
        let names = found.iter().filter_map(|name| name.strip_prefix(&all));
        Ok((names.map(Arc::from).collect(), Some(next).filter(|next| *next > 0)))
    }

    pub(super) async fn forget(&self, keys: &[Arc<str>]) -> Result<Vec<Arc<str>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.inner.redis.ask(PATIENCE, async |mut link| {
            // Its text: it is seldom asked for.
            self.inner.reset(keys).query_async::<Vec<usize>>(&mut link).await
        });
        let found = found.await?.into_iter();
        Ok(found.filter_map(|at| keys.get(at.checked_sub(1)?).cloned()).collect())
    }
}

impl RedisLimits {
    pub(super) async fn see(&self, wants: &[Want], wall: u64) -> Result<Vec<Seen>, StoreError> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.inner.redis.ask(PATIENCE, async |mut link| {
            self.inner.look(wants, wall).query_async::<Vec<i64>>(&mut link).await
        });
        let seen = |one: &[i64]| match *one {
            [used, held, reset] => Seen {
                used: u64::try_from(used).unwrap_or(0),
                held: u64::try_from(held).ok(),
                reset: u64::try_from(reset).ok().map(|micros| micros.saturating_mul(1_000)),
            },
            _ => Seen::default(),
        };
        Ok(found.await?.chunks_exact(3).map(seen).collect())
    }
}

impl Inner {
    fn look(&self, wants: &[Want], wall: u64) -> ::redis::Cmd {
        let mut command = self.scripts.look.command(false);
        command.arg(wants.len() + 1).arg(self.names.instances());
        for want in wants {
            command.arg(self.names.limit(&want.key));
        }
        for want in wants {
            write(&mut command, want, 0, wall, How::Asked);
        }
        command
    }

    fn reset(&self, keys: &[Arc<str>]) -> ::redis::Cmd {
        let mut command = self.scripts.reset.command(false);
        command.arg(keys.len());
        for key in keys {
            command.arg(self.names.limit(key));
        }
        command
    }
}

/// A pattern that this text alone fits.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
