//! What a model may be called.

use crate::BadRequest;

/// Names are kept as keys of limits, series and totals, and written into logs: so they are short,
/// and can't end a line.
pub(crate) fn check_model(model: &str) -> Result<(), BadRequest> {
    const LONGEST: usize = 256;
    let wrong = match model {
        "" => return Err(missing_model("is empty", "gpt-4o-mini")),
        _ if model.len() > LONGEST => {
            format!("is {} bytes long; the most that is taken here is {LONGEST}", model.len())
        }
        _ if model.chars().any(char::is_control) => "has control characters in it".to_owned(),
        _ => return Ok(()),
    };
    Err(bad_model(&wrong))
}

pub(crate) fn bad_model(wrong: &str) -> BadRequest {
    BadRequest::invalid(format!("The field `model` {wrong}. Name a model of the provider's list."))
        .with_param("model")
        .with_code("invalid_model")
}

pub(crate) fn missing_model(what: &str, example: &str) -> BadRequest {
    BadRequest::invalid(format!(
        "The field `model` {what}. Name the model to use, for example \"model\": {example:?}."
    ))
    .with_param("model")
    .with_code("missing_required_parameter")
}
