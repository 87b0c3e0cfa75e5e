//! The reason phrase of a provider's status line, where it is one of its own.

use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use tollway_core::ProxyCredential;

/// With which status the phrase came.
#[derive(Clone, Copy, Debug)]
struct Said(StatusCode);

/// Lets a phrase pass that doesn't repeat the credential.
pub(super) fn admit<B>(reply: &mut Response<B>, credential: Option<&ProxyCredential>) {
    let Some(phrase) = reply.extensions().get::<ReasonPhrase>() else { return };
    if credential.is_some_and(|credential| credential.blanked(phrase.as_bytes()).is_some()) {
        reply.extensions_mut().remove::<ReasonPhrase>();
        return;
    }
    let said = Said(reply.status());
    reply.extensions_mut().insert(said);
}

/// Takes the phrase out of a reply that has another status by now than the one that it explains.
pub fn drop_stale_phrase<B>(reply: &mut Response<B>) {
    let said = reply.extensions().get::<Said>();
    if said.is_some_and(|said| said.0 != reply.status()) {
        reply.extensions_mut().remove::<ReasonPhrase>();
    }
}
