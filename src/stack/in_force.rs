//! The policy's limits as they hold at the moment: what counts each of them, and for whom.

use std::{net::IpAddr, sync::Arc};

use tollway_rate_limit::{Handle, Key, Part, Standing};
use tollway_store::StoreError;

use super::{
    Stack,
    limits::{Side, rule_name, side},
};
use crate::policy::{Limit, Policy, Quota, Scope};

/// One quota of one limit, and what counts it.
#[derive(Debug)]
pub struct InForce<'a> {
    /// The limit's name, with the unit's where it has several quotas: `user.tokens`.
    pub name: Arc<str>,
    /// The limit as the policy has it.
    pub limit: &'a Limit,
    /// Which of its quotas.
    pub quota: &'a Quota,
    pub(super) handle: Handle,
}

/// Somebody that a limit may count for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A user.
    User(Arc<str>),
    /// A caller's key.
    Key(Arc<str>),
    /// An address.
    Ip(IpAddr),
    /// A provider.
    Provider(Arc<str>),
}

impl Who {
    /// What it counts by for them.
    pub fn scope(&self) -> Scope {
        match self {
            Self::User(_) => Scope::User,
            Self::Key(_) => Scope::Key,
            Self::Ip(_) => Scope::Ip,
            Self::Provider(_) => Scope::Provider,
        }
    }

    /// Who is called so in a scope; `None`: nobody can be.
    pub(super) fn named(scope: &str, name: &str) -> Option<Self> {
        Some(match scope {
            "user" => Self::User(name.into()),
            "key" => Self::Key(name.into()),
            "ip" => Self::Ip(name.parse().ok()?),
            "provider" => Self::Provider(name.into()),
            _ => return None,
        })
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Self::User(name) | Self::Key(name) | Self::Provider(name) => Key::from(name),
            Self::Ip(ip) => Key::network(*ip),
        }
    }
}

impl Stack {
    /// Every quota of every limit, in the policy's order.
    pub fn limits_in_force(&self) -> impl Iterator<Item = InForce<'_>> {
        limits_in_force(&self.policy, &[self.request_limits(), self.attempt_limits()])
    }
}

/// The same of a policy and what counts its limits: once a request, and at each attempt.
pub(super) fn limits_in_force<'a>(
    policy: &'a Policy,
    handles: &[Handle; 2],
) -> impl Iterator<Item = InForce<'a>> + use<'a> {
    let [requests, attempts] = handles.clone();
    policy.limits.iter().flat_map(move |limit| {
        let handle = match side(limit) {
            Side::Request => requests.clone(),
            Side::Attempt => attempts.clone(),
        };
        let name = |quota| rule_name(limit, quota);
        limit.quotas.iter().map(move |quota| InForce {
            name: name(quota),
            limit,
            quota,
            handle: handle.clone(),
        })
    })
}

impl InForce<'_> {
    /// Whether it is meant by this name: its own, or that of the limit of which it is a part.
    pub fn is_called(&self, name: &str) -> bool {
        *self.name == *name || *self.limit.name == *name
    }

    /// Scopes that its keys are made of; none: all share one quota.
    pub(super) fn scopes(&self) -> Vec<&Scope> {
        self.limit.per.iter().filter(|scope| **scope != Scope::All).collect()
    }

    /// Whether it counts for somebody by themselves.
    pub fn counts(&self, who: &Who) -> bool {
        matches!(self.scopes().as_slice(), [one] if **one == who.scope())
    }

    /// Whether a store decides it for several instances.
    pub fn is_shared(&self) -> bool {
        self.handle.is_shared(&self.name)
    }

    /// How many keys it has in memory.
    pub fn keys(&self) -> usize {
        self.handle.keys(&self.name).unwrap_or_default()
    }

    /// How every key stands that it has in memory; one that all share, in any case.
    pub fn all(&self) -> Vec<(Key, Standing)> {
        if self.scopes().is_empty() {
            return self.stands(Key::All);
        }
        self.handle.entries(&self.name).unwrap_or_default()
    }

    /// How it stands for somebody; of a limit by two things, each pair in memory that they are half of.
    /// Nothing, where it doesn't count for them by themselves.
    pub fn of(&self, who: &Who) -> Vec<(Key, Standing)> {
        let scope = who.scope();
        match self.scopes().as_slice() {
            [one] if **one == scope => self.stands(who.key()),
            [_, _] => {
                let mut found = self.handle.entries(&self.name).unwrap_or_default();
                found.retain(|(key, _)| self.is_part(who, key));
                found
            }
            _ => Vec::new(),
        }
    }

    /// Whether somebody is half of a pair.
    fn is_part(&self, who: &Who, key: &Key) -> bool {
        let (scopes, scope) = (self.scopes(), who.scope());
        let ([one, two], Key::One(wanted)) = (scopes.as_slice(), who.key()) else { return false };
        let is = |named: &Scope, part: &Part| *named == scope && *part == wanted;
        matches!(key, Key::Two(a, b) if is(one, a) || is(two, b))
    }

    /// How it stands for somebody, or for all (no names), in all instances: of more than `most` those that
    /// have used the most. `None`: no store that others have too decides it.
    ///
    /// # Errors
    ///
    /// The store is away.
    pub async fn everywhere(
        &self,
        who: &[Who],
        most: usize,
    ) -> Result<Option<Vec<(Key, Standing)>>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let mut found = Vec::new();
        let alone = match (who, self.scopes().as_slice()) {
            ([], []) => vec![Key::All],
            ([_, ..], [_]) => who.iter().filter(|who| self.counts(who)).map(Who::key).collect(),
            ([_, ..], []) => vec![],
            _ => {
                let meant =
                    |key: &Key| who.is_empty() || who.iter().any(|who| self.is_part(who, key));
                return Ok(Some(self.handle.entries_shared(&self.name, meant, most).await?));
            }
        };
        for key in alone {
            let standing = self.handle.standing_shared(&self.name, &key).await?;
            found.extend(standing.map(|standing| (key, standing)));
        }
        Ok(Some(found))
    }

    fn stands(&self, key: Key) -> Vec<(Key, Standing)> {
        let standing = self.handle.standing(&self.name, &key);
        standing.map(|standing| (key, standing)).into_iter().collect()
    }

    /// Gives somebody (all, if nobody is named) their whole quota back where it is counted, less what
    /// running requests hold; the keys that had used something of it, or are in memory.
    ///
    /// # Errors
    ///
    /// The store that decides it is away.
    pub async fn reset(&self, who: &[Who]) -> Result<Vec<Key>, StoreError> {
        if !self.is_shared() {
            return Ok(self.reset_here(who));
        }
        if let ([_, ..], [_]) = (who, self.scopes().as_slice()) {
            let mut all = Vec::new();
            for one in who.iter().filter(|who| self.counts(who)) {
                let key = one.key();
                if self.handle.reset_shared(&self.name, &key).await? {
                    all.push(key);
                }
            }
            return Ok(all);
        }
        let meant = |key: &Key| who.is_empty() || who.iter().any(|who| self.is_part(who, key));
        let mut all = self.handle.reset_all_shared(&self.name, meant).await?;
        all.sort_by_cached_key(ToString::to_string);
        all.dedup();
        Ok(all)
    }

    /// The same of what this instance has in memory.
    pub(super) fn reset_here(&self, who: &[Who]) -> Vec<Key> {
        let found = match who {
            [] => self.all(),
            who => who.iter().flat_map(|who| self.of(who)).collect(),
        };
        let keys = found.into_iter().map(|(key, _)| key);
        keys.filter(|key| self.handle.reset(&self.name, key)).collect()
    }

    /// Forgets keys that have their whole quota; how many.
    pub fn sweep(&self) -> usize {
        self.handle.sweep(&self.name).unwrap_or_default()
    }
}
