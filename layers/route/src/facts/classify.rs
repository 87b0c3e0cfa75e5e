use http::response;
use tollway_core::{BoxError, ErrorClass, Failure, ProxyCredential, find_error};

/// What a reply's head (or the error in its stead) says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target did what it should, if the body doesn't fail.
    Success,
    /// It failed.
    Failure(ErrorClass),
    /// Nothing can be learnt from it.
    Ignore,
}

/// Judges replies. Closures do.
pub trait Classify {
    /// Judges a reply's head, or the error in its stead.
    fn classify(&self, reply: Result<&response::Parts, &BoxError>) -> Verdict;
}

impl<F: Fn(Result<&response::Parts, &BoxError>) -> Verdict> Classify for F {
    fn classify(&self, reply: Result<&response::Parts, &BoxError>) -> Verdict {
        self(reply)
    }
}

/// The judge for providers of LLM APIs; the default.
///
/// A [`Failure`] in the response's extensions or inside the error decides by its class; without
/// one a status does, and an error is a network failure. What a provider says of a key counts only
/// if it is the proxy's own ([`ProxyCredential`]): else one caller's bad key would speak for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByFailure;

impl Classify for ByFailure {
    fn classify(&self, reply: Result<&response::Parts, &BoxError>) -> Verdict {
        match reply {
            Ok(head) => {
                let failure = head.extensions.get::<Failure>().map(Failure::class);
                match failure.or_else(|| ErrorClass::of_status(head.status)) {
                    None => Verdict::Success,
                    Some(class) if is_callers_own(class, head) => Verdict::Ignore,
                    Some(class) => Verdict::Failure(class),
                }
            }
            Err(error) => {
                let failure = find_error::<Failure>(&**error);
                Verdict::Failure(failure.map_or(ErrorClass::Network, Failure::class))
            }
        }
    }
}

/// Whether a failure is one of a key that is not the proxy's.
pub(super) fn is_callers_own(class: ErrorClass, head: &response::Parts) -> bool {
    matches!(class, ErrorClass::Auth | ErrorClass::Quota)
        && head.extensions.get::<ProxyCredential>().is_none()
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn judge(response: http::response::Builder) -> Verdict {
        ByFailure.classify(Ok(&response.body(()).unwrap().into_parts().0))
    }

    #[test]
    fn a_status_decides_where_no_failure_is_told() {
        let cases = [
            (200, Verdict::Success),
            (304, Verdict::Success),
            (400, Verdict::Failure(ErrorClass::Invalid)),
            (404, Verdict::Failure(ErrorClass::NotFound)),
            (429, Verdict::Failure(ErrorClass::RateLimit)),
            (500, Verdict::Failure(ErrorClass::Server)),
            (504, Verdict::Failure(ErrorClass::Timeout)),
            (529, Verdict::Failure(ErrorClass::Overloaded)),
        ];
        for (status, verdict) in cases {
            assert_eq!(judge(Response::builder().status(status)), verdict, "{status}");
        }
        let overloaded = Failure::new(ErrorClass::Overloaded, "busy");
        let told = judge(Response::builder().status(500).extension(overloaded));
        assert_eq!(told, Verdict::Failure(ErrorClass::Overloaded));
    }

    #[test]
    fn a_key_is_the_targets_fault_only_if_it_is_the_proxys() {
        for (status, class) in [(401, ErrorClass::Auth), (402, ErrorClass::Quota)] {
            assert_eq!(judge(Response::builder().status(status)), Verdict::Ignore);
            let signed = Response::builder().status(status).extension(ProxyCredential::default());
            assert_eq!(judge(signed), Verdict::Failure(class));
        }
    }

    #[test]
    fn an_error_that_says_nothing_is_the_networks() {
        let judge = |error: BoxError| ByFailure.classify(Err(&error));
        assert_eq!(judge("broken".into()), Verdict::Failure(ErrorClass::Network));
        let late = Failure::new(ErrorClass::Timeout, "late");
        assert_eq!(judge(late.into()), Verdict::Failure(ErrorClass::Timeout));
    }
}
