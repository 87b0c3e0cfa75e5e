//! One request's way along the plan, without the pinned part.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::Instant;
use tollway_core::{BoxError, Candidate, ErrorClass, Failure, Hook, Plan, SuggestedAction, Target};
use tower_service::Service;

use crate::{
    Attempt, Attempts, Deadline, Event, Policy, RetryError, Stop, forbids_retry,
    layer::Shared,
    retry_after,
    state::{Step, Tried, Walk, Weight},
};

pub(crate) type Outcome<R> = Result<Response<R>, BoxError>;

/// Everything of a request but the pinned part.
pub(crate) struct Run<S, B, R, P, H> {
    shared: Arc<Shared<P, H>>,
    plan: Option<Arc<[Candidate]>>,
    pub(crate) deadline: Option<Instant>,
    /// Place in the plan of the running attempt.
    current: usize,
    started: Instant,
    waited: Duration,
    /// Waits so far, which the backoff grows with.
    repeats: u32,
    tried: Vec<Tried>,
    /// What a further attempt needs; `None`: there will be none. Boxed, as `best` is, so that a
    /// request that is sent once does not carry the room.
    spare: Option<Box<(S, Request<B>)>>,
    best: Option<Box<(Weight, Outcome<R>)>>,
    last: Option<Failure>,
}

/// What follows from an attempt.
pub(crate) enum Next<R> {
    Answer(Outcome<R>),
    Wait(Instant),
    Now,
}

impl<S, B, R, P, H> Run<S, B, R, P, H>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<B, R>,
    H: Hook<Event>,
{
    pub(crate) fn begin(inner: &S, shared: &Arc<Shared<P, H>>, request: &Request<B>) -> Self {
        let extensions = request.extensions();
        let started = Instant::now();
        if let Some(budget) = &shared.budget {
            budget.deposit(started);
        }
        let more = shared.config.attempts > 1;
        let spare = more.then(|| shared.policy.clone_request(request)).flatten();
        Self {
            shared: shared.clone(),
            plan: extensions.get::<Plan>().map(|plan| plan.candidates.clone()),
            deadline: extensions.get::<Deadline>().map(|deadline| deadline.0),
            current: 0,
            started,
            waited: Duration::ZERO,
            repeats: 0,
            tried: Vec::new(),
            spare: spare.map(|request| Box::new((inner.clone(), request))),
            best: None,
            last: None,
        }
    }

    /// Writes the target of the attempt into its request.
    pub(crate) fn aim(&self, request: &mut Request<B>) {
        if let Some(target) = self.target() {
            request.extensions_mut().insert(target.clone());
        }
    }

    fn candidates(&self) -> &[Candidate] {
        self.plan.as_deref().unwrap_or_default()
    }

    fn target(&self) -> Option<&Target> {
        self.candidates().get(self.current).map(|candidate| &candidate.target)
    }

    fn attempts(&self) -> u32 {
        u32::try_from(self.tried.len()).unwrap_or(u32::MAX)
    }

    fn tell(&self, event: Event) {
        self.shared.hook.on(&event);
    }

    /// What follows from an attempt's outcome.
    pub(crate) fn after(&mut self, outcome: Outcome<R>) -> Next<R> {
        match self.shared.policy.classify(&outcome) {
            None => Next::Answer(self.hand_on_good(outcome)),
            Some(failure) => {
                let next = self.after_failure(outcome, &failure);
                self.last = Some(failure);
                next
            }
        }
    }

    fn hand_on_good(&mut self, mut outcome: Outcome<R>) -> Outcome<R> {
        if let (Ok(response), Some(target)) = (&mut outcome, self.target()) {
            response.extensions_mut().insert(target.clone());
        }
        if self.tried.is_empty() {
            return outcome;
        }
        let last = self.attempt(&outcome, None, Instant::now());
        if outcome.is_ok() {
            let attempts = self.attempts().saturating_add(1);
            self.tell(Event::Recovered { attempts, target: last.target.clone() });
        }
        self.with_history(outcome, Some(last))
    }

    fn after_failure(&mut self, mut outcome: Outcome<R>, failure: &Failure) -> Next<R> {
        let now = Instant::now();
        let (hint, forbidden) = match &outcome {
            Ok(response) => {
                let headers = response.headers();
                let read = || retry_after(headers, self.shared.clock.now());
                (failure.retry_after().or_else(read), forbids_retry(headers))
            }
            Err(_) => (failure.retry_after(), false),
        };
        let (config, random) = (&self.shared.config, &*self.shared.random);
        let attempt = self.attempt(&outcome, Some(failure), now);
        let spread = hint.map(|hint| (hint, config.backoff.hinted(hint, random)));
        let tried = Tried::new(attempt, failure, spread, forbidden, config, now);
        self.tried.push(tried);

        let weight = Weight {
            reply: outcome.is_ok(),
            internal: matches!(
                failure.class().action(),
                SuggestedAction::BenchKey | SuggestedAction::Failover
            ),
            ready: hint.and_then(|hint| now.checked_add(hint)),
        };
        if let (Ok(response), Some(target)) = (&mut outcome, self.target()) {
            response.extensions_mut().insert(target.clone());
        }
        self.rescore(failure);
        let step = self.decide(failure, now);
        self.take(step, failure, (weight, outcome))
    }

    /// Has what is left of the plan put in the order of now, where a failure may go elsewhere. What
    /// was tried stays in front: it may be tried again, if nothing else is left.
    fn rescore(&mut self, failure: &Failure) {
        let config = &self.shared.config;
        if !config.fail_over_on.contains(failure.class())
            || self.tried.len() >= config.attempts as usize
        {
            return;
        }
        let Some((_, kept)) = self.spare.as_deref_mut() else { return };
        let Some(plan) = kept.extensions().get::<Plan>() else { return };
        let mut tried: Vec<Target> = Vec::with_capacity(self.tried.len());
        for target in self.tried.iter().filter_map(|tried| tried.attempt.target.as_ref()) {
            if !tried.contains(target) {
                tried.push(target.clone());
            }
        }
        let Some(rest) = self.shared.policy.rescore(kept, plan, &tried) else { return };
        let before = self.plan.as_deref().unwrap_or_default();
        let done = before.iter().filter(|candidate| tried.contains(&candidate.target)).cloned();
        let fresh = rest.candidates.iter().filter(|one| !tried.contains(&one.target)).cloned();
        let last = self.tried.last().and_then(|tried| tried.attempt.target.as_ref());
        let candidates: Arc<[Candidate]> = done.chain(fresh).collect();
        let at = candidates.iter().position(|candidate| Some(&candidate.target) == last);
        // Without its last target the walk would lose its place.
        let Some(at) = at else { return };
        (self.current, self.plan) = (at, Some(candidates));
        kept.extensions_mut().insert(rest);
    }

    /// The next step, with the budget's leave.
    fn decide(&self, failure: &Failure, now: Instant) -> Step {
        let policy = &self.shared.policy;
        let sendable = self.spare.as_ref().is_some_and(|spare| policy.can_replay(&spare.1));
        let last = self.tried.last().map_or(Duration::ZERO, |tried| tried.attempt.waited);
        let (config, random) = (&self.shared.config, &*self.shared.random);
        let mut walk = Walk {
            config,
            candidates: self.candidates(),
            tried: &self.tried,
            now,
            deadline: self.deadline,
            backoff: config.backoff.wait(self.repeats, last, random),
            sendable,
            repeats: true,
            unfit: self.unfit(),
        };
        let step = walk.next(self.current, failure);
        let Some(budget) = &self.shared.budget else { return step };
        let charged = match step {
            Step::Repeat { .. } => true,
            Step::FailOver { .. } => budget.counts_failovers(),
            Step::Stop(_) => false,
        };
        if !charged || budget.withdraw(now) {
            return step;
        }
        self.tell(Event::BudgetEmpty { class: failure.class(), target: self.target().cloned() });
        if budget.counts_failovers() {
            return Step::Stop(Stop::Budget);
        }
        walk.repeats = false;
        walk.next(self.current, failure)
    }

    /// Places of the plan whose targets may not follow one that has failed: a bit each.
    fn unfit(&self) -> u64 {
        let policy = &self.shared.policy;
        let follows = |target: &Target| {
            self.tried.iter().all(|tried| match (&tried.attempt.target, tried.attempt.class) {
                (Some(failed), Some(class)) => policy.may_follow(failed, class, target),
                _ => true,
            })
        };
        // A plan has no more places than that.
        let places = self.candidates().iter().take(64).enumerate();
        let unfit = places.filter(|(_, candidate)| !follows(&candidate.target));
        unfit.fold(0, |bits, (place, _)| bits | 1 << place)
    }

    fn take(&mut self, step: Step, failure: &Failure, last: (Weight, Outcome<R>)) -> Next<R> {
        let (attempt, class) = (self.attempts().saturating_add(1), failure.class());
        match step {
            Step::FailOver { candidate } => {
                let from = self.target().cloned();
                self.current = candidate;
                self.waited = Duration::ZERO;
                self.keep(last);
                self.tell(Event::FailingOver { attempt, class, from, to: self.target().cloned() });
                Next::Now
            }
            Step::Repeat { candidate, at } => {
                self.current = candidate;
                self.repeats = self.repeats.saturating_add(1);
                self.waited = at.saturating_duration_since(Instant::now());
                self.keep(last);
                // A response would hold its connection all the while.
                let policy = &self.shared.policy;
                self.best.take_if(|best| best.1.as_ref().is_ok_and(|best| !policy.may_keep(best)));
                let target = self.target().cloned();
                self.tell(Event::Retrying { attempt, class, wait: self.waited, target });
                Next::Wait(at)
            }
            Step::Stop(why) => {
                if why != Stop::Final {
                    self.tell(Event::Exhausted { attempts: self.attempts(), class, why });
                    self.keep(last);
                } else {
                    self.best = Some(Box::new(last));
                }
                Next::Answer(self.hand_on_best())
            }
        }
    }

    /// Keeps the more telling of two outcomes and drops the other.
    fn keep(&mut self, last: (Weight, Outcome<R>)) {
        if !self.best.as_ref().is_some_and(|best| best.0.beats(&last.0)) {
            self.best = Some(Box::new(last));
        }
    }

    fn hand_on_best(&mut self) -> Outcome<R> {
        match self.best.take() {
            Some(best) => self.with_history(best.1, None),
            // Its response was dropped before a wait that then led to no further attempt.
            None => {
                let failure = self.last.take().unwrap_or_else(|| {
                    Failure::new(ErrorClass::Server, "no attempt could be made")
                });
                self.with_history(Err(failure.into()), None)
            }
        }
    }

    /// The deadline came while the inner service was not ready.
    pub(crate) fn too_late(&mut self) -> Outcome<R> {
        if let Some(class) = self.tried.last().and_then(|tried| tried.attempt.class) {
            self.tell(Event::Exhausted { attempts: self.attempts(), class, why: Stop::Deadline });
        }
        self.hand_on_best()
    }

    fn attempt(&self, outcome: &Outcome<R>, failure: Option<&Failure>, now: Instant) -> Attempt {
        Attempt {
            target: self.target().cloned(),
            class: failure.map(Failure::class),
            status: outcome.as_ref().ok().map(Response::status),
            waited: self.waited,
            elapsed: now.saturating_duration_since(self.started),
        }
    }

    fn with_history(&mut self, outcome: Outcome<R>, last: Option<Attempt>) -> Outcome<R> {
        let tried = std::mem::take(&mut self.tried);
        let attempts: Vec<_> = tried.into_iter().map(|tried| tried.attempt).chain(last).collect();
        let attempts = Attempts::from(attempts);
        match outcome {
            Ok(mut response) => {
                response.extensions_mut().insert(attempts);
                Ok(response)
            }
            Err(error) => Err(RetryError::new(attempts, error).into()),
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.spare {
            Some(spare) => spare.0.poll_ready(cx).map_err(Into::into),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Calls the inner service, which has been polled ready; a copy of the request stays where still
    /// another attempt may follow.
    pub(crate) fn launch(&mut self) -> Option<S::Future> {
        let (mut inner, mut request) = *self.spare.take()?;
        if self.attempts().saturating_add(1) < self.shared.config.attempts {
            if let Some(copy) = self.shared.policy.clone_request(&request) {
                self.spare = Some(Box::new((inner.clone(), copy)));
            }
        }
        self.aim(&mut request);
        self.started = Instant::now();
        Some(inner.call(request))
    }
}
