use http::{Request, Response};
use tollway_core::{BoxError, ErrorClass, Failure, Plan, Target};

use crate::classify;

/// What the layer must know of requests and replies: how to send one again, and what went wrong.
///
/// [`Standard`] serves where the body is `Clone`. A closure `Fn(&Request<B>) -> Option<Request<B>>`
/// is a policy that copies requests its own way and classifies as [`classify()`] does; [`policy_fn`]
/// joins two closures.
pub trait Policy<B, R> {
    /// A copy to send again, with method, URI, version, headers and extensions; `None` where the
    /// body can't be sent twice, which leaves the request its first attempt only.
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>>;

    /// What went wrong; `None`: nothing, hand it on.
    fn classify(&self, outcome: &Result<Response<R>, BoxError>) -> Option<Failure> {
        classify(outcome)
    }

    /// Whether the copy can still be sent, asked after a failure. For bodies that can be read once
    /// only, such as [`OnceBody`](crate::OnceBody): false as soon as anything of it was sent.
    fn can_replay(&self, kept: &Request<B>) -> bool {
        let _ = kept;
        true
    }

    /// Whether `target` may take the request after `failed` answered it with a failure of `class`:
    /// no where it would have to fail for the same reason, such as a prompt that is too long for a
    /// model whose window is no larger.
    fn may_follow(&self, failed: &Target, class: ErrorClass, target: &Target) -> bool {
        let _ = (failed, class, target);
        true
    }

    /// What is left of `plan` now that all of `tried` have failed, in the order in which it is best
    /// tried by now; `None`: as the plan says. Asked after each failure that may go elsewhere. Only
    /// targets that have not been tried yet are taken from it, so no answer leads back to one that
    /// is used up; a plan returned takes the old one's place in the request's extensions.
    fn rescore(&self, kept: &Request<B>, plan: &Plan, tried: &[Target]) -> Option<Plan> {
        let _ = (kept, plan, tried);
        None
    }

    /// Whether a failed response may be kept during a wait, for the case that nothing more telling
    /// follows. Say yes only where its body is whole in memory: else it holds a connection.
    fn may_keep(&self, failed: &Response<R>) -> bool {
        let _ = failed;
        false
    }
}

/// Copies requests whose body is `Clone` and classifies as [`classify()`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standard;

impl<B: Clone, R> Policy<B, R> for Standard {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

impl<B, R, F: Fn(&Request<B>) -> Option<Request<B>>> Policy<B, R> for F {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        self(request)
    }
}

/// A policy of two closures: how to copy a request, and what went wrong with an attempt.
pub fn policy_fn<C, K>(clone_request: C, classify: K) -> PolicyFn<C, K> {
    PolicyFn { clone_request, classify }
}

/// Made by [`policy_fn`].
#[derive(Clone, Copy)]
pub struct PolicyFn<C, K> {
    clone_request: C,
    classify: K,
}

impl<C, K> std::fmt::Debug for PolicyFn<C, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PolicyFn")
    }
}

impl<B, R, C, K> Policy<B, R> for PolicyFn<C, K>
where
    C: Fn(&Request<B>) -> Option<Request<B>>,
    K: Fn(&Result<Response<R>, BoxError>) -> Option<Failure>,
{
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        (self.clone_request)(request)
    }

    fn classify(&self, outcome: &Result<Response<R>, BoxError>) -> Option<Failure> {
        (self.classify)(outcome)
    }
}
