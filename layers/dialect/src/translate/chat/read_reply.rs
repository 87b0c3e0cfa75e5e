use std::borrow::Cow;

use super::{
    citations, finish, lenient, lenient_array, lenient_object, take_call_signature, thinking, usage,
};
use crate::{
    json::{At, Json, Object},
    translate::{
        Form, Unreadable,
        hub::{Arguments, Body, Choice, Part, Reply, Signature, Source},
    },
};

pub(crate) fn read_reply(json: Json<'_>) -> Result<Reply<'_>, Unreadable> {
    let mut object = json.into_object(&At::Root)?;
    let at = At::Root.key("choices");
    let choices = object.array("choices", &At::Root)?.ok_or_else(|| at.missing("an array"))?;
    let mut counted = object.take("usage").and_then(|counts| usage::read(&counts));
    let mut read = Vec::with_capacity(choices.len());
    for (n, choice) in (0..).zip(choices) {
        let mut choice = choice.into_object(&at)?;
        counted = counted.or_else(|| usage::read(&choice.take("usage")?));
        read.push(read_choice(choice, n)?);
    }
    Ok(Reply {
        id: lenient(&mut object, "id"),
        model: lenient(&mut object, "model"),
        created: object.get("created").and_then(Json::as_u64),
        choices: read,
        usage: counted.or_else(|| {
            let mut groq = lenient_object(&mut object, "x_groq")?;
            usage::read(&groq.take("usage")?)
        }),
        service_tier: lenient(&mut object, "service_tier"),
    })
}

fn read_choice(mut choice: Object<'_>, n: u32) -> Result<Choice<'_>, Unreadable> {
    let at = At::Root.key("choices");
    let at = at.key("message");
    let mut message = choice.object("message", &at)?.ok_or_else(|| at.missing("an object"))?;
    let mut parts = Vec::new();
    thinking::take(&mut message, &at, &mut parts, &mut |_| {})?;
    content(&mut message, &mut parts);
    parts.extend(lenient(&mut message, "refusal").map(|text| Part::new(Body::Refusal(text))));
    for image in lenient_array(&mut message, "images") {
        parts.extend(read_image(image));
    }
    let before = parts.len();
    let place = at.key("tool_calls");
    for (n, call) in lenient_array(&mut message, "tool_calls").into_iter().enumerate() {
        parts.push(read_call(call.into_object(&place.index(n))?));
    }
    if let Some(function) = lenient_object(&mut message, "function_call") {
        parts.push(read_call(Object::new().with("function", function)));
    }
    let called = parts.len() > before;
    let index = choice.get("index").and_then(Json::as_u64);
    Ok(Choice {
        index: index.and_then(|index| index.try_into().ok()).unwrap_or(n),
        finish: lenient(&mut choice, "finish_reason").and_then(|name| finish::read(&name, called)),
        parts,
        stop_sequence: None,
        logprobs: choice.take("logprobs"),
    })
}

fn content<'a>(message: &mut Object<'a>, parts: &mut Vec<Part<'a>>) {
    let citations = citations::read(message);
    let before = parts.len();
    match message.take("content") {
        Some(Json::String(text)) if !text.is_empty() => parts.push(Part::text(text)),
        // OpenAI writes no parts here; some of those after it do.
        Some(Json::Array(items)) => parts.extend(items.into_iter().filter_map(read_piece)),
        _ => {
            // Of what was said aloud, the words.
            let said = lenient_object(message, "audio")
                .and_then(|mut audio| lenient(&mut audio, "transcript"));
            parts.extend(said.map(Part::text));
        }
    }
    if let Some(Body::Text { citations: place, .. }) =
        parts.iter_mut().skip(before).map(|part| &mut part.body).last()
    {
        *place = citations;
    }
}

fn read_piece(item: Json<'_>) -> Option<Part<'_>> {
    let Json::Object(mut item) = item else { return None };
    lenient(&mut item, "text").map(Part::text)
}

fn read_image(image: Json<'_>) -> Option<Part<'_>> {
    let Json::Object(mut image) = image else { return None };
    let url = lenient(&mut lenient_object(&mut image, "image_url")?, "url")?;
    Some(Part::new(Body::Image { source: Source::from_url(url), detail: None }))
}

fn read_call(mut call: Object<'_>) -> Part<'_> {
    let signature = take_call_signature(&mut call).map(|text| Signature::new(Form::Chat, text));
    let mut function = lenient_object(&mut call, "function").unwrap_or_default();
    let arguments = match function.take("arguments") {
        Some(Json::String(text)) => Arguments::Text(text),
        Some(value @ Json::Object(_)) => Arguments::Value(value),
        _ => Arguments::Text(Cow::Borrowed("")),
    };
    Part::new(Body::ToolCall {
        id: lenient(&mut call, "id"),
        name: lenient(&mut function, "name").unwrap_or_default(),
        arguments,
        signature,
    })
}
