//! What this form can say, in the shape in which it is read back.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::Number;
use tollway_core::Usage;

use crate::{
    json::Json,
    translate::{
        Form, Loss,
        hub::{
            Arguments, Body, Choice, Citation, Effort, Extra, Finish, Format, Part, Reply, Request,
            Role, Signature, Source, Thinking, Tool, ToolChoice, Turn,
        },
    },
};

pub(super) fn text() -> impl Strategy<Value = String> {
    "[a-zé€\"\\\\\n ]{1,8}"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z_]{1,8}"
}

fn json() -> impl Strategy<Value = Json<'static>> {
    select(vec!["{}", r#"{"type":"object","properties":{"a":{"type":"string"}}}"#, r#"{"a":[1]}"#])
        .prop_map(|text| Json::read(text.as_bytes()).unwrap())
}

/// By whom: this form's own have an id in them.
fn signature(of: &'static [Form]) -> impl Strategy<Value = Signature<'static>> {
    (select(of), "[A-Za-z0-9+/]{1,8}=?").prop_map(|(of, data)| match of {
        Form::Responses => Signature::new(of, format!("rs_{}:{data}", data.len())),
        _ => Signature::new(of, data),
    })
}

fn thought(of: &'static [Form]) -> impl Strategy<Value = Body<'static>> {
    prop_oneof![
        (text(), signature(of)).prop_map(|(text, signature)| Body::Thinking {
            text: text.into(),
            signature: Some(signature)
        }),
        signature(of).prop_map(Body::Redacted),
    ]
}

fn cited() -> impl Strategy<Value = Body<'static>> {
    let citation =
        (word(), option::of(word()), (0u64..4, 4u64..9)).prop_map(|(url, title, range)| Citation {
            url: url.into(),
            title: title.map(Into::into),
            range: Some(range),
            quote: None,
        });
    (text(), vec(citation, 0..2))
        .prop_map(|(text, citations)| Body::Text { text: text.into(), citations })
}

fn call() -> impl Strategy<Value = Body<'static>> {
    (word(), word(), json()).prop_map(|(id, name, arguments)| Body::ToolCall {
        id: Some(id.into()),
        name: name.into(),
        arguments: Arguments::Text(arguments.to_text().into()),
        signature: None,
    })
}

/// An answer; `of`: by whom its thoughts may be signed.
pub(super) fn answer(of: &'static [Form]) -> impl Strategy<Value = Vec<Part<'static>>> {
    let refusal = text().prop_map(|text| Body::Refusal(text.into()));
    let body = prop_oneof![4 => cited(), 1 => refusal, 2 => thought(of), 2 => call()];
    vec(body.prop_map(Part::new), 1..6)
}

fn given() -> impl Strategy<Value = Body<'static>> {
    let source = || {
        prop_oneof![
            Just(Source::Url("https://x/a".into())),
            Just(Source::File("file-1".into())),
            Just(Source::Data { mime: "image/png".into(), data: "AAAA".into() }),
        ]
    };
    let detail = option::of(select(vec!["low", "high"]));
    prop_oneof![
        3 => text().prop_map(|text| Body::Text { text: text.into(), citations: Vec::new() }),
        1 => (source(), detail).prop_map(|(source, detail)| Body::Image {
            source,
            detail: detail.map(Into::into),
        }),
        1 => source().prop_map(|source| {
            let named = matches!(source, Source::Data { .. });
            Body::Document { source, name: named.then(|| "a.pdf".into()) }
        }),
    ]
}

fn turns() -> impl Strategy<Value = Vec<Turn<'static>>> {
    const OWN: &[Form] = &[Form::Responses];
    let user = || vec(given().prop_map(Part::new), 1..3);
    let result = (word(), user()).prop_map(|(id, content)| {
        Part::new(Body::ToolResult { id: Some(id.into()), name: None, content, is_error: false })
    });
    let said = || text().prop_map(|text| vec![Part::text(text)]);
    let round = (option::of(said()), user(), answer(OWN), vec(result, 0..3));
    (option::of(said()), vec(round, 1..3)).prop_map(|(instructions, rounds)| {
        let mut turns = Vec::new();
        let mut push = |role, parts: Vec<Part<'static>>| {
            if !parts.is_empty() {
                turns.push(Turn::new(role, parts));
            }
        };
        push(Role::System, instructions.unwrap_or_default());
        for (system, user, answer, results) in rounds {
            push(Role::System, system.unwrap_or_default());
            push(Role::User, user);
            push(Role::Assistant, answer);
            push(Role::User, results);
        }
        turns
    })
}

fn tool() -> impl Strategy<Value = Tool<'static>> {
    (word(), option::of(text()), json(), any::<bool>()).prop_map(|(name, about, schema, strict)| {
        Tool {
            name: name.into(),
            description: about.map(Into::into),
            schema: Some(schema),
            strict: Some(strict),
            cache_control: None,
        }
    })
}

fn choice() -> impl Strategy<Value = ToolChoice<'static>> {
    prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        word().prop_map(|name| ToolChoice::Named(name.into())),
        (vec(word(), 0..3), any::<bool>()).prop_map(|(names, required)| ToolChoice::Allowed {
            names: names.into_iter().map(Into::into).collect(),
            required,
        }),
    ]
}

fn format() -> impl Strategy<Value = Format<'static>> {
    let schema = (word(), option::of(text()), json(), option::of(any::<bool>()));
    prop_oneof![
        Just(Format::Json),
        schema.prop_map(|(name, about, schema, strict)| Format::Schema {
            name: Some(name.into()),
            description: about.map(Into::into),
            schema,
            strict,
        }),
    ]
}

fn thinking() -> impl Strategy<Value = Option<Thinking>> {
    let effort = option::of(select(vec![Effort::None, Effort::Minimal, Effort::Max]));
    (effort, any::<bool>()).prop_map(|(effort, shown)| {
        let thinking = Thinking { effort, budget: None, shown: shown.then_some(true) };
        Some(thinking).filter(|thinking| *thinking != Thinking::default())
    })
}

fn extras() -> impl Strategy<Value = Vec<Extra<'static>>> {
    let known = vec![
        ("metadata", r#"{"a":"b"}"#),
        ("prompt_cache_key", r#""k""#),
        ("safety_identifier", r#""s""#),
        ("service_tier", r#""flex""#),
        ("store", "true"),
    ];
    proptest::sample::subsequence(known, 0..=5).prop_map(|some| {
        let extra = |(name, value): (&'static str, &'static str)| Extra {
            name: name.into(),
            value: Json::read(value.as_bytes()).unwrap(),
            loss: Loss::Harmless,
        };
        some.into_iter().map(extra).collect()
    })
}

pub(super) fn request() -> impl Strategy<Value = Request<'static>> {
    let numbers =
        (option::of(1u64..9), option::of(0u32..4), option::of(0u32..4), option::of(0u64..3));
    let answer = (option::of(format()), thinking(), option::of(select(vec!["low", "high"])));
    let tools = (vec(tool(), 0..3), option::of(choice()), option::of(any::<bool>()));
    (turns(), tools, numbers, answer, extras(), any::<bool>()).prop_map(
        |(turns, tools, numbers, answer, extras, stream)| {
            let quarters = |n: u32| Number::from_f64(f64::from(n) / 4.0);
            Request {
                model: "gpt-5".into(),
                turns,
                tools: tools.0,
                tool_choice: tools.1,
                parallel_tools: tools.2,
                // Less is refused, so it is raised.
                max_tokens: numbers.0.map(|most| most.saturating_add(16)),
                temperature: numbers.1.and_then(quarters),
                top_p: numbers.2.and_then(quarters),
                logprobs: numbers.3,
                format: answer.0,
                thinking: answer.1,
                verbosity: answer.2.map(Into::into),
                user: Some("u-1".into()),
                stream,
                wants_usage: true,
                extras,
                ..Request::default()
            }
        },
    )
}

pub(super) fn usage() -> impl Strategy<Value = Usage> {
    (1u64..99, 0u64..99, 0u64..9).prop_map(|(input, output, part)| {
        let mut usage = Usage::new(input, output);
        usage.cached = part.min(input);
        usage.cache_write = (input - usage.cached).min(1);
        usage.reasoning = part.min(output);
        usage
    })
}

/// Why an answer of these parts may have ended.
pub(super) fn finish(parts: &[Part<'_>]) -> impl Strategy<Value = Finish> + use<> {
    let called = parts.iter().any(|part| matches!(part.body, Body::ToolCall { .. }));
    let whole = if called { Finish::ToolCalls } else { Finish::Stop };
    select(vec![whole, whole, Finish::Length, Finish::Filtered])
}

pub(super) fn reply() -> impl Strategy<Value = Reply<'static>> {
    const ANY: &[Form] = &[Form::Responses, Form::Messages];
    let end = |parts: Vec<Part<'static>>| (finish(&parts), Just(parts));
    (answer(ANY).prop_flat_map(end), option::of(usage()), any::<bool>()).prop_map(
        |((finish, parts), usage, flex)| Reply {
            id: Some("resp_1".into()),
            model: Some("gpt-5-2026".into()),
            created: Some(1_700_000_000),
            choices: vec![Choice { parts, finish: Some(finish), ..Choice::default() }],
            usage,
            service_tier: flex.then(|| "flex".into()),
        },
    )
}
