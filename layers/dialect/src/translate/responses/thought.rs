//! Reasoning items, and the signatures in them.

use std::borrow::Cow;

use crate::{
    BadRequest,
    json::{At, Json, Object},
    translate::{
        Form,
        hub::{Body, Part, Signature},
    },
};

/// Reads a reasoning item; `None` if there is nothing in it to be kept. What nobody knows of its
/// pieces is given to `left`, with its place, and so is what the item says a second time.
pub(super) fn read<'a>(
    item: &mut Object<'a>,
    at: &At<'_>,
    left: &mut dyn FnMut(Object<'a>, &'static str),
) -> Result<Option<Part<'a>>, BadRequest> {
    let id = item.text("id", at)?;
    let mut within = |piece| left(piece, "input.summary");
    let summary = texts(item.array("summary", at)?, &at.key("summary"), &mut within)?;
    let mut within = |piece| left(piece, "input.content");
    let content = texts(item.array("content", at)?, &at.key("content"), &mut within)?;
    if let (Some(_), Some(content)) = (&summary, &content) {
        left(Object::new().with("content", content.clone()), "input");
    }
    let sealed = item.text("encrypted_content", at)?;
    let signature = sealed.and_then(|sealed| seal(id, sealed).some());
    Ok(match (summary.or(content), signature) {
        (Some(text), signature) => Some(Part::new(Body::Thinking { text, signature })),
        (None, Some(signature)) => Some(Part::new(Body::Redacted(signature))),
        (None, None) => None,
    })
}

/// Pieces of text joined by an empty line; `None` if there is no piece, not even an empty one.
fn texts<'a>(
    pieces: Option<Vec<Json<'a>>>,
    at: &At<'_>,
    left: &mut dyn FnMut(Object<'a>),
) -> Result<Option<Cow<'a, str>>, BadRequest> {
    let mut joined: Option<Cow<'a, str>> = None;
    for (index, piece) in pieces.into_iter().flatten().enumerate() {
        let at = at.index(index);
        let text = match piece {
            Json::String(text) => text,
            piece => {
                let mut piece = piece.into_object(&at)?;
                piece.take("type");
                let text = piece.need_text("text", &at)?;
                left(piece);
                text
            }
        };
        joined = Some(match joined {
            None => text,
            Some(before) => Cow::Owned(before.into_owned() + SEPARATOR + &text),
        });
    }
    Ok(joined)
}

/// Between the pieces of a summary.
pub(super) const SEPARATOR: &str = "\n\n";

/// The signature of a reasoning item. Neither ids nor base64 have a colon.
pub(super) fn seal<'a>(id: Option<Cow<'a, str>>, sealed: Cow<'a, str>) -> Signature<'a> {
    let mut signature = Signature::read(Form::Responses, sealed);
    if signature.of == Form::Responses {
        let id = id.filter(|id| !id.contains(':')).unwrap_or_default();
        signature.data = Cow::Owned(format!("{id}:{}", signature.data));
    }
    signature
}

/// The other way round: an item's id, where it is known, and its `encrypted_content`.
pub(super) fn unseal<'a>(signature: &Signature<'a>) -> (Option<Cow<'a, str>>, Cow<'a, str>) {
    if signature.of != Form::Responses {
        return (None, signature.text(Form::Responses));
    }
    let Some(colon) = signature.data.find(':') else { return (None, signature.data.clone()) };
    let id = part_of(&signature.data, |data| data.get(..colon));
    let sealed = part_of(&signature.data, |data| data.get(colon + 1..));
    (Some(id).filter(|id| !id.is_empty()), sealed)
}

fn part_of<'a>(text: &Cow<'a, str>, part: impl Fn(&str) -> Option<&str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text).unwrap_or("")),
        Cow::Owned(text) => Cow::Owned(part(text).unwrap_or("").to_owned()),
    }
}

/// Whether reasoning that can't be read is really the signature of the call that follows: only
/// providers of these forms sign calls, and they have no such reasoning.
pub(super) fn signs_a_call(part: &Part<'_>) -> bool {
    matches!(&part.body, Body::Redacted(data) if matches!(data.of, Form::Generate | Form::Chat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_travels_in_its_signature() {
        for id in [None, Some("rs_1")] {
            let signature = seal(id.map(Cow::Borrowed), "gAAA=".into());
            assert_eq!(unseal(&signature), (id.map(Cow::Borrowed), "gAAA=".into()));
            // Through a client of another form.
            let carried = signature.text(Form::Messages).into_owned();
            assert_eq!(Signature::read(Form::Messages, carried.into()), signature);
        }
        let foreign = Signature::new(Form::Messages, "c2ln");
        let (id, sealed) = unseal(&foreign);
        assert_eq!(id, None);
        assert_eq!(seal(Some("rs_9".into()), sealed), foreign);
    }
}
