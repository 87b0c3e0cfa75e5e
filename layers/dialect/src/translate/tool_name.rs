//! What tools may be called.

use super::Form;
use crate::BadRequest;

/// Whether the form's providers take a tool of this name.
pub(super) fn is_taken(form: Form, name: &str) -> bool {
    let most = match form {
        Form::Chat | Form::Responses => 64,
        Form::Messages | Form::Generate => 128,
    };
    let more = if form == Form::Generate { "_-.:" } else { "_-" };
    let fine = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
    (1..=most).contains(&name.len()) && name.chars().all(fine)
}

pub(super) fn refused(name: &str, client: Form, target: Form) -> BadRequest {
    let param = match client {
        Form::Chat => "tools.function.name",
        Form::Responses | Form::Messages => "tools.name",
        Form::Generate => "tools.functionDeclarations.name",
    };
    let shown: String = name.chars().take(80).collect();
    BadRequest::invalid(format!(
        "`{param}` {shown:?} is refused by the API of the provider that this request goes to \
         ({target}). Use letters, digits, `_` and `-`, 64 of them at most."
    ))
    .with_param(param)
    .with_code("invalid_value")
}
