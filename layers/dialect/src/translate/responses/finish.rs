//! How an answer ended: `status` and `incomplete_details.reason`.

use crate::{
    json::{Json, Object},
    translate::hub::Finish,
};

/// What a reply says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: &'static str,
    pub(super) reason: Option<&'static str>,
}

/// An answer whose end nobody told the reason of is not said to be complete, and has no reason.
pub(super) fn outcome(finish: Option<Finish>) -> Outcome {
    let (status, reason) = match finish {
        Some(Finish::Length) => ("incomplete", Some("max_output_tokens")),
        Some(Finish::Filtered) => ("incomplete", Some("content_filter")),
        Some(Finish::Failed) => ("failed", None),
        Some(Finish::Stop | Finish::ToolCalls | Finish::Paused) => ("completed", None),
        None => ("incomplete", None),
    };
    Outcome { status, reason }
}

impl Outcome {
    /// The status of the item that the answer ended in.
    pub(super) fn of_last_item(self) -> &'static str {
        if self.status == "completed" { "completed" } else { "incomplete" }
    }

    pub(super) fn incomplete_details(self) -> Option<Object<'static>> {
        self.reason.map(|reason| Object::new().with("reason", reason))
    }

    pub(super) fn error(self) -> Option<Object<'static>> {
        (self.status == "failed").then(|| {
            Object::new()
                .with("code", "server_error")
                .with("message", "The provider's model could not finish its answer.")
        })
    }
}

/// Why a response ended, by its `status`; `None` if it has not. `called`: there is a tool call in
/// it.
pub(super) fn finish(response: &Object<'_>, called: bool) -> Option<Finish> {
    let reason = response.get("incomplete_details").and_then(Json::as_object);
    match response.str("status")? {
        "completed" if called => Some(Finish::ToolCalls),
        "completed" => Some(Finish::Stop),
        "incomplete" => match reason.and_then(|details| details.str("reason")) {
            Some("content_filter") => Some(Finish::Filtered),
            _ => Some(Finish::Length),
        },
        "failed" | "cancelled" => Some(Finish::Failed),
        _ => None,
    }
}
