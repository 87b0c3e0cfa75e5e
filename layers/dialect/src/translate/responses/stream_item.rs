//! An item of an answer that is being written.

use std::borrow::Cow;

use super::{line::Line, write_items};
use crate::{
    json::{Json, Object},
    translate::{
        Form,
        hub::{Citation, Signature},
    },
};

#[derive(Debug)]
pub(super) struct Item {
    id: String,
    /// `None`: it is open.
    status: Option<&'static str>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Only the last part is open.
    Message(Vec<Content>),
    Reasoning {
        /// `None`: there is nothing to be read.
        text: Option<String>,
        sealed: Option<String>,
    },
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
}

#[derive(Debug)]
pub(super) struct Content {
    refusal: bool,
    text: String,
    annotations: Vec<Object<'static>>,
    logprobs: Vec<Json<'static>>,
}

impl Content {
    pub(super) fn new(refusal: bool) -> Self {
        Self { refusal, text: String::new(), annotations: Vec::new(), logprobs: Vec::new() }
    }

    fn object(&self) -> Object<'_> {
        if self.refusal {
            return write_items::refusal(&*self.text);
        }
        let logprobs = Json::Array(self.logprobs.clone());
        write_items::text(&*self.text, self.annotations.clone(), Some(logprobs))
    }

    /// The events that end it.
    fn close(&self, at: Place<'_>, number: &mut u64, out: &mut Vec<u8>) {
        if self.refusal {
            at.line("response.refusal.done", number, out).text("refusal", &self.text).end();
        } else {
            at.line("response.output_text.done", number, out)
                .text("text", &self.text)
                .json("logprobs", self.logprobs.clone())
                .end();
        }
        at.line("response.content_part.done", number, out).json("part", self.object()).end();
    }
}

/// Where an event belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    item: &'a str,
    output: usize,
    /// Its name and itself.
    part: Option<(&'static str, usize)>,
}

impl Place<'_> {
    fn line<'o>(self, name: &str, number: &mut u64, out: &'o mut Vec<u8>) -> Line<'o> {
        let line = Line::begin(out, name, number)
            .text("item_id", self.item)
            .number("output_index", self.output);
        match self.part {
            Some((key, part)) => line.number(key, part),
            None => line,
        }
    }
}

impl Item {
    pub(super) fn new(id: String, what: What) -> Self {
        Self { id, status: None, what }
    }

    pub(super) fn object(&self) -> Object<'_> {
        let status = self.status.unwrap_or("in_progress");
        let id = Cow::Borrowed(&*self.id);
        match &self.what {
            What::Message(content) => {
                let content = content.iter().map(Content::object).collect();
                write_items::message(id, status, content)
            }
            // Not before its end.
            What::Reasoning { .. } if self.status.is_none() => {
                write_items::reasoning(Some(id), None, None)
            }
            What::Reasoning { text, sealed } => {
                let sealed = sealed.as_deref().map(Cow::Borrowed);
                let sealed = sealed.unwrap_or_else(|| Signature::unsigned().text(Form::Responses));
                let text = text.as_deref().map(Cow::Borrowed);
                write_items::reasoning(Some(id), text, Some(sealed))
            }
            What::Call { call_id, name, arguments } => {
                let [call_id, name, arguments] =
                    [call_id, name, arguments].map(|text| Cow::Borrowed(&**text));
                write_items::call(Some(id), call_id, name, arguments).with("status", status)
            }
        }
    }

    pub(super) fn say(
        &mut self,
        output: usize,
        fresh: Content,
        text: &str,
        logprobs: Option<Json<'static>>,
        number: &mut u64,
        out: &mut Vec<u8>,
    ) {
        let Self { id, what: What::Message(content), .. } = self else { return };
        let at = |part| Place { item: id, output, part: Some(("content_index", part)) };
        let goes_on = content.last().is_some_and(|last| last.refusal == fresh.refusal);
        if !goes_on {
            if let Some(last) = content.last() {
                last.close(at(content.len() - 1), number, out);
            }
            at(content.len())
                .line("response.content_part.added", number, out)
                .json("part", fresh.object())
                .end();
            content.push(fresh);
        }
        let part = content.len().saturating_sub(1);
        let Some(last) = content.last_mut() else { return };
        last.text.push_str(text);
        if last.refusal {
            at(part).line("response.refusal.delta", number, out).text("delta", text).end();
            return;
        }
        let line = at(part).line("response.output_text.delta", number, out).text("delta", text);
        match logprobs {
            Some(Json::Array(logprobs)) => {
                line.json("logprobs", logprobs.clone()).end();
                last.logprobs.extend(logprobs);
            }
            _ => line.raw("logprobs", b"[]").end(),
        }
    }

    pub(super) fn cite(
        &mut self,
        output: usize,
        citation: Citation<'_>,
        number: &mut u64,
        out: &mut Vec<u8>,
    ) {
        let Self { id, what: What::Message(content), .. } = self else { return };
        let part = content.len().saturating_sub(1);
        let Some(last) = content.last_mut().filter(|last| !last.refusal) else { return };
        let length = last.text.chars().count() as u64;
        let annotation = Json::Object(write_items::annotation(citation, length)).into_owned();
        let Json::Object(annotation) = annotation else { return };
        Place { item: id, output, part: Some(("content_index", part)) }
            .line("response.output_text.annotation.added", number, out)
            .number("annotation_index", last.annotations.len())
            .json("annotation", annotation.clone())
            .end();
        last.annotations.push(annotation);
    }

    /// Begins the summary if there is none yet, and adds to it.
    pub(super) fn think(&mut self, output: usize, more: &str, number: &mut u64, out: &mut Vec<u8>) {
        let Self { id, what: What::Reasoning { text, .. }, .. } = self else { return };
        let at = Place { item: id, output, part: Some(("summary_index", 0)) };
        let text = text.get_or_insert_with(|| {
            at.line("response.reasoning_summary_part.added", number, out)
                .json("part", write_items::summary(""))
                .end();
            String::new()
        });
        if !more.is_empty() {
            text.push_str(more);
            at.line("response.reasoning_summary_text.delta", number, out).text("delta", more).end();
        }
    }

    pub(super) fn seal(&mut self, data: String) {
        if let What::Reasoning { sealed, .. } = &mut self.what {
            *sealed = Some(data);
        }
    }

    pub(super) fn argue(&mut self, output: usize, json: &str, number: &mut u64, out: &mut Vec<u8>) {
        let Self { id, status: None, what: What::Call { arguments, .. } } = self else { return };
        if !json.is_empty() {
            arguments.push_str(json);
            Place { item: id, output, part: None }
                .line("response.function_call_arguments.delta", number, out)
                .text("delta", json)
                .end();
        }
    }

    /// Writes the events that end it, once.
    pub(super) fn close(
        &mut self,
        output: usize,
        status: &'static str,
        number: &mut u64,
        out: &mut Vec<u8>,
    ) {
        if self.status.is_some() {
            return;
        }
        if matches!(&self.what, What::Call { arguments, .. } if arguments.is_empty()) {
            self.argue(output, "{}", number, out);
        }
        self.status = Some(status);
        let at = |part| Place { item: &self.id, output, part };
        match &self.what {
            What::Message(content) => {
                if let Some(last) = content.last() {
                    last.close(at(Some(("content_index", content.len() - 1))), number, out);
                }
            }
            What::Reasoning { text: Some(text), .. } => {
                let at = at(Some(("summary_index", 0)));
                at.line("response.reasoning_summary_text.done", number, out)
                    .text("text", text)
                    .end();
                at.line("response.reasoning_summary_part.done", number, out)
                    .json("part", write_items::summary(&**text))
                    .end();
            }
            What::Reasoning { .. } => {}
            What::Call { name, arguments, .. } => {
                at(None)
                    .line("response.function_call_arguments.done", number, out)
                    .text("name", name)
                    .text("arguments", arguments)
                    .end();
            }
        }
        Line::begin(out, "response.output_item.done", number)
            .number("output_index", output)
            .json("item", self.object())
            .end();
    }
}
