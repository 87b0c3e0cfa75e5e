//! The messages of a request: which fields there are, and of what type.

/// A field: its name in JSON and its type.
pub(super) type Field = (&'static str, Type);

/// A message; an unknown field in it is an error.
pub(super) struct Message(pub(super) &'static [Field]);

#[derive(Clone, Copy)]
pub(super) enum Type {
    Text,
    /// Base64.
    Bytes,
    Number,
    Whole,
    Flag,
    /// Any value.
    Any,
    /// An object of anything.
    Struct,
    /// One of these names.
    Enum(&'static [&'static str]),
    Of(&'static Message),
    List(&'static Type),
    /// Names of any kind to these.
    Map(&'static Type),
}

use Type::{Any, Bytes, Enum, Flag, List, Map, Number, Of, Struct, Text, Whole};

pub(super) static GENERATE: Message = Message(&[
    ("model", Text),
    ("contents", List(&Of(&CONTENT))),
    ("systemInstruction", Of(&CONTENT)),
    ("tools", List(&Of(&TOOL))),
    ("toolConfig", Of(&TOOL_CONFIG)),
    ("safetySettings", List(&Of(&SAFETY_SETTING))),
    ("generationConfig", Of(&GENERATION_CONFIG)),
    ("cachedContent", Text),
    ("serviceTier", Text),
    ("store", Flag),
]);

pub(super) static COUNT: Message = Message(&[
    ("model", Text),
    ("contents", List(&Of(&CONTENT))),
    ("generateContentRequest", Of(&GENERATE)),
]);

pub(super) static EMBED: Message = Message(&[
    ("model", Text),
    ("content", Of(&CONTENT)),
    ("taskType", Text),
    ("title", Text),
    ("outputDimensionality", Whole),
    ("embedContentConfig", Any),
]);

pub(super) static BATCH_EMBED: Message =
    Message(&[("model", Text), ("requests", List(&Of(&EMBED)))]);

static CONTENT: Message = Message(&[("role", Text), ("parts", List(&Of(&PART)))]);

/// The fields of a part of which exactly one is given.
pub(super) const PART_DATA: [&str; 9] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

static PART: Message = Message(&[
    ("text", Text),
    ("inlineData", Of(&BLOB)),
    ("fileData", Of(&FILE)),
    ("functionCall", Of(&CALL)),
    ("functionResponse", Of(&RESPONSE)),
    ("executableCode", Any),
    ("codeExecutionResult", Any),
    ("toolCall", Any),
    ("toolResponse", Any),
    ("thought", Flag),
    ("thoughtSignature", Bytes),
    ("videoMetadata", Any),
    ("mediaResolution", Any),
    ("partMetadata", Struct),
]);

static BLOB: Message = Message(&[("mimeType", Text), ("data", Bytes)]);

static FILE: Message = Message(&[("mimeType", Text), ("fileUri", Text)]);

static CALL: Message = Message(&[("id", Text), ("name", Text), ("args", Struct)]);

static RESPONSE: Message = Message(&[
    ("id", Text),
    ("name", Text),
    ("response", Struct),
    ("willContinue", Flag),
    ("scheduling", Text),
    ("parts", List(&Of(&RESPONSE_PART))),
]);

static RESPONSE_PART: Message = Message(&[("inlineData", Of(&BLOB))]);

static TOOL: Message = Message(&[
    ("functionDeclarations", List(&Of(&DECLARATION))),
    ("googleSearch", Any),
    ("googleSearchRetrieval", Any),
    ("googleMaps", Any),
    ("codeExecution", Any),
    ("urlContext", Any),
    ("computerUse", Any),
    ("fileSearch", Any),
]);

static DECLARATION: Message = Message(&[
    ("name", Text),
    ("description", Text),
    ("behavior", Text),
    ("parameters", Of(&SCHEMA)),
    ("parametersJsonSchema", Any),
    ("response", Of(&SCHEMA)),
    ("responseJsonSchema", Any),
]);

static SCHEMA: Message = Message(&[
    (
        "type",
        Enum(&[
            "TYPE_UNSPECIFIED",
            "STRING",
            "NUMBER",
            "INTEGER",
            "BOOLEAN",
            "ARRAY",
            "OBJECT",
            "NULL",
        ]),
    ),
    ("format", Text),
    ("title", Text),
    ("description", Text),
    ("nullable", Flag),
    ("enum", List(&Text)),
    ("maxItems", Whole),
    ("minItems", Whole),
    ("properties", Map(&Of(&SCHEMA))),
    ("required", List(&Text)),
    ("minProperties", Whole),
    ("maxProperties", Whole),
    ("minLength", Whole),
    ("maxLength", Whole),
    ("pattern", Text),
    ("example", Any),
    ("anyOf", List(&Of(&SCHEMA))),
    ("propertyOrdering", List(&Text)),
    ("default", Any),
    ("items", Of(&SCHEMA)),
    ("minimum", Number),
    ("maximum", Number),
]);

static TOOL_CONFIG: Message = Message(&[
    ("functionCallingConfig", Of(&CALLING_CONFIG)),
    ("retrievalConfig", Any),
    ("includeServerSideToolInvocations", Flag),
]);

static CALLING_CONFIG: Message = Message(&[
    ("mode", Enum(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
    ("allowedFunctionNames", List(&Text)),
    ("streamFunctionCallArguments", Flag),
]);

static SAFETY_SETTING: Message = Message(&[("category", Text), ("threshold", Text)]);

static GENERATION_CONFIG: Message = Message(&[
    ("stopSequences", List(&Text)),
    ("responseMimeType", Text),
    ("responseSchema", Of(&SCHEMA)),
    ("responseJsonSchema", Any),
    ("_responseJsonSchema", Any),
    ("responseModalities", List(&Text)),
    ("candidateCount", Whole),
    ("maxOutputTokens", Whole),
    ("temperature", Number),
    ("topP", Number),
    ("topK", Number),
    ("seed", Whole),
    ("presencePenalty", Number),
    ("frequencyPenalty", Number),
    ("responseLogprobs", Flag),
    ("logprobs", Whole),
    ("enableEnhancedCivicAnswers", Flag),
    ("speechConfig", Any),
    ("thinkingConfig", Of(&THINKING_CONFIG)),
    ("imageConfig", Any),
    ("mediaResolution", Text),
]);

static THINKING_CONFIG: Message = Message(&[
    ("includeThoughts", Flag),
    ("thinkingBudget", Whole),
    ("thinkingLevel", Enum(&["THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH"])),
]);
