//! What input tokens depend on besides the request: who counts them.
//!
//! An [`Ask`](tollway_core::Ask) is read with four bytes a token
//! ([`Prompt`](tollway_core::Prompt)); media are counted by the published rules of each family,
//! by their size where their first bytes tell it. With the feature `exact-tokens`, `Vocabulary`
//! counts the text of OpenAI's models as they do.

#[cfg(feature = "exact-tokens")]
mod exact;
pub(crate) mod media;

#[cfg(feature = "exact-tokens")]
pub(crate) use exact::Exact;
#[cfg(feature = "exact-tokens")]
pub use exact::Vocabulary;
use tollway_core::Dialect;

/// Whose models count as this one does, told from its name; OpenAI's for a name that says nothing.
///
/// ```
/// use tollway_core::Dialect;
/// use tollway_dialect::tokens::family;
///
/// assert_eq!(family("anthropic/claude-haiku-4-5"), Dialect::Anthropic);
/// assert_eq!(family("gemini-2.5-flash"), Dialect::Gemini);
/// assert_eq!(family("gpt-4o"), Dialect::OpenAi);
/// ```
pub fn family(model: &str) -> Dialect {
    let has = |name: &str| memchr::memmem::find(model.as_bytes(), name.as_bytes()).is_some();
    if has("claude") {
        Dialect::Anthropic
    } else if has("gemini") {
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    }
}
