//! Where requests go whose budget is spent, and whose limit says `when_full: { downgrade: ... }`.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project::pin_project;
use tollway_core::{BoxError, Plan, Target};
use tollway_dialect::RequestBody;
use tollway_rate_limit::{Downgraded, LimitExceeded};
use tollway_route::{Catalog, Group, Member, Node, Route, Router, Strategy};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    StackError,
    catalog::Known,
    limits::rule_name,
    routes::{self, Decider},
};
use crate::policy::{Cheaper, Policy, WhenFull};

/// The cheaper targets of limits, by the rule's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Downgrades(Arc<HashMap<Arc<str>, Way>>);

/// A policy's routes with cheaper targets in the place of their own.
#[derive(Debug)]
struct Way {
    router: Router,
    /// Routes that have none.
    closed: HashSet<Arc<str>>,
    cheaper: Cheaper,
    known: Arc<Known>,
    /// What plans tell as their rule.
    told: Arc<str>,
}

impl Downgrades {
    pub(super) fn new(
        policy: &Policy,
        routes: &[Route],
        build: impl Fn(Vec<Route>) -> Result<Router, StackError>,
    ) -> Result<Self, StackError> {
        let known = Arc::new(Known::new(policy));
        let mut ways = HashMap::new();
        for limit in &policy.limits {
            let WhenFull::Downgrade(cheaper) = &limit.when_full else { continue };
            let mut closed = HashSet::new();
            let routes = routes.iter().map(|route| {
                let group = instead(policy, cheaper, route, &known);
                // A router has no route without targets; nobody is sent down this one.
                if group.is_none() {
                    closed.insert(route.name.clone());
                }
                let group = group.unwrap_or_else(|| route.group.clone());
                Route { rules: Vec::new(), group, ..route.clone() }
            });
            let router = build(routes.collect())?;
            for quota in &limit.quotas {
                let told = format!("budget {}: only cheaper targets", limit.name).into();
                let (router, closed) = (router.clone(), closed.clone());
                let (cheaper, known) = (cheaper.clone(), known.clone());
                ways.insert(rule_name(limit, quota), Way { router, closed, cheaper, known, told });
            }
        }
        Ok(Self(Arc::new(ways)))
    }

    /// Goes on with the turns of the policy before.
    pub(super) fn resume(&self, before: &Self) {
        for (name, way) in self.0.iter() {
            if let Some(then) = before.0.get(name) {
                way.router.resume(&then.router);
            }
        }
    }

    /// The plan that `ask` gets of the first limit's routes, less what the others don't allow.
    pub(super) fn plan(
        &self,
        limits: &Downgraded,
        ask: impl FnOnce(&Router) -> Option<Plan>,
    ) -> Option<Plan> {
        let mut ways = limits.limits().iter().filter_map(|limit| self.0.get(limit.limit()));
        let first = ways.next()?;
        let mut plan = ask(&first.router).filter(|plan| !first.closed.contains(&plan.route))?;
        for other in ways {
            let both = plan.candidates.iter().filter(|one| other.allows(&one.target));
            plan.candidates = both.cloned().collect();
        }
        plan.rule = Some(first.told.clone());
        plan.chosen = true;
        (!plan.candidates.is_empty()).then_some(plan)
    }
}

impl Way {
    fn allows(&self, target: &Target) -> bool {
        let listed = self.cheaper.to.iter().any(|place| {
            place.provider == *target.provider()
                && (place.model.is_none() || place.model.as_ref() == target.model())
        });
        listed || (self.cheaper.free && self.known.traits(target).free)
    }
}

/// What a budget's targets are on this route; `None`: there are none.
fn instead(policy: &Policy, cheaper: &Cheaper, route: &Route, known: &Known) -> Option<Group> {
    let listed = cheaper.to.iter();
    let listed = listed.map(|to| routes::member(policy, &to.provider, to.model.clone(), 1));
    let mut group = Group::new(Strategy::Failover, listed);
    let named: HashSet<Target> = group.places().cloned().collect();
    if cheaper.free {
        let keep = |target: &Target| known.traits(target).free && !named.contains(target);
        group.members.extend(only(&route.group, &keep).map(Member::new));
    }
    let any = group.places().next().is_some();
    any.then_some(group)
}

/// The group without what isn't kept; `None`: nothing is.
fn only(group: &Group, keep: &dyn Fn(&Target) -> bool) -> Option<Group> {
    let members = group.members.iter().filter_map(|member| {
        let node = match &member.node {
            Node::Place(target) => keep(target).then(|| member.node.clone())?,
            Node::Group(inner) => Node::Group(only(inner, keep)?),
        };
        Some(Member { node, ..member.clone() })
    });
    let members: Vec<Member> = members.collect();
    (!members.is_empty()).then(|| Group { members, ..group.clone() })
}

/// Gives requests whose budget is spent another plan, or refuses them as their limit would have.
#[derive(Clone, Debug)]
pub(super) struct DowngradeLayer(pub(super) Decider);

impl<S> Layer<S> for DowngradeLayer {
    type Service = Downgrade<S>;

    fn layer(&self, inner: S) -> Downgrade<S> {
        Downgrade { inner, decider: self.0.clone() }
    }
}

/// Service of [`DowngradeLayer`].
#[derive(Clone, Debug)]
pub(super) struct Downgrade<S> {
    inner: S,
    decider: Decider,
}

impl<S, B, R> Service<Request<RequestBody<B>>> for Downgrade<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>, Error = BoxError>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = DowngradeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody<B>>) -> Self::Future {
        if let Some(limits) = request.extensions().get::<Downgraded>() {
            match self.decider.downgrade(&request, limits) {
                Some(plan) => {
                    request.extensions_mut().insert(plan);
                }
                None => {
                    let said = limits.limits().first().cloned();
                    return DowngradeFuture::Refused(said.map(Box::new));
                }
            }
        }
        DowngradeFuture::Passed(self.inner.call(request))
    }
}

/// Future of [`Downgrade`].
#[pin_project(project = DowngradeProj)]
#[derive(Debug)]
pub(super) enum DowngradeFuture<F> {
    Passed(#[pin] F),
    Refused(Option<Box<LimitExceeded>>),
}

impl<F, R> Future for DowngradeFuture<F>
where
    F: Future<Output = Result<Response<R>, BoxError>>,
{
    type Output = Result<Response<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            DowngradeProj::Passed(future) => future.poll(cx),
            DowngradeProj::Refused(said) => Poll::Ready(Err(match said.take() {
                Some(said) => said as BoxError,
                None => "polled after it was ready".into(),
            })),
        }
    }
}
