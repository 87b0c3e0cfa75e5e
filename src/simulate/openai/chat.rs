//! Chat completions and the old completions.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    super::{
        State,
        body::{Event, Events},
        draft::{Call, Draft},
        future::{Answer, Exchange},
        text::Generated,
    },
    Outcome, admit,
    error::Error,
    order,
    request::Ask,
    streamed, whole,
    write::{CREATED, escaped, number, string},
};

/// A reply before it takes wire form; the same for all three text endpoints.
pub(super) struct Job {
    /// As a JSON string, quotes included.
    pub(super) model: Bytes,
    pub(super) id: String,
    pub(super) draft: Draft,
    pub(super) choices: u32,
    pub(super) input: u64,
    pub(super) wants_usage: bool,
    pub(super) no_usage: bool,
}

impl Job {
    pub(super) fn new(x: &mut Exchange, ask: &Ask<'_>, prefix: &str) -> Result<Self, Box<Error>> {
        let draft = Draft::new(x, &ask.plan()?, "call_");
        let mut model = BytesMut::with_capacity(64);
        string(&mut model, ask.model()?);
        Ok(Self {
            model: model.freeze(),
            id: x.id(prefix),
            draft,
            choices: ask.choices(),
            input: ask.input_tokens(),
            wants_usage: ask.wants_usage(),
            no_usage: x.without_usage(),
        })
    }

    pub(super) fn output(&self) -> u64 {
        self.draft.output().saturating_mul(u64::from(self.choices))
    }

    pub(super) fn total(&self) -> u64 {
        self.input.saturating_add(self.output())
    }

    fn finish_reason(&self) -> &'static [u8] {
        let draft = &self.draft;
        match (draft.refused, draft.cut) {
            (true, _) => b"\"content_filter\"",
            (false, true) => b"\"length\"",
            (false, false) if !draft.calls.is_empty() => b"\"tool_calls\"",
            _ => b"\"stop\"",
        }
    }

    /// What is said in the `call`th call, or in the text if there are none.
    pub(super) fn words(&self, call: usize) -> &Generated {
        self.draft.calls.get(call).map_or(&self.draft.text, |call| &call.arguments)
    }

    /// The length of all that one choice says, in bytes.
    fn length(&self) -> usize {
        let calls = self.draft.calls.iter().map(|call| call.arguments.text.len() + 128);
        self.draft.text.text.len() + calls.sum::<usize>()
    }

    fn write_usage(&self, out: &mut BytesMut) {
        out.put_slice(b"\"usage\":{\"prompt_tokens\":");
        number(out, self.input);
        out.put_slice(b",\"completion_tokens\":");
        number(out, self.output());
        out.put_slice(b",\"total_tokens\":");
        number(out, self.total());
        out.put_slice(
            b",\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\
              \"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\
              \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
        );
    }

    fn write_head(&self, out: &mut BytesMut, object: &[u8]) {
        out.put_slice(b"{\"id\":\"");
        out.put_slice(self.id.as_bytes());
        out.put_slice(b"\",\"object\":\"");
        out.put_slice(object);
        out.put_slice(b"\",\"created\":");
        number(out, CREATED);
        out.put_slice(b",\"model\":");
        out.put_slice(&self.model);
        out.put_slice(b",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_simulated\"");
    }
}

/// `POST /chat/completions`
pub(super) fn chat(state: &State, x: &mut Exchange) -> Outcome {
    let body = x.body.clone();
    let ask = Ask::read(&body)?;
    order::check_chat(ask.items("messages")?)?;
    let job = Job::new(x, &ask, "chatcmpl-")?;
    let levels = admit(state, x, ask.model()?, job.total())?;
    let answer = if ask.streams() { stream(x, job, Style::Chat) } else { chat_reply(x, &job) };
    Ok(answer.with_levels(&levels))
}

/// `POST /completions`
pub(super) fn completions(state: &State, x: &mut Exchange) -> Outcome {
    let body = x.body.clone();
    let ask = Ask::read(&body)?;
    ask.items("prompt")?;
    let job = Job::new(x, &ask, "cmpl-")?;
    let levels = admit(state, x, ask.model()?, job.total())?;
    let answer = if ask.streams() { stream(x, job, Style::Text) } else { text_reply(x, &job) };
    Ok(answer.with_levels(&levels))
}

fn stream(x: &Exchange, job: Job, style: Style) -> Answer {
    let tokens = job.total();
    streamed(x, Box::new(Chunks::new(job, style)), tokens)
}

fn chat_reply(x: &Exchange, job: &Job) -> Answer {
    let mut out = BytesMut::with_capacity(640 + job.length() * job.choices as usize);
    job.write_head(&mut out, b"chat.completion");
    for choice in 0..job.choices {
        out.put_slice(if choice == 0 { b",\"choices\":[" } else { b"," });
        out.put_slice(b"{\"index\":");
        number(&mut out, u64::from(choice));
        out.put_slice(b",\"message\":{\"role\":\"assistant\",\"content\":");
        if job.draft.calls.is_empty() {
            string(&mut out, &job.draft.text.text);
            out.put_slice(b",\"refusal\":null,\"annotations\":[]");
        } else {
            out.put_slice(b"null,\"refusal\":null,\"annotations\":[],\"tool_calls\":");
            for (n, call) in job.draft.calls.iter().enumerate() {
                out.put_u8(if n == 0 { b'[' } else { b',' });
                write_call(&mut out, call, choice, &call.arguments.text);
            }
            out.put_u8(b']');
        }
        out.put_slice(b"},\"logprobs\":null,\"finish_reason\":");
        out.put_slice(job.finish_reason());
        out.put_u8(b'}');
    }
    end_reply(x, job, out)
}

fn end_reply(x: &Exchange, job: &Job, mut out: BytesMut) -> Answer {
    out.put_u8(b']');
    if !job.no_usage {
        out.put_u8(b',');
        job.write_usage(&mut out);
    }
    out.put_u8(b'}');
    whole(x, "application/json", out.freeze(), job.output(), job.total())
}

fn write_call(out: &mut BytesMut, call: &Call, choice: u32, arguments: &str) {
    out.put_slice(b"{\"id\":\"");
    out.put_slice(call.id.as_bytes());
    if choice > 0 {
        number(out, u64::from(choice));
    }
    out.put_slice(b"\",\"type\":\"function\",\"function\":{\"name\":");
    string(out, &call.name);
    out.put_slice(b",\"arguments\":");
    string(out, arguments);
    out.put_slice(b"}}");
}

fn text_reply(x: &Exchange, job: &Job) -> Answer {
    let mut out = BytesMut::with_capacity(512 + job.length() * job.choices as usize);
    job.write_head(&mut out, b"text_completion");
    for choice in 0..job.choices {
        out.put_slice(if choice == 0 { b",\"choices\":[" } else { b"," });
        out.put_slice(b"{\"index\":");
        number(&mut out, u64::from(choice));
        out.put_slice(b",\"text\":");
        string(&mut out, &job.words(0).text);
        out.put_slice(b",\"logprobs\":null,\"finish_reason\":");
        out.put_slice(job.finish_reason());
        out.put_u8(b'}');
    }
    end_reply(x, job, out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Chat,
    Text,
}

/// The chunks of a streamed reply.
struct Chunks {
    job: Job,
    style: Style,
    /// `data: {...,"choices":[{"index":`, the same in every chunk.
    prefix: Bytes,
    /// What ends every chunk before the blank line.
    suffix: &'static [u8],
    phase: Phase,
    /// Next choice to speak.
    choice: u32,
    /// The call under way.
    call: usize,
    /// Where the next token starts.
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Role,
    Call,
    Content,
    Finish,
    Usage,
    Done,
    Over,
}

impl Chunks {
    fn new(job: Job, style: Style) -> Self {
        let mut prefix = BytesMut::with_capacity(256);
        prefix.put_slice(b"data: ");
        let object =
            if style == Style::Chat { &b"chat.completion.chunk"[..] } else { b"text_completion" };
        job.write_head(&mut prefix, object);
        prefix.put_slice(b",\"choices\":[{\"index\":");
        let usage_null = job.wants_usage && !job.no_usage;
        let suffix: &[u8] = if usage_null { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        let phase = match style {
            Style::Chat => Phase::Role,
            Style::Text => Phase::Content,
        };
        let mut chunks =
            Self { job, style, prefix: prefix.freeze(), suffix, phase, choice: 0, call: 0, at: 0 };
        if style == Style::Text && chunks.job.words(0).text.is_empty() {
            chunks.phase = Phase::Finish;
        }
        chunks
    }

    /// Goes on to the next choice; after the last one to the next token or phase.
    fn step(&mut self, piece: usize) {
        self.choice += 1;
        if self.choice < self.job.choices {
            return;
        }
        self.choice = 0;
        self.at += piece;
        let more = self.at < self.job.words(self.call).text.len();
        // In a text there are no calls, whatever the request had.
        let calls = if self.style == Style::Chat { self.job.draft.calls.len() } else { 0 };
        self.phase = match self.phase {
            Phase::Role if calls > 0 => Phase::Call,
            Phase::Role | Phase::Call | Phase::Content if more => Phase::Content,
            Phase::Call | Phase::Content if self.call + 1 < calls => {
                (self.call, self.at) = (self.call + 1, 0);
                Phase::Call
            }
            Phase::Role | Phase::Call | Phase::Content => Phase::Finish,
            Phase::Finish if self.job.wants_usage && !self.job.no_usage => Phase::Usage,
            _ => Phase::Done,
        };
    }

    fn begin(&self, out: &mut BytesMut) {
        out.put_slice(&self.prefix);
        number(out, u64::from(self.choice));
    }

    fn content(&self, out: &mut BytesMut) -> usize {
        let piece = self.job.words(self.call).piece(self.at);
        self.begin(out);
        let after: &[u8] = match (self.style, self.job.draft.calls.is_empty()) {
            (Style::Text, _) => {
                out.put_slice(b",\"text\":\"");
                b"\",\"logprobs\":null,\"finish_reason\":null}"
            }
            (Style::Chat, true) => {
                out.put_slice(b",\"delta\":{\"content\":\"");
                b"\"},\"logprobs\":null,\"finish_reason\":null}"
            }
            (Style::Chat, false) => {
                out.put_slice(b",\"delta\":{\"tool_calls\":[{\"index\":");
                number(out, self.call as u64);
                out.put_slice(b",\"function\":{\"arguments\":\"");
                b"\"}}]},\"logprobs\":null,\"finish_reason\":null}"
            }
        };
        escaped(out, piece);
        out.put_slice(after);
        out.put_slice(self.suffix);
        piece.len()
    }
}

impl Events for Chunks {
    fn next(&mut self, out: &mut BytesMut) -> Option<Event> {
        match self.phase {
            Phase::Role => {
                self.begin(out);
                let no_calls = self.job.draft.calls.is_empty();
                out.put_slice(b",\"delta\":{\"role\":\"assistant\",\"content\":");
                out.put_slice(if no_calls { b"\"\"" } else { b"null" });
                out.put_slice(b",\"refusal\":null}");
                out.put_slice(b",\"logprobs\":null,\"finish_reason\":null}");
                out.put_slice(self.suffix);
                self.step(0);
                Some(Event::Start)
            }
            Phase::Call => {
                self.begin(out);
                out.put_slice(b",\"delta\":{\"tool_calls\":[{\"index\":");
                number(out, self.call as u64);
                out.put_u8(b',');
                if let Some(call) = self.job.draft.calls.get(self.call) {
                    let mut object = BytesMut::new();
                    write_call(&mut object, call, self.choice, "");
                    // Inside the object that has the index.
                    out.put_slice(object.get(1..).unwrap_or_default());
                }
                out.put_slice(b"]},\"logprobs\":null,\"finish_reason\":null}");
                out.put_slice(self.suffix);
                self.step(0);
                Some(Event::Start)
            }
            Phase::Content => {
                let piece = self.content(out);
                self.step(piece);
                Some(Event::Content)
            }
            Phase::Finish => {
                self.begin(out);
                out.put_slice(match self.style {
                    Style::Chat => b",\"delta\":{},\"logprobs\":null,\"finish_reason\":",
                    Style::Text => b",\"text\":\"\",\"logprobs\":null,\"finish_reason\":",
                });
                out.put_slice(self.job.finish_reason());
                out.put_u8(b'}');
                out.put_slice(self.suffix);
                self.step(0);
                Some(Event::End)
            }
            Phase::Usage => {
                let head = self.prefix.len() - b"{\"index\":".len();
                out.put_slice(self.prefix.get(..head).unwrap_or_default());
                out.put_slice(b"],");
                self.job.write_usage(out);
                out.put_slice(b"}\n\n");
                self.phase = Phase::Done;
                Some(Event::End)
            }
            Phase::Done => {
                out.put_slice(b"data: [DONE]\n\n");
                self.phase = Phase::Over;
                Some(Event::End)
            }
            Phase::Over => None,
        }
    }

    fn error(&mut self, out: &mut BytesMut) {
        out.put_slice(b"data: ");
        out.put_slice(Error::of(http::StatusCode::INTERNAL_SERVER_ERROR).body().as_bytes());
        out.put_slice(b"\n\n");
    }
}
