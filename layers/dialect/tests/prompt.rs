//! What is told of a request's content, in every form.

use std::fmt::Write as _;

use tollway_core::Operation;
use tollway_dialect::prompt::{Needs, Piece, Role, needs, visit};

/// All pieces, in a line: texts by the first letter of who speaks.
fn pieces(operation: Operation, body: &[u8]) -> String {
    let mut out = String::new();
    visit(operation, body, &mut |piece: Piece<'_>| {
        let _ = match piece {
            Piece::Message(_) => write!(out, "| "),
            Piece::Text { role, text } => {
                let who = match role {
                    Role::System => 's',
                    Role::User => 'u',
                    Role::Assistant => 'a',
                    Role::Tool => 't',
                };
                write!(out, "{who}:{text} ")
            }
            piece => write!(out, "{piece:?} "),
        };
    });
    out.trim_end().to_owned()
}

fn told(operation: Operation, body: &str, expected: &str) {
    assert_eq!(pieces(operation, body.as_bytes()), expected, "{body}");
}

#[test]
fn chat() {
    told(
        Operation::ChatCompletions,
        r#"{"model":"auto","temperature":1e999,"stream":true,"messages":[
            {"role":"developer","content":"Be brief."},
            {"content":[{"type":"text","text":"Look,\nthere"},
                {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},
                {"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}},
                {"type":"file","file":{"file_id":"f"}}],"role":"user"},
            {"role":"assistant","content":null,"tool_calls":[
                {"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":"42"},
            {"content":"no role"}],
            "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},
                {"type":"function","function":{"name":"g"}}],
            "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},
            "reasoning_effort":"high","modalities":["text","audio"],"audio":{"voice":"x"}}"#,
        "Stream | s:Be brief. | u:Look,\nthere Image Audio File | | t:42 | u:no role \
         Tool Tool Schema Reasoning Audio Audio",
    );
}

#[test]
fn completions() {
    told(Operation::Completions, r#"{"prompt":"Once"}"#, "| u:Once");
    told(Operation::Completions, r#"{"prompt":["a","b"]}"#, "| u:a | u:b");
    told(Operation::Completions, r#"{"prompt":[[1,2],[3]],"stream":false}"#, "");
}

#[test]
fn responses() {
    told(
        Operation::Responses,
        r#"{"input":"Hi","instructions":"Be kind."}"#,
        "| u:Hi Instructions | s:Be kind.",
    );
    told(
        Operation::Responses,
        r#"{"instructions":null,"input":[
            {"type":"message","role":"user","content":[{"type":"input_text","text":"See"},
                {"type":"input_image","detail":"low","image_url":"https://example.com/a.png"},
                {"type":"input_file","file_id":"f"}]},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"42"},
            {"role":"assistant","content":[{"type":"output_text","text":"So"}]}],
            "tools":[{"type":"web_search"}],"reasoning":{"effort":"low","summary":"auto"},
            "text":{"verbosity":"low","format":{"type":"json_object"}}}"#,
        "| u:See Image File Act Act | t:42 | a:So Tool Reasoning Json",
    );
}

/// By their names alone, wherever those stand; whoever says a role, speaks.
#[test]
fn what_the_model_did_in_responses() {
    for kind in [
        "reasoning",
        "function_call",
        "custom_tool_call",
        "computer_call",
        "web_search_call",
        "mcp_list_tools",
        "item_reference",
    ] {
        let body =
            format!(r#"{{"input":[{{"content":["hm"],"type":"{kind}"}},{{"content":"Hi"}}]}}"#);
        told(Operation::Responses, &body, "Act | u:Hi");
    }
    told(
        Operation::Responses,
        r#"{"input":[{"output":"42","type":"mcp_call"},{"type":"message","content":"Hi"},
            {"type":"reasoning","role":"user","content":"Hm"}]}"#,
        "| t:42 Act | u:Hi | u:Hm",
    );
}

#[test]
fn names_of_conversations() {
    for (field, expected) in [
        (r#""conversation":"c""#, "Session(\"c\")"),
        (r#""conversation":{"id":"c","metadata":{"id":"d"}}"#, "Session(\"c\")"),
        (r#""prompt_cache_key":"k""#, "Session(\"k\")"),
        (r#""cachedContent":"cachedContents/1""#, "Session(\"cachedContents/1\")"),
        (r#""conversation":null,"prompt_cache_key":3"#, ""),
    ] {
        told(Operation::Responses, &format!("{{{field}}}"), expected);
    }
}

#[test]
fn messages() {
    told(
        Operation::Messages,
        r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"A"},{"type":"text","text":"B"}],
            "messages":[{"role":"user","content":"Hi"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},
                {"type":"tool_use","id":"t","name":"f","input":{"text":"no"}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"t",
                "content":[{"type":"text","text":"42"},{"type":"image","source":{"type":"url"}}]},
                {"type":"document","source":{"type":"text","data":"d"}},
                {"type":"text","text":"and?"}]}],
            "tools":[{"name":"f","input_schema":{"type":"object"}}],
            "thinking":{"type":"enabled","budget_tokens":1024},
            "output_config":{"format":{"type":"json_schema","schema":{}}}}"#,
        "Instructions | s:A s:B | u:Hi | | t:42 Image File u:and? Tool Reasoning Schema",
    );
}

#[test]
fn generate_content() {
    told(
        Operation::GenerateContent,
        r#"{"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[
            {"parts":[{"text":"What"},{"inlineData":{"mimeType":"image/png","data":"AA=="}},
                {"file_data":{"mime_type":"audio/wav","file_uri":"u"}},
                {"fileData":{"mimeType":"application/pdf","fileUri":"u"}}],"role":"user"},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{"q":"no"}}}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"r":["42"]}}}]},
            {"parts":{"text":"one"}}],
            "tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]},{"googleSearch":{}}],
            "generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"OBJECT"},
                "responseModalities":["AUDIO"],
                "thinkingConfig":{"thinkingBudget":-1,"includeThoughts":true}}}"#,
        "Instructions | s:Be brief. | u:What Image Audio File | | t:42 | u:one Tool Tool Tool \
         Json Schema Audio Reasoning",
    );
}

#[test]
fn what_is_not_asked_for_is_not_told() {
    for body in [
        r#"{"reasoning_effort":"none","stream":false,"tools":[],"response_format":{"type":"text"}}"#,
        r#"{"reasoning":{"effort":"minimal"},"text":{"format":{"type":"text"}},"tools":null}"#,
        r#"{"thinking":{"type":"disabled"},"output_config":{"effort":"high"}}"#,
        r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":0},"responseSchema":null,
            "responseMimeType":"text/plain","responseModalities":["TEXT"]}}"#,
        r#"{"generationConfig":{"thinkingConfig":{"thinkingLevel":"MINIMAL"}},"audio":null}"#,
    ] {
        assert_eq!(needs(Operation::ChatCompletions, body.as_bytes()), Needs::default(), "{body}");
    }
    let body = br#"{"input":"Hi","tools":[{}]}"#;
    for operation in [Operation::Embeddings, Operation::Images, Operation::Other] {
        assert_eq!(pieces(operation, body), "");
    }
}

#[test]
fn needs_are_those_of_the_pieces() {
    let of = |body: &str| needs(Operation::ChatCompletions, body.as_bytes());
    let all = of(r#"{"stream":true,"tools":[{}],"reasoning_effort":"low","response_format":
        {"type":"json_object"},"messages":[{"role":"user","content":[{"type":"image_url"},
        {"type":"input_audio"}]}]}"#);
    let Needs { vision, tools, json, reasoning, audio, streaming, .. } = all;
    assert!(vision && tools && json && reasoning && audio && streaming);
}

#[test]
fn bad_bodies_give_what_could_be_read() {
    let body = br#"{"messages":[{"role":"user","content":"Hi"},{"role":7,"content":{"a":1}},3,
        {"role":"user","content":["bare",[{"text":"deep"}]]},"text"],"tools":{"a":1}}"#;
    let whole = "| u:Hi | | u:bare u:deep | u:text";
    assert_eq!(pieces(Operation::ChatCompletions, body), whole);
    for end in 0..body.len() {
        let part = pieces(Operation::ChatCompletions, &body[..end]);
        assert!(whole.starts_with(&part), "{part}");
    }
    assert_eq!(
        pieces(Operation::ChatCompletions, b"{\"prompt\":\"a\",\"input\":\"\xff\"}"),
        "| u:a"
    );
    for body in ["", "[]", "null", "7", "\"text\"", "{", "{\"messages\":"] {
        assert_eq!(pieces(Operation::ChatCompletions, body.as_bytes()), "", "{body}");
    }
    for open in ["[", "{\"content\":", "{\"messages\":[{\"content\":["] {
        let deep = format!("{{\"messages\":{}", open.repeat(100_000));
        pieces(Operation::ChatCompletions, deep.as_bytes());
    }
}
