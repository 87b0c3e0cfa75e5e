use http::Method;
use tollway_core::Operation;

/// The call behind the base URL's prefixes; `None` if it is not one of Anthropic's own.
pub(crate) fn operation(method: &Method, rest: &str) -> Option<Operation> {
    let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if !first.eq_ignore_ascii_case("messages") {
        return None;
    }
    let (second, _) = rest.split_once('/').unwrap_or((rest, ""));
    let post = method == Method::POST;
    Some(match rest {
        "" if post => Operation::Messages,
        _ if post && rest.eq_ignore_ascii_case("count_tokens") => Operation::CountTokens,
        _ if second.eq_ignore_ascii_case("batches") => Operation::Batches,
        _ => Operation::Other,
    })
}
