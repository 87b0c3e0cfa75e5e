use super::{Field, Form};

/// How one model at one provider wants to be spoken to: the provider's known deviations, as data.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// The form in which it is called.
    pub form: Form,
    /// What the form has a name for, but this model doesn't take.
    pub lacks: Vec<Field>,
    /// Higher temperatures are brought down to this.
    pub max_temperature: Option<f64>,
    /// The model's largest output: filled in where the form demands a bound and the client set none.
    pub max_output_tokens: Option<u64>,
    /// Chat: the bound is called `max_tokens`, not `max_completion_tokens`.
    pub legacy_max_tokens: bool,
    /// Chat: instructions are `developer` messages, not `system`.
    pub developer_role: bool,
    /// How it is told how much to think.
    pub reasoning: Reasoning,
    /// Chat: it wants its `reasoning_content` back.
    pub echo_reasoning: bool,
    /// Messages: takes schemas (`output_config.format`); if not, a forced tool stands for it.
    pub structured: bool,
    /// Messages: the last message may be the beginning of the answer.
    pub prefill: bool,
    /// Messages: `temperature` and `top_p` refuse each other.
    pub one_sampling: bool,
    /// Generate: calls without a signature are refused, so a documented placeholder stands for it.
    pub needs_signature: bool,
    /// How many stop sequences it takes.
    pub max_stop: usize,
}

/// How a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// It can't be told.
    None,
    /// By name: `reasoning_effort`, `reasoning.effort`.
    Effort,
    /// `thinking: {type: enabled | disabled}` (DeepSeek).
    Switch,
    /// `thinking: {type: adaptive}` and `output_config.effort` (Claude from 4.6 on).
    Adaptive,
    /// `thinking.budget_tokens` (older Claude), `thinkingBudget` (Gemini 2.5).
    Budget,
    /// `thinkingLevel` (Gemini 3).
    Level,
}

impl Fit {
    /// A model that takes all that its form has.
    pub fn new(form: Form) -> Self {
        let reasoning = match form {
            Form::Chat | Form::Responses => Reasoning::Effort,
            Form::Messages => Reasoning::Adaptive,
            Form::Generate => Reasoning::Level,
        };
        let max_stop = match form {
            Form::Chat => 4,
            Form::Generate => 5,
            Form::Responses | Form::Messages => usize::MAX,
        };
        Self {
            form,
            lacks: Vec::new(),
            max_temperature: (form == Form::Messages).then_some(1.0),
            max_output_tokens: None,
            legacy_max_tokens: false,
            developer_role: false,
            reasoning,
            echo_reasoning: false,
            structured: true,
            prefill: true,
            one_sampling: false,
            needs_signature: false,
            max_stop,
        }
    }

    /// Whether the target takes this field.
    pub(crate) fn keeps(&self, field: Field) -> bool {
        field.name(self.form).is_some() && !self.lacks.contains(&field)
    }
}
