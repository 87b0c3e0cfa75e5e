use std::borrow::Cow;

use http::Method;
use tollway_core::Operation;

use crate::path;

/// A call of Google's form, `models/{model}:{method}`, as its path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What is called.
    pub operation: Operation,
    /// The model: `gemini-2.5-flash`, but `tunedModels/x` for one in another collection.
    pub model: Cow<'a, str>,
    /// The reply is to be streamed (`:streamGenerateContent`).
    pub stream: bool,
}

impl<'a> Call<'a> {
    /// The call that a path names, if it is one of generation, embedding or counting; whatever
    /// stands in front of `models/` is passed over.
    ///
    /// ```
    /// use tollway_core::Operation;
    /// use tollway_dialect::gemini::Call;
    ///
    /// let call = Call::of("/v1beta/models/gemini-2.5-flash:streamGenerateContent").unwrap();
    /// assert_eq!(call.model, "gemini-2.5-flash");
    /// assert!(call.operation == Operation::GenerateContent && call.stream);
    /// assert_eq!(Call::of("/v1beta/models/gemini-2.5-flash"), None);
    /// ```
    pub fn of(path: &'a str) -> Option<Self> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        // Few letters of the method are ever encoded; then all of the path is read anew.
        if let Some(named) = Named::of(path::behind(path)) {
            return Some(Self::new(&named, path::decoded(named.model, |_| true)));
        }
        let spelled = path.contains('%').then(|| path::spelled(path))?;
        let named = Named::of(path::behind(&spelled))?;
        Some(Self::new(&named, path::decoded(named.model, |_| true).into_owned().into()))
    }

    fn new(named: &Named<'_>, model: Cow<'a, str>) -> Self {
        Self { operation: named.operation, model, stream: named.stream }
    }
}

const METHODS: [(&str, Operation, bool); 7] = [
    ("generateContent", Operation::GenerateContent, false),
    ("streamGenerateContent", Operation::GenerateContent, true),
    ("countTokens", Operation::CountTokens, false),
    ("embedContent", Operation::Embeddings, false),
    ("batchEmbedContents", Operation::Embeddings, false),
    ("batchGenerateContent", Operation::Batches, false),
    ("asyncBatchEmbedContent", Operation::Batches, false),
];

/// Where the parts of such a call stand in its path.
pub(crate) struct Named<'a> {
    operation: Operation,
    stream: bool,
    /// With its collection: `models/{model}`.
    pub(crate) name: &'a str,
    pub(crate) model: &'a str,
}

impl<'a> Named<'a> {
    /// `rest` stands behind the base URL's prefixes.
    pub(crate) fn of(rest: &'a str) -> Option<Self> {
        let (name, method) = rest.rsplit_once(':')?;
        let known = METHODS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(method));
        let (_, operation, stream) = *known?;
        let (collection, model) =
            in_models(name).or_else(|| name.contains('/').then_some((0, 0)))?;
        Some(Self { operation, stream, name: name.get(collection..)?, model: name.get(model..)? })
    }

    /// What the call is; all of them are posted.
    pub(crate) fn operation(&self, method: &Method) -> Operation {
        if method == Method::POST { self.operation } else { Operation::Other }
    }
}

/// Where `models/` and what it holds begin: at the start, or behind a project's path.
fn in_models(name: &str) -> Option<(usize, usize)> {
    const MODELS: &str = "models/";
    let mut at = 0;
    loop {
        let rest = name.get(at..)?;
        if rest.get(..MODELS.len()).is_some_and(|first| first.eq_ignore_ascii_case(MODELS)) {
            return Some((at, at + MODELS.len()));
        }
        at += rest.find('/')? + 1;
    }
}

/// The name of a model with its collection.
pub(crate) fn full_name(model: &str) -> Cow<'_, str> {
    let collections = ["models/", "tunedModels/", "dynamic/"];
    match collections.iter().any(|collection| model.starts_with(collection)) {
        true => Cow::Borrowed(model),
        false => Cow::Owned(format!("models/{model}")),
    }
}
