//! How much to think, to models of each kind.

use serde_json::json;

use super::{request::asking, *};
use crate::translate::{
    Field, Reasoning,
    hub::{Arguments, Body, Effort, Part, Role, Signature, Thinking, Tool, ToolChoice, Turn},
};

fn effort(effort: Effort) -> Thinking {
    Thinking { effort: Some(effort), ..Thinking::default() }
}

fn fit_for(reasoning: Reasoning) -> Fit {
    let mut fit = fit();
    fit.reasoning = reasoning;
    fit
}

fn thinking(thinking: Thinking) -> Request<'static> {
    Request { thinking: Some(thinking), max_tokens: Some(20_000), ..asking() }
}

#[test]
fn adaptive_models_are_told_the_effort() {
    let mut newest = fit_for(Reasoning::Adaptive);
    newest.lacks = vec![Field::Temperature];
    let of_4_6 = fit_for(Reasoning::Adaptive);
    for (wanted, name, older) in [
        (Effort::Minimal, "low", "low"),
        (Effort::Low, "low", "low"),
        (Effort::Medium, "medium", "medium"),
        (Effort::High, "high", "high"),
        (Effort::XHigh, "xhigh", "high"),
        (Effort::Max, "max", "max"),
    ] {
        let (written, told) = write_from(Form::Chat, thinking(effort(wanted)), &newest).unwrap();
        assert_eq!(told, if wanted == Effort::Minimal { "reasoning_effort" } else { "" });
        assert_eq!(written["thinking"], json!({"type": "adaptive"}));
        assert_eq!(written["output_config"], json!({"effort": name}));
        let (written, told) = write_from(Form::Chat, thinking(effort(wanted)), &of_4_6).unwrap();
        assert_eq!(written["output_config"]["effort"], older);
        let bent = matches!(wanted, Effort::Minimal | Effort::XHigh);
        assert_eq!(told, if bent { "reasoning_effort" } else { "" });
    }
    let written = write(thinking(effort(Effort::None)), &newest);
    assert_eq!(written["thinking"], json!({"type": "disabled"}));
    assert_eq!(written.get("output_config"), None);
    let as_it_likes = Thinking { shown: Some(true), ..Thinking::default() };
    let written = write(thinking(as_it_likes), &newest);
    assert_eq!(written["thinking"], json!({"type": "adaptive", "display": "summarized"}));
    assert_eq!(written.get("output_config"), None);
    let by_budget = Thinking { budget: Some(5000), ..Thinking::default() };
    assert_eq!(write(thinking(by_budget), &newest)["output_config"]["effort"], "medium");
}

#[test]
fn older_models_are_told_a_budget() {
    let older = fit_for(Reasoning::Budget);
    for (wanted, budget) in [
        (Effort::Minimal, 1024),
        (Effort::Low, 1024),
        (Effort::Medium, 2048),
        (Effort::High, 4096),
        (Effort::XHigh, 8192),
        (Effort::Max, 16384),
    ] {
        let written = write(thinking(effort(wanted)), &older);
        assert_eq!(written["thinking"], json!({"type": "enabled", "budget_tokens": budget}));
        assert_eq!(written["max_tokens"], 20_000);
    }
    let off = write(thinking(effort(Effort::None)), &older);
    assert_eq!(off["thinking"], json!({"type": "disabled"}));
}

#[test]
fn a_budget_is_less_than_the_bound() {
    // (bound, the model's own, budget wanted) -> (bound, budget)
    for (bound, largest, wanted, expected) in [
        (2000, None, 4096, Some((6096, 4096))),
        (4096, None, 4096, Some((8192, 4096))),
        (4097, None, 4096, Some((4097, 4096))),
        (2000, Some(3000), 4096, Some((3000, 2999))),
        (2000, Some(2000), 100, Some((2000, 1024))),
        (1000, Some(1000), 2048, None),
        (u64::MAX, None, u64::MAX, Some((u64::MAX, u64::MAX - 1))),
    ] {
        let mut older = fit_for(Reasoning::Budget);
        older.max_output_tokens = largest;
        let budget = Thinking { budget: Some(wanted), ..Thinking::default() };
        let request = Request { max_tokens: Some(bound), ..thinking(budget) };
        let (written, told) = write_from(Form::Chat, request, &older).unwrap();
        match expected {
            Some((bound, budget)) => {
                assert_eq!(written["max_tokens"], json!(bound));
                assert_eq!(written["thinking"]["budget_tokens"], json!(budget));
                assert_eq!(told, "");
            }
            None => {
                assert_eq!(written["max_tokens"], json!(bound));
                assert!(written.get("thinking").is_none());
                assert_eq!(told, "reasoning_effort");
            }
        }
    }
}

#[test]
fn models_that_cant_be_told_are_not() {
    let (written, told) =
        write_from(Form::Chat, thinking(effort(Effort::High)), &fit_for(Reasoning::None)).unwrap();
    assert_eq!((written.get("thinking"), &told[..]), (None, "reasoning_effort"));
    let off = write(thinking(effort(Effort::None)), &fit_for(Reasoning::None));
    assert_eq!(off.get("thinking"), None);
    let by_name = write(thinking(effort(Effort::High)), &fit_for(Reasoning::Effort));
    assert_eq!(
        (by_name.get("thinking"), &by_name["output_config"]["effort"]),
        (None, &json!("high"))
    );
}

#[test]
fn thinking_leaves_sampling_alone() {
    let mut request = thinking(effort(Effort::High));
    request.temperature = serde_json::Number::from_f64(0.5);
    request.top_p = serde_json::Number::from_f64(0.5);
    request.top_k = Some(5.into());
    let (written, told) =
        write_from(Form::Generate, request.clone(), &fit_for(Reasoning::Budget)).unwrap();
    for key in ["temperature", "top_p", "top_k"] {
        assert!(written.get(key).is_none(), "{key}");
    }
    let config = "generationConfig";
    assert_eq!(told, format!("{config}.temperature, {config}.topP, {config}.topK"));
    request.temperature = Some(1.into());
    request.top_p = serde_json::Number::from_f64(0.95);
    request.top_k = None;
    let written = write(request.clone(), &fit());
    assert_eq!((&written["temperature"], &written["top_p"]), (&json!(1), &json!(0.95)));
}

#[test]
fn a_forced_tool_outweighs_a_budget() {
    let mut request = thinking(effort(Effort::High));
    request.tools = vec![Tool { name: "f".into(), ..Tool::default() }];
    request.tool_choice = Some(ToolChoice::Required);
    let (written, told) =
        write_from(Form::Chat, request.clone(), &fit_for(Reasoning::Budget)).unwrap();
    assert_eq!(written["tool_choice"], json!({"type": "any"}));
    assert_eq!((written.get("thinking"), &told[..]), (None, "reasoning_effort"));
    let written = write(request, &fit_for(Reasoning::Adaptive));
    assert_eq!(written["thinking"], json!({"type": "adaptive"}));
}

/// A client of another form has not kept what the model thought before its calls; a model with a
/// budget refuses to think on without that.
#[test]
fn amid_calls_without_the_thought_before_them() {
    let call = Part::new(Body::ToolCall {
        id: Some("a".into()),
        name: "f".into(),
        arguments: Arguments::Text("{}".into()),
        signature: None,
    });
    let result = Part::new(Body::ToolResult {
        id: Some("a".into()),
        name: None,
        content: vec![Part::text("r")],
        is_error: false,
    });
    let mut request = thinking(effort(Effort::High));
    request.turns.push(Turn::new(Role::Assistant, vec![call]));
    request.turns.push(Turn::new(Role::User, vec![result]));
    let (written, told) =
        write_from(Form::Chat, request.clone(), &fit_for(Reasoning::Budget)).unwrap();
    assert_eq!((written.get("thinking"), &told[..]), (None, "reasoning_effort"));
    // Later models don't mind.
    assert_eq!(write(request.clone(), &fit())["thinking"]["type"], "adaptive");
    let thought = Body::Thinking {
        text: "t".into(),
        signature: Some(Signature::new(Form::Messages, "c2ln")),
    };
    request.turns[1].parts.insert(0, Part::new(thought));
    let written = write(request, &fit_for(Reasoning::Budget));
    assert_eq!(written["thinking"]["type"], "enabled");
}
