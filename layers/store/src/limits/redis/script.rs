//! The scripts, and how wants are written for them.

use std::sync::Arc;

use ::redis::{Cmd, Script};

use crate::limits::{
    Kind, Want,
    calendar::{at_least, span},
};

/// The server's clock is the only one.
pub(super) const CLOCK: &str = "local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
";

/// Whole numbers that a double holds.
const EXACT: u64 = 1 << 53;

/// A script by its hash; by its text only for a server that doesn't know it.
#[derive(Debug)]
pub(super) struct Code {
    hash: String,
    text: String,
}

impl Code {
    /// `first`: the place of the first want's first argument.
    fn new(clock: &str, first: u32, body: &str) -> Self {
        let common = include_str!("common.lua");
        let text = format!("{clock}local FIRST = {first}\n{common}{body}");
        Self { hash: Script::new(&text).get_hash().to_owned(), text }
    }

    pub(super) fn command(&self, known: bool) -> Cmd {
        let (name, script) = if known { ("EVALSHA", &self.hash) } else { ("EVAL", &self.text) };
        let mut command = ::redis::cmd(name);
        command.arg(script);
        command
    }
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) take: Code,
    pub(super) settle: Code,
    pub(super) renew: Code,
    pub(super) beat: Code,
    pub(super) reset: Code,
    pub(super) look: Code,
}

impl Scripts {
    pub(super) fn new(clock: &str) -> Self {
        Self {
            take: Code::new(clock, 5, include_str!("take.lua")),
            settle: Code::new(clock, 4, include_str!("settle.lua")),
            renew: Code::new(clock, 1, include_str!("renew.lua")),
            beat: Code::new(clock, 1, include_str!("beat.lua")),
            reset: Code::new(clock, 1, include_str!("reset.lua")),
            look: Code::new(clock, 1, include_str!("look.lua")),
        }
    }
}

/// Names of everything that limits keep. One hash tag: on a cluster one server has them all, or no
/// script could decide them at once.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    instance: String,
    instances: String,
}

impl Names {
    pub(super) fn new(prefix: &str, instance: String) -> Self {
        let prefix = format!("{{{prefix}}}");
        Self { instances: format!("{prefix}:instances"), prefix, instance }
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn instances(&self) -> &str {
        &self.instances
    }

    pub(super) fn limit(&self, key: &str) -> String {
        format!("{}:limit:{key}", self.prefix)
    }

    pub(super) fn lease(&self, id: u64) -> String {
        format!("{}-{id}", self.instance)
    }

    pub(super) fn reservation(&self, id: u64) -> String {
        format!("{}:held:{}-{id}", self.prefix, self.instance)
    }

    /// The keys of a settlement, with their number before them.
    pub(super) fn keys(&self, command: &mut Cmd, id: u64, wants: &Arc<[Want]>) {
        self.counted(command, id, wants, wants.len() + 1);
    }

    /// The same of a take, which is told how many instances there are.
    pub(super) fn keys_of_take(&self, command: &mut Cmd, id: u64, wants: &Arc<[Want]>) {
        self.counted(command, id, wants, wants.len() + 2);
        command.arg(self.instances());
    }

    fn counted(&self, command: &mut Cmd, id: u64, wants: &Arc<[Want]>, many: usize) {
        command.arg(many).arg(self.reservation(id));
        for want in wants.iter() {
            command.arg(self.limit(&want.key));
        }
    }
}

/// How something is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// As each want says.
    Asked,
    /// Whether there is room or not.
    Forced,
    /// As a slice: only while the limit is far from full.
    Lent,
}

/// Nine numbers of a want, as common.lua reads them. `amount` is what is taken, or was spent.
pub(super) fn write(command: &mut Cmd, want: &Want, amount: u64, wall: u64, how: How) {
    let shape = &want.shape;
    let (kind, [a, b, c, d]) = match shape.kind {
        Kind::Bucket { rate, per } => {
            let (rate, per) = in_micros(rate, per);
            (0, [rate, per, 0, 0])
        }
        Kind::Window { window } => (1, [window.div_ceil(1_000), 0, 0, 0]),
        Kind::Calendar(period) => {
            let (start, end) = span(period, wall);
            let (_, next) = span(period, end);
            (2, [start, end, next, at_least(period)].map(|nanos| nanos / 1_000))
        }
        Kind::Concurrent => (3, [0, 0, 0, want.amount.min(EXACT)]),
    };
    let warn = shape.warn.unwrap_or(0);
    let enforce = match (how, want.force) {
        (How::Lent, _) => 3,
        (_, true) => 2,
        _ => u64::from(want.enforce),
    };
    for number in [kind, amount, shape.capacity, warn, enforce, a, b, c, d] {
        command.arg(number.min(EXACT));
    }
}

/// What comes back in a microsecond, and the parts of a unit in which that is whole.
fn in_micros(rate: u64, per: u64) -> (u64, u64) {
    let (rate, per) = (u128::from(rate.max(1)) * 1_000, u128::from(per.max(1)));
    let (mut a, mut b) = (rate, per);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let (mut rate, mut per) = (rate / a, per / a);
    while rate.max(per) > EXACT.into() {
        (rate, per) = (rate / 2, per / 2);
    }
    // Both fit: they were just made to.
    (rate.max(1) as u64, per.max(1) as u64)
}
