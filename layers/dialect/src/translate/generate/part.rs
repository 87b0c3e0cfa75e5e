//! Parts: what requests, replies and chunks are made of alike.

use std::borrow::Cow;

use super::{
    media,
    names::{self, Names},
};
use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Form,
        hub::{Body, Part, Signature},
    },
};

pub(super) const INLINE: Names = ["inlineData", "inline_data"];
pub(super) const FILE: Names = ["fileData", "file_data"];
const CALL: Names = ["functionCall", "function_call"];
const RESPONSE: Names = ["functionResponse", "function_response"];
const CODE: Names = ["executableCode", "executable_code"];
const CODE_RESULT: Names = ["codeExecutionResult", "code_execution_result"];
const SIGNATURE: Names = ["thoughtSignature", "thought_signature"];

/// What stands for a signature on a call that another model made; Google documents both.
pub(super) const PLACEHOLDER: &str = "skip_thought_signature_validator";
const OTHER_PLACEHOLDER: &str = "context_engineering_is_the_way_to_go";

/// Sets the signature that is redacted thinking apart from that of a thinking without text. Base64
/// has no colon.
const REDACTED: &str = "redacted:";

/// One part, as it was found.
#[derive(Debug)]
pub(super) struct Read<'a> {
    /// `None`: there was nothing in it, or a signature alone.
    pub(super) what: Option<What<'a>>,
    pub(super) signature: Option<Signature<'a>>,
    /// What nobody knows.
    pub(super) rest: Object<'a>,
    /// The same of the object in it, and that object's name.
    pub(super) within: Option<(&'static str, Object<'a>)>,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    Text(Cow<'a, str>),
    Thought(Cow<'a, str>),
    Call {
        id: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        args: Object<'a>,
    },
    Response {
        id: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        said: Object<'a>,
        media: Vec<Json<'a>>,
    },
    Media(Body<'a>),
    /// Of which no other form knows; under this name.
    Foreign(&'static str, Json<'a>),
}

pub(super) fn read<'a>(json: Json<'a>, at: &At<'_>) -> Result<Read<'a>, BadRequest> {
    let mut object = match json {
        Json::String(text) => {
            let what = Some(What::Text(text));
            return Ok(Read { what, signature: None, rest: Object::new(), within: None });
        }
        other => other.into_object(at)?,
    };
    let thought = object.bool("thought", at)?.unwrap_or(false);
    let signature = names::text(&mut object, SIGNATURE, at)?.and_then(signature);
    let mut within = None;
    let what = match object.text("text", at)? {
        Some(text) if thought => Some(What::Thought(text)),
        Some(text) => Some(What::Text(text)),
        None => other(&mut object, at, &mut within)?,
    };
    Ok(Read { what, signature, rest: object, within })
}

type ReadKind = for<'a> fn(&mut Object<'a>, &At<'_>) -> Result<What<'a>, BadRequest>;

/// What a part may be besides a text, of which it is one.
const KINDS: [(Names, ReadKind); 6] = [
    (CALL, call),
    (RESPONSE, response),
    (INLINE, media::inline),
    (FILE, media::file),
    (CODE, code),
    (CODE_RESULT, code_result),
];

/// Whether a member of this name is a part of its own.
pub(super) fn is_kind(name: &str) -> bool {
    KINDS.iter().any(|(names, _)| names.contains(&name))
}

fn other<'a>(
    object: &mut Object<'a>,
    at: &At<'_>,
    within: &mut Option<(&'static str, Object<'a>)>,
) -> Result<Option<What<'a>>, BadRequest> {
    for (names, read) in KINDS {
        let Some((name, mut kind)) = names::object(object, names, at)? else { continue };
        let what = read(&mut kind, &at.key(name))?;
        *within = Some((names[0], kind));
        return Ok(Some(what));
    }
    Ok(None)
}

fn call<'a>(call: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    let id = call.text("id", at)?.filter(|id| !id.is_empty());
    let name = call.need_text("name", at)?;
    let args = call.object("args", at)?.unwrap_or_default();
    Ok(What::Call { id, name, args })
}

fn response<'a>(response: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    let id = response.text("id", at)?.filter(|id| !id.is_empty());
    let name = response.need_text("name", at)?;
    let said = response.object("response", at)?.unwrap_or_default();
    let media = response.array("parts", at)?.unwrap_or_default();
    Ok(What::Response { id, name, said, media })
}

// What Google's own tool ran, as text; on lines of its own, whatever text stands around it.

fn code<'a>(code: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    code.take("id");
    let language = code.text("language", at)?.unwrap_or_default().to_ascii_lowercase();
    let code = code.text("code", at)?.unwrap_or_default();
    Ok(What::Text(format!("\n```{language}\n{code}\n```\n").into()))
}

fn code_result<'a>(result: &mut Object<'a>, at: &At<'_>) -> Result<What<'a>, BadRequest> {
    result.take("id");
    if result.str("outcome") == Some("OUTCOME_OK") {
        result.take("outcome");
    }
    let output = result.text("output", at)?.unwrap_or_default();
    Ok(What::Text(format!("\n```\n{output}\n```\n").into()))
}

fn signature(text: Cow<'_, str>) -> Option<Signature<'_>> {
    let placeholder = text == PLACEHOLDER || text == OTHER_PLACEHOLDER;
    let read = (!placeholder).then(|| Signature::read(Form::Generate, text));
    read.filter(|signature| !signature.data.is_empty())
}

/// For a client; an empty one marks an unsigned thought elsewhere, which needs no mark here.
pub(super) fn signature_text(signature: Option<Signature<'_>>) -> Option<Cow<'_, str>> {
    let signature = signature.filter(|signature| !signature.data.is_empty());
    signature.map(|signature| signature.text(Form::Generate))
}

/// For the provider that made it.
pub(super) fn own(signature: Option<Signature<'_>>) -> Option<Cow<'_, str>> {
    signature?.for_provider(Form::Generate).filter(|data| !data.is_empty())
}

/// What a signature is that stands on no thought and no call.
pub(super) fn lone(signature: Signature<'_>) -> Body<'_> {
    let Signature { of, data } = signature;
    let redacted = match &data {
        Cow::Borrowed(data) => data.strip_prefix(REDACTED).map(Cow::Borrowed),
        Cow::Owned(data) => data.strip_prefix(REDACTED).map(|data| Cow::Owned(data.to_owned())),
    };
    match redacted {
        Some(data) if of != Form::Generate => Body::Redacted(Signature { of, data }),
        _ => Body::Thinking { text: "".into(), signature: Some(Signature { of, data }) },
    }
}

/// The text for a client of what [`lone`] reads as redacted thinking.
pub(super) fn redacted(data: Signature<'_>) -> Cow<'_, str> {
    match data.of {
        Form::Generate => data.data,
        of => Signature::new(of, format!("{REDACTED}{}", data.data)).text(Form::Generate),
    }
}

/// Adds a part of what the model has said, and the signature that goes with it.
pub(super) fn add<'a>(parts: &mut Vec<Part<'a>>, body: Body<'a>) {
    let Some(Part { body: Body::Thinking { text, signature: unsigned @ None }, .. }) =
        parts.last_mut()
    else {
        return parts.push(Part::new(body));
    };
    // Pieces of one thought, cut by a stream, and then its signature.
    match body {
        Body::Thinking { text: more, signature } => {
            text.to_mut().push_str(&more);
            *unsigned = signature;
        }
        body => parts.push(Part::new(body)),
    }
}

// Writing.

pub(super) fn text<'a>(text: impl Into<Json<'a>>) -> Object<'a> {
    Object::new().with("text", text)
}

pub(super) fn thought<'a>(
    text: impl Into<Json<'a>>,
    signature: Option<Cow<'a, str>>,
) -> Object<'a> {
    Object::new().with("text", text).with("thought", true).with_some("thoughtSignature", signature)
}

/// A signature that stands on no thought and no call, for a client: Gemini's own are beside a text.
pub(super) fn signature_alone<'a>(signature: &Signature<'a>) -> Object<'a> {
    match signature.of {
        Form::Generate => text("").with("thoughtSignature", signature.data.clone()),
        _ => thought("", Some(signature.text(Form::Generate))),
    }
}

pub(super) fn function_call<'a>(
    id: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
    args: impl Into<Json<'a>>,
    signature: Option<Cow<'a, str>>,
) -> Object<'a> {
    let call = Object::new().with_some("id", id).with("name", name).with("args", args);
    Object::new().with("functionCall", call).with_some("thoughtSignature", signature)
}

pub(super) fn inline_data<'a>(mime: Cow<'a, str>, data: Cow<'a, str>) -> Object<'a> {
    Object::new().with("inlineData", Object::new().with("mimeType", mime).with("data", data))
}

pub(super) fn audio<'a>(format: &str, data: Cow<'a, str>) -> Object<'a> {
    inline_data(format!("audio/{format}").into(), data)
}

pub(super) fn file_data(uri: Cow<'_, str>) -> Object<'_> {
    let mime = media::mime_of(&uri);
    let file = Object::new().with_some("mimeType", mime).with("fileUri", uri);
    Object::new().with("fileData", file)
}
