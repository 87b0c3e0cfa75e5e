//! The body of `POST /v1/messages`, read as strictly as the real one reads it.

use serde_json::Value;

use super::{
    super::{draft::Plan, future::Exchange},
    VERSION, WITHOUT_SAMPLING,
    blocks::Reader,
    check::{
        Checked, Object, at, given, list, object, one_of, only, optional_bool, plain, required,
        share, string, tag, whole, wrong,
    },
    conversation,
    error::Error,
    meter::{Meter, Point},
    models, tools,
};

/// What matters of a request.
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) streams: bool,
    pub(super) plan: Plan<'static>,
    /// Thoughts are left out, their signatures stay.
    pub(super) thinks_silently: bool,
    /// Tokens of the prompt.
    pub(super) input: u64,
    /// Where its prefixes to be cached end.
    pub(super) points: Vec<Point>,
}

const COUNTED: [&str; 9] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "speed",
];
const ANSWERED: [&str; 10] = [
    "max_tokens",
    "stream",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "service_tier",
    "container",
    "inference_geo",
];
/// Taken only with an `anthropic-beta` header.
const BETA: [&str; 3] = ["betas", "context_management", "mcp_servers"];

impl Ask {
    /// Reads a body; `answered`: it is to be answered, not only counted.
    pub(super) fn read(x: &Exchange, answered: bool) -> Checked<Self> {
        let body: Value = serde_json::from_slice(&x.body)
            .map_err(|error| plain(format!("The request body is not valid JSON: {error}")))?;
        let body = object(&body, "body")?;
        let newest = x.parts.headers.get(VERSION).is_some_and(|v| v == WITHOUT_SAMPLING);
        let beta = x.parts.headers.contains_key("anthropic-beta");
        known_fields(body, answered, newest, beta)?;
        let model = string(required(body, "", "model")?, "model")?;
        if model.is_empty() {
            return wrong("model", "String should have at least 1 character");
        }
        let generation = models::generation(model);
        let bound = if answered {
            Some(whole(required(body, "", "max_tokens")?, "max_tokens", 0)?)
        } else {
            None
        };
        let idle = caches_nothing(&x.body);
        let mut meter = Meter::new(idle);
        let tools = tools::read(body, &mut meter)?;
        let mut reader = Reader { seed: x.config.seed, newest, meter: &mut meter };
        if let Some(system) = given(body, "system") {
            reader.system(system)?;
        }
        let said = conversation::read(required(body, "", "messages")?, &mut reader)?;
        if let Some(control) = given(body, "cache_control") {
            meter.mark(control, "cache_control")?;
        }
        let thinking = Thinking::read(body, bound, generation)?;
        thinking.fits(body, &tools, said.thoughtless)?;
        if said.prefilled && generation.is_some_and(|g| g >= (4, 6)) {
            return Err(plain(
                "This model does not support assistant message prefill. The conversation must end \
                 with a user message.",
            ));
        }
        let schema = rest(body, generation)?;
        let functions = if said.ends_in_result { vec![] } else { tools.functions };
        let plan = Plan {
            echo: said.echo.into(),
            thinks: thinking.on,
            bound: bound.map(|bound| u32::try_from(bound).unwrap_or(u32::MAX)),
            schema,
            functions,
            parallel: tools.parallel,
        };
        Ok(Self {
            model: model.to_owned(),
            streams: optional_bool(body, "", "stream")?,
            plan,
            thinks_silently: thinking.silent,
            input: meter.tokens(),
            points: meter.points,
        })
    }
}

fn known_fields(body: &Object, answered: bool, newest: bool, beta: bool) -> Checked<()> {
    if beta && body.contains_key("thread") {
        return Err(Box::new(Error::without_threads()));
    }
    let mut allowed = COUNTED.to_vec();
    if answered {
        allowed.extend(ANSWERED);
    }
    if newest {
        allowed.retain(|name| !matches!(*name, "temperature" | "top_p" | "top_k"));
    }
    if beta {
        allowed.extend(BETA);
    }
    only(body, "", &allowed)
}

/// Whether no prefix is to be cached.
fn caches_nothing(body: &[u8]) -> bool {
    let key = b"\"cache_control\"";
    !body.windows(key.len()).any(|window| window == key)
}

/// The `thinking` field.
#[derive(Clone, Copy, Default)]
struct Thinking {
    on: bool,
    /// With a budget, the old way.
    budgeted: bool,
    silent: bool,
}

impl Thinking {
    fn read(body: &Object, bound: Option<u64>, generation: Option<(u32, u32)>) -> Checked<Self> {
        let Some(thinking) = given(body, "thinking") else { return Ok(Self::default()) };
        let thinking = object(thinking, "thinking")?;
        let kind = tag(thinking, "thinking", &["adaptive", "disabled", "enabled"])?;
        let path = at("thinking", kind);
        let allowed: &[&str] = match kind {
            "enabled" => &["type", "budget_tokens", "display"],
            "adaptive" => &["type", "display"],
            _ => &["type"],
        };
        only(thinking, &path, allowed)?;
        if kind == "enabled" {
            if generation.is_some_and(|generation| generation >= (4, 7)) {
                return Err(plain(
                    "\"thinking.type.enabled\" is not supported for this model. Use \
                     \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking \
                     behavior.",
                ));
            }
            let budget = required(thinking, &path, "budget_tokens")?;
            let budget = whole(budget, &at(&path, "budget_tokens"), 1024)?;
            if bound.is_some_and(|bound| bound <= budget) {
                return Err(plain("`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
        }
        if kind == "adaptive" && generation.is_some_and(|generation| generation <= (4, 5)) {
            return Err(plain("adaptive thinking is not supported on this model"));
        }
        let display = given(thinking, "display");
        let words = ["omitted", "summarized"];
        let display =
            display.map(|word| one_of(word, &at(&path, "display"), &words)).transpose()?;
        let silent = display == Some("omitted");
        Ok(Self { on: kind != "disabled", budgeted: kind == "enabled", silent })
    }

    /// With what else was asked for.
    fn fits(self, body: &Object, tools: &tools::Tools, thoughtless: Option<usize>) -> Checked<()> {
        if !self.on {
            return Ok(());
        }
        if tools.forced && self.budgeted {
            return Err(plain("Thinking may not be enabled when tool_choice forces tool use."));
        }
        if given(body, "temperature").is_some_and(|value| value.as_f64() != Some(1.0)) {
            return Err(plain("`temperature` may only be set to 1 when thinking is enabled."));
        }
        if given(body, "top_k").is_some() {
            return Err(plain("`top_k` must be unset when thinking is enabled."));
        }
        match thoughtless {
            Some(index) if self.budgeted => wrong(
                format!("messages.{index}.content.0.type"),
                "Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` \
                 is enabled, a final `assistant` message must start with a thinking block (preceeding \
                 the lastmost set of `tool_use` and `tool_result` blocks).",
            ),
            _ => Ok(()),
        }
    }
}

/// The fields that change nothing here but can be wrong; also the schema of the answer.
fn rest(body: &Object, generation: Option<(u32, u32)>) -> Checked<Option<Value>> {
    sampling(body, generation)?;
    if let Some(stops) = given(body, "stop_sequences") {
        for (n, stop) in list(stops, "stop_sequences")?.iter().enumerate() {
            if string(stop, &at("stop_sequences", n))?.trim().is_empty() {
                return wrong("stop_sequences", "each stop sequence must contain non-whitespace");
            }
        }
    }
    if let Some(metadata) = given(body, "metadata") {
        let metadata = object(metadata, "metadata")?;
        only(metadata, "metadata", &["user_id"])?;
        if let Some(user) = given(metadata, "user_id") {
            string(user, "metadata.user_id")?;
        }
    }
    if let Some(tier) = given(body, "service_tier") {
        one_of(tier, "service_tier", &["auto", "standard_only"])?;
    }
    if let Some(speed) = given(body, "speed") {
        one_of(speed, "speed", &["standard", "fast"])?;
    }
    let Some(config) = given(body, "output_config") else { return Ok(None) };
    let config = object(config, "output_config")?;
    only(config, "output_config", &["effort", "format", "task_budget"])?;
    if let Some(effort) = given(config, "effort") {
        let words = ["low", "medium", "high", "xhigh", "max"];
        one_of(effort, "output_config.effort", &words)?;
    }
    tools::format(config)
}

fn sampling(body: &Object, generation: Option<(u32, u32)>) -> Checked<()> {
    let (temperature, top_p) = (share(body, "temperature")?, share(body, "top_p")?);
    let top_k = given(body, "top_k").map(|value| whole(value, "top_k", 0)).transpose()?;
    let Some(generation) = generation else { return Ok(()) };
    if generation >= (4, 7) {
        let set = [
            ("temperature", temperature.is_some_and(|t| t != 1.0)),
            ("top_p", top_p.is_some_and(|p| p != 1.0)),
            ("top_k", top_k.is_some()),
        ];
        if let Some((name, _)) = set.iter().find(|(_, set)| *set) {
            return Err(plain(format!("`{name}` is deprecated for this model.")));
        }
    }
    if generation >= (4, 1) && temperature.is_some() && top_p.is_some() {
        return Err(plain(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ));
    }
    Ok(())
}
