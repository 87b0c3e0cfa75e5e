//! From the client's form to the provider's and back.
//!
//! [`TranslateLayer`] does it for the attempts whose target speaks another form; [`request()`],
//! [`reply()`] and [`Stream`] are the pure functions that it is made of.
//!
//! ```
//! use tollway_dialect::translate::{self, Asked, Fit, Form, Strictness};
//!
//! let body = r#"{"model":"fast","max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#;
//! let asked = Asked::new(Form::Chat, "fast", body);
//! let fit = Fit::new(Form::Messages);
//! let sent = translate::request(&asked, "claude-haiku-4-5", &fit, Strictness::default()).unwrap();
//! assert_eq!(
//!     sent.body,
//!     r#"{"model":"claude-haiku-4-5","max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#
//! );
//! ```

mod asked;
mod body;
pub(crate) mod chat;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod endings;
mod fields;
mod fit;
mod foreign;
mod form;
mod future;
pub(crate) mod generate;
pub(crate) mod hub;
mod layer;
mod losses;
pub(crate) mod messages;
#[cfg(test)]
mod odd;
#[cfg(test)]
mod pairs;
pub(crate) mod responses;
mod service;
mod settle;
mod stream;
#[cfg(test)]
mod told;
mod tool_name;
#[cfg(test)]
mod traps;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::HeaderValue;
use tollway_core::{ErrorClass, Failure};

pub use asked::Asked;
pub use body::TranslateBody;
pub use fields::{Field, Loss, Row, TABLE, UnknownField};
pub use fit::{Fit, Reasoning};
pub use form::Form;
pub use future::TranslateFuture;
pub use layer::{Fits, TranslateLayer};
pub(crate) use losses::Losses;
pub use losses::Strictness;
pub use service::{Translate, goes_along};
pub use stream::Stream;
pub(crate) use stream::{StreamReader, StreamWriter};

use crate::{
    BadRequest,
    json::{Json, Object},
};

/// A request in the provider's words.
#[derive(Clone, Debug)]
pub struct Translated {
    /// What to send.
    pub body: Bytes,
    /// What got lost, for `x-tollway-dropped`.
    pub dropped: Option<HeaderValue>,
}

/// Writes the client's request, of the form `asked.form`, for a target.
///
/// # Errors
///
/// The request is not what its form says, or says what the target's form can't.
pub fn request(
    asked: &Asked,
    model: &str,
    fit: &Fit,
    strictness: Strictness,
) -> Result<Translated, BadRequest> {
    let json = Json::read(&asked.body).map_err(|error| crate::fields::bad_json(&error))?;
    let mut request = read_request(asked.form, json)?;
    request.model = Cow::Borrowed(model);
    request.stream = asked.stream;
    let mut losses = Losses::new(asked.form, fit.form, strictness);
    settle::settle(&mut request, fit, &mut losses)?;
    let written = write_request(&mut request, fit, &mut losses)?;
    settle::leftovers(request, &mut losses)?;
    let body = Json::Object(written).to_vec().into();
    Ok(Translated { body, dropped: losses.header() })
}

/// Writes a provider's whole reply, of the form `from`, for the client.
///
/// # Errors
///
/// It is not a reply of that form, or one in which the model failed before it said anything.
pub fn reply(body: &[u8], from: Form, asked: &Asked) -> Result<Bytes, Unreadable> {
    let reply = read_whole(body, from)?;
    Ok(Json::Object(write_reply(reply, asked)).to_vec().into())
}

/// The same for a client that asked for a stream: all of its events.
pub(crate) fn reply_as_stream(body: &[u8], from: Form, asked: &Asked) -> Result<Bytes, Unreadable> {
    // More than any API gives; writers look for each among those before it.
    const MOST_CHOICES: usize = 128;
    let reply = read_whole(body, from)?;
    if reply.choices.len() > MOST_CHOICES {
        return Err(Unreadable("There are too many answers in it.".to_owned()));
    }
    let (mut writer, mut out) = (stream::writer(asked), Vec::new());
    reply.tell(&mut |event| writer.write(event, &mut out));
    Ok(out.into())
}

/// The other way round: a stream, whole in `body`, for a client that asked for none.
///
/// # Errors
///
/// What its error event says, or that it broke off, or has no answer in it.
pub(crate) fn stream_as_reply(body: &[u8], from: Form, asked: &Asked) -> Result<Bytes, Failure> {
    let (mut events, mut all) = (stream::Events::new(from), hub::Gathered::default());
    events.feed(body, |event| all.see(event));
    events.finish(|event| all.see(event));
    if let Some(error) = all.error {
        return Err(Failure::new(error.class, error.message));
    }
    if !all.complete {
        return Err(Failure::new(ErrorClass::Network, "The provider's stream broke off."));
    }
    let reply = checked(all.reply)?;
    Ok(Json::Object(write_reply(reply, asked)).to_vec().into())
}

fn read_whole(body: &[u8], from: Form) -> Result<hub::Reply<'_>, Unreadable> {
    let json = Json::read(body).map_err(|error| Unreadable(error.to_string()))?;
    checked(read_reply(from, json)?)
}

fn checked(reply: hub::Reply<'_>) -> Result<hub::Reply<'_>, Unreadable> {
    if reply.choices.is_empty() {
        return Err(Unreadable("There is no answer in it.".to_owned()));
    }
    // What came to nothing is worth another attempt, and no answer.
    let nothing = |choice: &hub::Choice<'_>| {
        choice.finish == Some(hub::Finish::Failed) && choice.parts.is_empty()
    };
    if reply.choices.iter().all(nothing) {
        return Err(Unreadable("The model gave up its answer before it began.".to_owned()));
    }
    Ok(reply)
}

fn read_request(form: Form, json: Json<'_>) -> Result<hub::Request<'_>, BadRequest> {
    match form {
        Form::Chat => chat::read_request(json),
        Form::Responses => responses::read_request(json),
        Form::Messages => messages::read_request(json),
        Form::Generate => generate::read_request(json),
    }
}

fn write_request<'a>(
    request: &mut hub::Request<'a>,
    fit: &Fit,
    losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    match fit.form {
        Form::Chat => chat::write_request(request, fit, losses),
        Form::Responses => responses::write_request(request, fit, losses),
        Form::Messages => messages::write_request(request, fit, losses),
        Form::Generate => generate::write_request(request, fit, losses),
    }
}

fn read_reply(form: Form, json: Json<'_>) -> Result<hub::Reply<'_>, Unreadable> {
    match form {
        Form::Chat => chat::read_reply(json),
        Form::Responses => responses::read_reply(json),
        Form::Messages => messages::read_reply(json),
        Form::Generate => generate::read_reply(json),
    }
}

fn write_reply<'a>(reply: hub::Reply<'a>, asked: &'a Asked) -> Object<'a> {
    match asked.form {
        Form::Chat => chat::write_reply(reply, asked),
        Form::Responses => responses::write_reply(reply, asked),
        Form::Messages => messages::write_reply(reply, asked),
        Form::Generate => generate::write_reply(reply, asked),
    }
}

/// A provider's reply that is not of the form it should be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub(crate) String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        let why = "The provider's reply is not what its API promises, and can't be translated.";
        Self::new(ErrorClass::Server, why).with_source(error)
    }
}

impl From<BadRequest> for Unreadable {
    /// The same accessors read requests and replies.
    fn from(bad: BadRequest) -> Self {
        Self(bad.message().to_owned())
    }
}
