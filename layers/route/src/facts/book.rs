//! What a slot's writers keep under its lock.

use std::{cmp::Reverse, sync::Arc};

use tollway_core::ErrorClass;

use super::{
    Config, Nanos,
    health::{Seen, State},
    measures::{Marks, Measures, Sample, Success},
    published::Fading,
    slot::is_told,
    window::Window,
};
use crate::Figures;

/// Errors that a slot remembers.
const ERRORS: usize = 8;
/// Quantiles are taken anew at most this often, once there are many samples.
const EVERY: Nanos = 100_000_000;
const MANY: u32 = 100;
/// Samples that quantiles rest on, where there are more and no more are asked for: of the newest parts
/// of the window. What happens at a busy target shows in seconds.
const ENOUGH: u32 = 200;
/// A sample that comes after a pause and is quicker than the median by this factor is of another
/// target than the one that was known.
const FAR: u32 = 3;

#[derive(Debug)]
pub(super) struct Book {
    pub(super) config: Arc<Config>,
    fading: Fading,
    pub(super) window: Window<Measures>,
    pub(super) marks: Marks,
    /// Requests under way, in the mean, while the times of the marks were taken.
    usual_in_flight: f32,
    marked_at: Nanos,
    pub(super) sampled_at: Nanos,
    /// As they were at `at`.
    pub(super) success: Success,
    pub(super) peak: f32,
    pub(super) at: Nanos,
    pub(super) state: State,
    /// The latest first.
    pub(super) errors: [Option<(ErrorClass, Nanos)>; ERRORS],
    pub(super) proof: Proof,
}

/// Whether there is such a target at all, by what became of its requests: names of models are made up
/// by clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nobody asked yet, or it was refused as not known, or for the request's own faults.
    #[default]
    None,
    /// It has failed, and never succeeded.
    Failed,
    Succeeded,
}

impl Proof {
    pub(super) fn see(&mut self, ok: bool, class: Option<ErrorClass>) {
        *self = match (*self, class) {
            _ if ok => Self::Succeeded,
            (Self::Succeeded, _) => Self::Succeeded,
            (_, Some(ErrorClass::NotFound)) => Self::None,
            (_, None) => Self::Failed,
            (_, Some(class)) if is_told(class) => Self::Failed,
            (before, Some(_)) => before,
        };
    }
}

impl Book {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            fading: Fading::new(&config),
            window: Window::new(config.window, config.parts),
            config,
            marks: Marks::NONE,
            usual_in_flight: 0.0,
            marked_at: 0,
            sampled_at: 0,
            success: Success::default(),
            peak: 0.0,
            at: 0,
            state: State::default(),
            errors: [None; ERRORS],
            proof: Proof::None,
        }
    }

    /// Goes by another config from `now` on.
    pub(super) fn keep_by(&mut self, config: Arc<Config>, now: Nanos) {
        self.age(now);
        self.fading = Fading::new(&config);
        self.window.resize(config.window, config.parts);
        self.marked_at = 0;
        self.config = config;
    }

    /// Lets success rate and peak grow older.
    pub(super) fn age(&mut self, now: Nanos) {
        let (age, fading) = (now.saturating_sub(self.at), &self.fading);
        if age == 0 {
            return;
        }
        self.success = self.success.decayed(fading.success.keeps(age));
        self.peak *= fading.peak.keeps(age);
        self.at = now;
    }

    pub(super) fn sample(&mut self, now: Nanos, sample: &Sample) {
        if now.saturating_sub(self.sampled_at) >= self.fading.stale && self.is_far_quicker(sample) {
            self.window.clear();
        }
        self.sampled_at = self.sampled_at.max(now);
        self.window.add(now, |measures: &mut Measures| measures.add(sample));
        // A higher time lifts the peak at once; a lower one leaves it to fall with age.
        self.peak = self.peak.max(sample.whole.as_secs_f32());
    }

    /// A target that was slow has little traffic: what is old would outweigh what is new for as long
    /// as it stays in the window.
    fn is_far_quicker(&self, sample: &Sample) -> bool {
        let whole = self.marks.whole();
        let first = self.marks.first_token().zip(sample.first_token);
        whole.is_some_and(|known| sample.whole * FAR < known.p50)
            || first.is_some_and(|(known, time)| time * FAR < known.p50)
    }

    pub(super) fn error(&mut self, class: ErrorClass, now: Nanos) {
        self.errors.rotate_right(1);
        self.errors[0] = Some((class, now));
    }

    /// The means of the window, and when the marks are to be taken anew.
    pub(super) fn measure(&mut self, now: Nanos) -> (Figures, Nanos) {
        self.window.forget(now);
        let mut means = self.window.total().map_or_else(Figures::default, Measures::means);
        let mut marks_at = self.marked_at.saturating_add(EVERY);
        if means.samples < MANY || now >= marks_at {
            let mark = |measures: &Measures| {
                (measures.marks(self.config.min_samples), measures.usual_in_flight())
            };
            let enough = self.config.min_samples.max(ENOUGH);
            (self.marks, self.usual_in_flight) = match self.window.total() {
                None => (Marks::NONE, 0.0),
                Some(few) if few.samples() <= enough => mark(few),
                Some(_) => mark(&self.window.recent(|part| part.samples() >= enough)),
            };
            (self.marked_at, marks_at) = (now, Nanos::MAX);
        }
        means.usual_in_flight = self.usual_in_flight;
        (means, marks_at)
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            success: self.success,
            first_token: self.marks.first_token(),
            whole: self.marks.whole(),
        }
    }

    /// The class that most of the remembered errors have, the later one of two alike.
    pub(super) fn usual_error(&self) -> Option<ErrorClass> {
        let errors = || self.errors.iter().flatten().map(|(class, _)| *class);
        let often = |class: ErrorClass| errors().filter(|other| *other == class).count();
        errors().enumerate().max_by_key(|(at, class)| (often(*class), Reverse(*at))).map(|(_, c)| c)
    }
}
