//! The names of rows, apart from them: who asked, and what became of it.

use std::{borrow::Cow, hash::BuildHasher, sync::Arc};

use rusqlite::{Transaction, params};
use tollway_core::{Caller, Ending, NameMap, Tags, Target, Usage};

use super::ledger::STEP;
use crate::ledger::{Decided, Row, ending_name, tags_to_json};

/// Callers, and courses, that are kept in mind: their rows are found without asking.
const MOST_KNOWN: usize = 30_000;

/// The names of rows that are in the file already, all of one day: what is left of a day goes when
/// its last row does. They are found by their hash; of two that share one, only the last is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    gone: i64,
    day: i64,
    callers: NameMap<u64, (Asking, i64)>,
    courses: NameMap<u64, (Course, i64)>,
}

/// Who asked: a row of `caller`.
#[derive(Debug)]
struct Asking {
    user: Option<Arc<str>>,
    key: Option<Arc<str>>,
    tags: Tags,
}

/// All else about a row that many others have in common: a row of `course`.
#[derive(Debug)]
struct Course {
    operation: Cow<'static, str>,
    asked_model: Option<Arc<str>>,
    target: Option<Target>,
    decision: Option<Decided>,
    figures: Figures,
}

/// Whether tokens are estimated, status, attempts, ending.
type Figures = (Option<bool>, Option<u16>, u32, Ending);

fn figures(row: &Row) -> Figures {
    (row.usage.as_ref().map(Usage::is_estimate), row.status, row.attempts, row.ending)
}

impl Asking {
    fn is_of(&self, row: &Row) -> bool {
        let Caller { user, key, tags, .. } = &row.caller;
        self.user == *user && self.key == *key && self.tags == *tags
    }
}

impl Course {
    fn is_of(&self, row: &Row) -> bool {
        self.figures == figures(row)
            && self.asked_model == row.asked_model
            && self.target == row.target
            && self.decision == row.decision
            && self.operation == row.operation
    }
}

impl Known {
    /// So many names were removed from the file so far. Who knows of fewer may have such in mind.
    pub(super) fn heed(&mut self, gone: i64) {
        if self.gone != gone {
            *self = Self { gone, ..Self::default() };
        }
    }

    /// What is asked for next is of this day.
    pub(super) fn turn_to(&mut self, day: i64) {
        if self.day != day {
            *self = Self { gone: self.gone, day, ..Self::default() };
        }
    }

    // Nothing is cloned to look it up: the workers count the same names up and down meanwhile.
    pub(super) fn caller(&mut self, row: &Row, into: &Transaction<'_>) -> rusqlite::Result<i64> {
        let Caller { user, key, tags, .. } = &row.caller;
        let hash = self.callers.hasher().hash_one((user, key, tags));
        if let Some((_, id)) = self.callers.get(&hash).filter(|(known, _)| known.is_of(row)) {
            return Ok(*id);
        }
        let sql = "INSERT INTO caller (day, user, key, tags) VALUES (?1, ?2, ?3, ?4)";
        let values = params![self.day, user.as_deref(), key.as_deref(), tags_to_json(tags)];
        let id = into.prepare_cached(sql)?.insert(values)?;
        let asking = Asking { user: user.clone(), key: key.clone(), tags: tags.clone() };
        note(&mut self.callers, hash, (asking, id));
        Ok(id)
    }

    pub(super) fn course(&mut self, row: &Row, into: &Transaction<'_>) -> rusqlite::Result<i64> {
        let Row { operation, asked_model, target, decision, .. } = row;
        let figures = figures(row);
        let hash = (operation, asked_model, target, decision, figures);
        let hash = self.courses.hasher().hash_one(hash);
        if let Some((_, id)) = self.courses.get(&hash).filter(|(known, _)| known.is_of(row)) {
            return Ok(*id);
        }
        let (at, made) = (target.as_ref(), decision.as_ref());
        let (estimated, status, attempts, ending) = figures;
        let sql = "INSERT INTO course (day, operation, asked_model, provider, provider_key, model,
                   route, rule, strategy, arm, estimated, status, attempts, ending)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        let id = into.prepare_cached(sql)?.insert(params![
            self.day,
            &**operation,
            asked_model.as_deref(),
            at.map(|at| &**at.provider()),
            at.map(|at| &**at.key()),
            at.and_then(|at| at.model().map(|model| &**model)),
            made.map(|made| &*made.route),
            made.and_then(|made| made.rule.as_deref()),
            made.map(|made| &*made.strategy),
            made.and_then(|made| made.arm.as_deref()),
            estimated,
            status,
            attempts,
            ending_name(ending),
        ])?;
        let course = Course {
            operation: operation.clone(),
            asked_model: asked_model.clone(),
            target: target.clone(),
            decision: decision.clone(),
            figures,
        };
        note(&mut self.courses, hash, (course, id));
        Ok(id)
    }
}

/// Names that clients make up fill it; starting over keeps the real ones quick.
fn note<K>(known: &mut NameMap<u64, K>, hash: u64, names: K) {
    if known.len() >= MOST_KNOWN {
        known.clear();
    }
    known.insert(hash, names);
}

/// Removes some of the names that are of days before this one, of which the oldest row is. Whoever has
/// them in mind finds out when it [writes next](Known::heed).
pub(super) fn remove_before(from: &Transaction<'_>, day: i64) -> rusqlite::Result<usize> {
    ["caller", "course"].into_iter().try_fold(0, |gone, names| {
        let some = format!(
            "DELETE FROM {names} WHERE id IN (SELECT id FROM {names} WHERE day < ?1 LIMIT {STEP})"
        );
        Ok(gone + from.execute(&some, [day])?)
    })
}
