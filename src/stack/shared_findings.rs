//! What an instance tells others of its circuits and keys: how it is written, and what of it is
//! meant for a policy.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tollway_circuit_breaker::Reason;
use tollway_core::{ErrorClass, Target};
use tollway_route::facts::Issue;
use tollway_store::board::Note;

use super::{
    Credential, Stack,
    keys::{self, CALLERS_OWN},
    providers::in_words,
};
use crate::policy::{Endpoint, Policy, Provider};

/// Findings of one instance that are told: the rest others find out by themselves.
const MOST: usize = 200;
/// A note of that many is a tenth of this.
const LONGEST: usize = 1 << 20;
/// A note is kept so much longer than what it says holds: until its instance has found out whether
/// that was right.
const LINGERS: Duration = Duration::from_secs(30);
/// Nothing holds longer, in milliseconds.
const YEAR: u64 = 365 * 24 * 3_600_000;
/// What an operator opened stays open elsewhere for as long as its instance says so, and this long.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// What a finding is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The circuit of a target.
    Circuit(Target),
    /// A key, whatever the model.
    Key(Credential),
    /// A provider by one of its keys, which probes found down.
    Health(Target),
}

impl Subject {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Circuit(_) => "circuit",
            Self::Key(_) => "key",
            Self::Health(_) => "health",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Circuit,
    Key,
    Health,
    /// Of a later version.
    #[serde(other)]
    Else,
}

/// One finding as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Finding {
    of: Of,
    provider: Box<str>,
    key: Box<str>,
    model: Option<Box<str>>,
    /// Of which address or secret, in the instance's policy.
    print: Box<str>,
    /// Tells findings of the same thing apart: when it was found, in microseconds of the instance's
    /// own clock.
    pub(super) id: u64,
    /// How long ago it was found, in milliseconds.
    ago: u64,
    /// For how long it holds, in milliseconds; none left: it is being tried. Absent: until an operator
    /// says otherwise.
    left: Option<u64>,
    why: String,
    /// What a provider said of a key.
    class: Option<Box<str>>,
}

/// A note's text.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    found: Vec<Finding>,
}

/// What a stack found by itself, as others are told. What concerns one client's own credential
/// alone stays here.
pub(super) fn found(stack: &Stack, epoch: Instant, now: Instant) -> Vec<Finding> {
    let policy = stack.policy();
    let keys = stack.benches().findings().into_iter().filter(|found| found.key.own.is_none());
    let keys = keys.filter_map(|found| {
        let (subject, times) = (Subject::Key(found.key), (found.found, found.until));
        let class = match found.reason {
            Reason::Benched(class) => Some(class),
            _ => None,
        };
        let why =
            class.map_or_else(|| found.reason.to_string(), |class| in_words(class).to_owned());
        Finding::new(policy, &subject, &why, class, times, (epoch, now))
    });
    let circuits = stack.breakers().findings().into_iter();
    let circuits = circuits.filter(|found| found.key.credential.is_none()).filter_map(|found| {
        let (subject, times) = (Subject::Circuit(found.key.target), (found.found, found.until));
        Finding::new(policy, &subject, &found.reason.to_string(), None, times, (epoch, now))
    });
    let mut all: Vec<_> = keys.chain(circuits).chain(down(stack, epoch, now)).collect();
    // Keys first, then what holds longest.
    all.sort_by_key(|found| {
        (found.of != Of::Key, std::cmp::Reverse(found.left.unwrap_or(u64::MAX)))
    });
    all.truncate(MOST);
    all
}

/// Providers that probes of this instance found down, and that rest.
fn down(stack: &Stack, epoch: Instant, now: Instant) -> Vec<Finding> {
    let (policy, rest) = (stack.policy(), stack.facts().config().health.cooldown);
    let probed = policy.providers.iter().filter(|provider| provider.probe.is_some());
    let targets = probed.flat_map(|provider| {
        let keys = keys::of(provider).into_iter();
        keys.map(|(key, _)| Target::new(provider.name.clone(), key, None))
    });
    let found = targets.filter_map(|target| {
        let issues = stack.facts().slot(&target).facts(now).issues;
        let why = issues.iter().find(|issue| matches!(issue, Issue::ProbesFailing { .. }))?;
        let left = issues.iter().find_map(|issue| match issue {
            Issue::Resting { left } => Some(*left),
            _ => None,
        })?;
        let until = now + left;
        let times = (until.checked_sub(rest).unwrap_or(epoch), Some(until));
        Finding::new(policy, &Subject::Health(target), &why.to_string(), None, times, (epoch, now))
    });
    found.collect()
}

/// The note that says so; none where there is nothing to say.
pub(super) fn note(found: Vec<Finding>) -> Option<Note> {
    let keep = keep(&found);
    let text = (!found.is_empty()).then(|| serde_json::to_vec(&Text { found }).ok());
    text.flatten().map(|text| Note { text, keep })
}

/// What a note says; nothing, where that can't be read.
pub(super) fn read(text: &[u8]) -> Vec<Finding> {
    let text = (text.len() <= LONGEST).then(|| serde_json::from_slice(text).ok());
    let mut found = text.flatten().map_or_else(Vec::new, |text: Text| text.found);
    found.truncate(MOST);
    for found in &mut found {
        // Whatever they say: moments are reckoned from it.
        found.left = found.left.map(|left| left.min(YEAR));
    }
    found
}

/// How long a note of these stays once its instance has fallen silent.
pub(super) fn keep(found: &[Finding]) -> Duration {
    let longest = found.iter().map(|found| found.left.map_or(LEASE, Duration::from_millis)).max();
    longest.unwrap_or_default().saturating_add(LINGERS)
}

impl Finding {
    fn new(
        policy: &Policy,
        of: &Subject,
        why: &str,
        class: Option<ErrorClass>,
        (at, until): (Instant, Option<Instant>),
        (epoch, now): (Instant, Instant),
    ) -> Option<Self> {
        let print = fingerprint(policy, of)?.into();
        let (kind, provider, key, model) = match of {
            Subject::Circuit(target) => (
                Of::Circuit,
                target.provider(),
                target.key(),
                target.model().map(|it| (**it).into()),
            ),
            Subject::Key(key) => (Of::Key, &key.provider, &key.key, None),
            Subject::Health(target) => (Of::Health, target.provider(), target.key(), None),
        };
        Some(Self {
            of: kind,
            provider: (**provider).into(),
            key: (**key).into(),
            model,
            print,
            id: u64::try_from(at.saturating_duration_since(epoch).as_micros()).unwrap_or(u64::MAX),
            ago: millis(now.saturating_duration_since(at)),
            left: until.map(|until| millis(until.saturating_duration_since(now))),
            why: why.to_owned(),
            class: class.map(|class| class.as_str().into()),
        })
    }

    /// What of this policy it is of; `None`: of nothing that it has, or not by the same address
    /// and secret.
    pub(super) fn subject(&self, policy: &Policy) -> Option<Subject> {
        let provider = policy.provider(&self.provider)?;
        let guarded = policy.circuit_breaker.is_some();
        let subject = match self.of {
            Of::Circuit if guarded => {
                let model = self.model.as_deref().map(Into::into);
                Subject::Circuit(Target::new(provider.name.clone(), &*self.key, model))
            }
            Of::Key if guarded || provider.keys.len() > 1 => {
                Subject::Key(Credential::new(provider.name.clone(), &*self.key))
            }
            Of::Health if provider.probe.is_some() => {
                Subject::Health(Target::new(provider.name.clone(), &*self.key, None))
            }
            _ => return None,
        };
        (fingerprint(policy, &subject)? == *self.print).then_some(subject)
    }

    /// When it was found, in a note of this age.
    pub(super) fn found(&self, age: Duration, now: Instant) -> Option<Instant> {
        now.checked_sub(age.saturating_add(Duration::from_millis(self.ago)))
    }

    /// For how long it still holds, in a note of this age; zero: no more.
    pub(super) fn left(&self, age: Duration) -> Duration {
        self.left.map_or(LEASE, Duration::from_millis).saturating_sub(age)
    }

    /// An operator's word.
    pub(super) fn is_firm(&self) -> bool {
        self.left.is_none()
    }

    /// In words, fit for a line of a log.
    pub(super) fn why(&self) -> Arc<str> {
        in_a_line(&self.why)
    }

    pub(super) fn class(&self) -> Option<ErrorClass> {
        let named = self.class.as_deref()?;
        ErrorClass::ALL.into_iter().find(|class| class.as_str() == named)
    }
}

/// What others wrote, in one line.
pub(super) fn in_a_line(text: &str) -> Arc<str> {
    text.chars().filter(|c| !c.is_control()).take(200).collect::<String>().into()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A circuit is of an address, a key of its secret too: what is known of one says nothing of another
/// that has its name in another instance's policy. `None`: the policy has no such provider or key,
/// or it is each client's own.
fn fingerprint(policy: &Policy, of: &Subject) -> Option<String> {
    let (provider, name) = match of {
        Subject::Circuit(target) | Subject::Health(target) => (target.provider(), target.key()),
        Subject::Key(key) => (&key.provider, &key.key),
    };
    let provider = policy.provider(provider)?;
    let has = keys::of(provider).iter().any(|(key, _)| key == name);
    if !has || **name == *CALLERS_OWN {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(address(provider));
    let secret = provider.keys.iter().find(|key| key.name == *name);
    if let (Subject::Key(_) | Subject::Health(_), Some(key)) = (of, secret) {
        hash.update([0]);
        hash.update(key.secret.expose_secret());
    }
    // Enough to tell them apart, and nothing to guess a secret by.
    Some(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

fn address(provider: &Provider) -> String {
    match &provider.endpoint {
        Endpoint::Http(http) => http.base_url.to_string(),
        Endpoint::Simulate(_) => "simulated".to_owned(),
    }
}

impl From<&Subject> for Target {
    fn from(of: &Subject) -> Self {
        match of {
            Subject::Circuit(target) | Subject::Health(target) => target.clone(),
            Subject::Key(key) => Self::new(key.provider.clone(), key.key.clone(), None),
        }
    }
}
