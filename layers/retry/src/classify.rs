//! What went wrong, told from a reply's head or an error; the table is on [`classify()`].

use std::io;

use http::{Response, StatusCode};
use tollway_core::{BoxError, ErrorClass, Failure, find_error};

/// What went wrong with an attempt, or `None` if nothing did.
///
/// A [`Failure`] that somebody nearer to the provider has left in the response's extensions or in
/// the error's chain is believed. Else the status decides ([`classify_status`]), or the kind of
/// error ([`classify_error`]).
///
/// What each class means, and what the walk along the plan does about it:
///
/// | class | status | retryable | severity | suggested action | the walk |
/// |---|---|---|---|---|---|
/// | rate_limit | 429, 498 | yes | warning | wait | next target; waits for the hint where it is short or no other target is left |
/// | quota | 402 | no | critical | bench the key | next target with another key |
/// | overloaded | 425, 503, 529 | yes | warning | retry | next target; else waits and repeats |
/// | server | 424, other 5xx | yes | error | retry | next target; else waits and repeats |
/// | timeout | 408, 522, 524 | yes | error | retry | next target; else waits and repeats |
/// | network | - | yes | error | retry | next target; else waits and repeats |
/// | auth | 401, 403, 407 | no | critical | bench the key | next target with another key |
/// | not_found | 404, 410, 501 | no | warning | fail over | next target |
/// | context_length | - | no | info | larger context | next target |
/// | content_filter | - | no | info | give up | to the caller, unless `fail_over_on` has it |
/// | invalid | other 4xx | no | info | give up | to the caller, unless `fail_over_on` has it |
/// | cancelled | 499 | no | info | give up | to the caller, always |
pub fn classify<R>(outcome: &Result<Response<R>, BoxError>) -> Option<Failure> {
    match outcome {
        Ok(response) => match response.extensions().get::<Failure>() {
            Some(failure) => Some(failure.clone()),
            None => {
                let class = classify_status(response.status())?;
                Some(Failure::new(class, message(class)))
            }
        },
        Err(error) => Some(match find_failure(&**error) {
            Some(failure) => failure.clone(),
            None => {
                let class = classify_error(&**error);
                Failure::new(class, message(class))
            }
        }),
    }
}

/// An `io::Error` leaves the error that it wraps out of the chain of sources: look there too.
fn find_failure<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Failure> {
    find_error(error).or_else(|| {
        let wrapped: &'a (dyn std::error::Error + 'static) =
            find_error::<io::Error>(error)?.get_ref()?;
        find_error(wrapped)
    })
}

/// The class of a status alone; `None` below 400.
///
/// 409 is `invalid`: what to do about a conflict is the caller's to say.
pub fn classify_status(status: StatusCode) -> Option<ErrorClass> {
    Some(match status.as_u16() {
        ..400 => return None,
        401 | 403 | 407 => ErrorClass::Auth,
        402 => ErrorClass::Quota,
        404 | 410 | 501 => ErrorClass::NotFound,
        408 | 522 | 524 => ErrorClass::Timeout,
        429 | 498 => ErrorClass::RateLimit,
        425 | 503 | 529 => ErrorClass::Overloaded,
        424 => ErrorClass::Server,
        499 => ErrorClass::Cancelled,
        400..500 => ErrorClass::Invalid,
        500.. => ErrorClass::Server,
    })
}

/// The class of an error that carries no [`Failure`]: timeouts and I/O errors are known, anything
/// else is the server's fault.
pub fn classify_error(error: &(dyn std::error::Error + 'static)) -> ErrorClass {
    if find_error::<tokio::time::error::Elapsed>(error).is_some() {
        return ErrorClass::Timeout;
    }
    match find_error::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => ErrorClass::Timeout,
        Some(_) => ErrorClass::Network,
        None => ErrorClass::Server,
    }
}

/// Ready-made, so that the common case does not format.
fn message(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::RateLimit => "a rate limit is reached",
        ErrorClass::Quota => "the quota is used up",
        ErrorClass::Overloaded => "the service is overloaded",
        ErrorClass::Server => "the service failed",
        ErrorClass::Timeout => "the service did not answer in time",
        ErrorClass::Network => "the connection to the service failed",
        ErrorClass::Auth => "the service refused the credential",
        ErrorClass::NotFound => "the service knows no such thing",
        ErrorClass::Cancelled => "the request was cancelled",
        _ => "the service refused the request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_class() {
        use ErrorClass::*;
        let table = [
            (400, Invalid),
            (401, Auth),
            (402, Quota),
            (403, Auth),
            (404, NotFound),
            (408, Timeout),
            (409, Invalid),
            (413, Invalid),
            (422, Invalid),
            (425, Overloaded),
            (429, RateLimit),
            (498, RateLimit),
            (499, Cancelled),
            (500, Server),
            (501, NotFound),
            (502, Server),
            (503, Overloaded),
            (504, Server),
            (522, Timeout),
            (529, Overloaded),
            (999, Server),
        ];
        for (status, class) in table {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(classify_status(status), Some(class), "{status}");
        }
        for status in [100, 200, 204, 304, 399] {
            assert_eq!(classify_status(StatusCode::from_u16(status).unwrap()), None, "{status}");
        }
    }

    #[test]
    fn a_failure_left_by_others_is_believed() {
        let mut response = Response::new(());
        response.extensions_mut().insert(Failure::new(ErrorClass::Overloaded, "error in a 200"));
        let class = classify(&Ok(response)).map(|failure| failure.class());
        assert_eq!(class, Some(ErrorClass::Overloaded));

        let outer = io::Error::other(Failure::new(ErrorClass::ContextLength, "too long"));
        let class = classify::<()>(&Err(outer.into())).map(|failure| failure.class());
        assert_eq!(class, Some(ErrorClass::ContextLength));
    }

    #[test]
    fn errors_by_kind() {
        let class = |error: BoxError| classify::<()>(&Err(error)).unwrap().class();
        assert_eq!(
            class(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            ErrorClass::Network
        );
        assert_eq!(class(io::Error::from(io::ErrorKind::TimedOut).into()), ErrorClass::Timeout);
        assert_eq!(class("who knows".into()), ErrorClass::Server);
    }
}
