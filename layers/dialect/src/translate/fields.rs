//! What each form can say: the one table that translation, refusals and docs/dialects.md go by.

use super::Form;

/// What a request may ask for, under whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table below names each in the words of all four forms")]
pub enum Field {
    MaxTokens,
    Temperature,
    TopP,
    TopK,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    Choices,
    Stop,
    Logprobs,
    JsonMode,
    JsonSchema,
    Thinking,
    ThinkingShown,
    Verbosity,
    User,
    Tools,
    StrictTools,
    ToolChoice,
    ForcedTool,
    ParallelTools,
    ImageUrl,
    ImageData,
    ImageFile,
    ImageDetail,
    DocumentData,
    DocumentUrl,
    DocumentFile,
    DocumentName,
    AudioData,
    ToolResultImage,
    ToolResultError,
    ThinkingText,
    Signature,
    Refusal,
    Citations,
    CacheControl,
}

/// What it means if a field can't be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The answer is still one to the question: told in `x-tollway-dropped`.
    Harmless,
    /// It would be the answer to another question, or lack what was asked for: refused.
    Meaning,
}

/// One line of the table: a field's names, by [`Form::ALL`], `None` where the form has none.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The field.
    pub field: Field,
    /// Its names.
    pub names: [Option<&'static str>; 4],
    /// What its loss means.
    pub loss: Loss,
}

const fn row(field: Field, loss: Loss, names: [&'static str; 4]) -> Row {
    let [chat, responses, messages, generate] = names;
    Row { field, loss, names: [some(chat), some(responses), some(messages), some(generate)] }
}

const fn some(name: &'static str) -> Option<&'static str> {
    if name.is_empty() { None } else { Some(name) }
}

use Loss::{Harmless, Meaning};

/// Every field that more than one form knows. An empty name: this form can't say it.
#[rustfmt::skip]
pub const TABLE: [Row; 37] = [
    row(Field::MaxTokens, Meaning, ["max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens"]),
    row(Field::Temperature, Harmless, ["temperature", "temperature", "temperature", "generationConfig.temperature"]),
    row(Field::TopP, Harmless, ["top_p", "top_p", "top_p", "generationConfig.topP"]),
    row(Field::TopK, Harmless, ["", "", "top_k", "generationConfig.topK"]),
    row(Field::FrequencyPenalty, Harmless, ["frequency_penalty", "", "", "generationConfig.frequencyPenalty"]),
    row(Field::PresencePenalty, Harmless, ["presence_penalty", "", "", "generationConfig.presencePenalty"]),
    row(Field::Seed, Harmless, ["seed", "", "", "generationConfig.seed"]),
    row(Field::Choices, Meaning, ["n", "", "", "generationConfig.candidateCount"]),
    row(Field::Stop, Meaning, ["stop", "", "stop_sequences", "generationConfig.stopSequences"]),
    row(Field::Logprobs, Meaning, ["logprobs", "top_logprobs", "", "generationConfig.responseLogprobs"]),
    row(Field::JsonMode, Meaning, ["response_format", "text.format", "system", "generationConfig.responseMimeType"]),
    row(Field::JsonSchema, Meaning, ["response_format", "text.format", "output_config.format", "generationConfig.responseJsonSchema"]),
    row(Field::Thinking, Harmless, ["reasoning_effort", "reasoning.effort", "thinking", "generationConfig.thinkingConfig"]),
    row(Field::ThinkingShown, Harmless, ["", "reasoning.summary", "thinking.display", "generationConfig.thinkingConfig.includeThoughts"]),
    row(Field::Verbosity, Harmless, ["verbosity", "text.verbosity", "", ""]),
    row(Field::User, Harmless, ["user", "user", "metadata.user_id", ""]),
    row(Field::Tools, Meaning, ["tools", "tools", "tools", "tools"]),
    row(Field::StrictTools, Harmless, ["tools.function.strict", "tools.strict", "tools.strict", ""]),
    row(Field::ToolChoice, Meaning, ["tool_choice", "tool_choice", "tool_choice", "toolConfig"]),
    row(Field::ForcedTool, Meaning, ["tool_choice", "tool_choice", "tool_choice", "toolConfig"]),
    row(Field::ParallelTools, Harmless, ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", ""]),
    row(Field::ImageUrl, Meaning, ["image_url", "input_image", "image", "fileData"]),
    row(Field::ImageData, Meaning, ["image_url", "input_image", "image", "inlineData"]),
    row(Field::ImageFile, Meaning, ["", "input_image.file_id", "image", ""]),
    row(Field::ImageDetail, Harmless, ["image_url.detail", "input_image.detail", "", ""]),
    row(Field::DocumentData, Meaning, ["file.file_data", "input_file.file_data", "document", "inlineData"]),
    row(Field::DocumentUrl, Meaning, ["", "input_file.file_url", "document", "fileData"]),
    row(Field::DocumentFile, Meaning, ["file.file_id", "input_file.file_id", "document", ""]),
    row(Field::DocumentName, Harmless, ["file.filename", "input_file.filename", "document.title", ""]),
    row(Field::AudioData, Meaning, ["input_audio", "", "", "inlineData"]),
    row(Field::ToolResultImage, Meaning, ["messages.content", "function_call_output.output", "tool_result.content", "inlineData"]),
    row(Field::ToolResultError, Harmless, ["messages.content", "function_call_output.output", "tool_result.is_error", "functionResponse.response"]),
    row(Field::ThinkingText, Harmless, ["reasoning_content", "reasoning", "thinking", "thought"]),
    row(Field::Signature, Harmless, ["thinking_blocks", "reasoning.encrypted_content", "thinking.signature", "thoughtSignature"]),
    row(Field::Refusal, Harmless, ["refusal", "refusal", "text", "text"]),
    row(Field::Citations, Harmless, ["annotations", "annotations", "citations", "citationMetadata"]),
    row(Field::CacheControl, Harmless, ["cache_control", "", "cache_control", ""]),
];

impl Field {
    fn row(self) -> &'static Row {
        // Every field has its line: a test sees to it.
        TABLE.iter().find(|row| row.field == self).unwrap_or(&TABLE[0])
    }

    /// What `form` calls it; `None`: it can't say it.
    pub fn name(self, form: Form) -> Option<&'static str> {
        self.row().names.get(form.index()).copied().flatten()
    }

    /// What its loss means.
    pub fn loss(self) -> Loss {
        self.row().loss
    }

    /// Its own name in snake case: `top_k`.
    pub fn to_name(self) -> String {
        let mut out = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !out.is_empty() {
                out.push('_');
            }
            out.push(letter.to_ascii_lowercase());
        }
        out
    }
}

/// From its own name, as data files write it: `top_k`.
impl std::str::FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        let mut fields = TABLE.iter().map(|row| row.field);
        fields.find(|field| field.to_name() == name).ok_or(UnknownField)
    }
}

/// No field has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownField;

impl std::fmt::Display for UnknownField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no field that is translated has this name")
    }
}

impl std::error::Error for UnknownField {}
