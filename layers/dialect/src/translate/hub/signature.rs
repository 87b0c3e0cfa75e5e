use std::borrow::Cow;

use base64::engine::{
    DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig,
    general_purpose::STANDARD as BASE64,
};

use crate::translate::Form;

/// What proves to a provider that reasoning is its own: opaque, and of use there alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signature<'a> {
    /// The form of the provider that made it.
    pub(crate) of: Form,
    pub(crate) data: Cow<'a, str>,
}

/// Marks a signature of another form in a client's own. Base64 has no colon, so that no provider's
/// signature begins with it.
pub(crate) const MARK: &str = "tollway:";

/// What every [`MARK`] begins with in base64: as far as six bits don't depend on what follows.
pub(crate) const MARK_IN_BASE64: &str = "dG9sbHdheT";

const ANY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'a> Signature<'a> {
    pub(crate) fn new(of: Form, data: impl Into<Cow<'a, str>>) -> Self {
        Self { of, data: data.into() }
    }

    /// Stands on a thought that nothing proves, and tells that it is not the provider's own, for
    /// clients that want a signature on every thought, and for providers that would refuse it.
    pub(crate) fn unsigned() -> Self {
        Self::new(Form::Chat, "")
    }

    /// `None`: it is [`unsigned`](Self::unsigned), or nothing.
    pub(crate) fn some(self) -> Option<Self> {
        (!self.data.is_empty()).then_some(self)
    }

    /// Reads what stands in a field of `form`, written by its provider or by [`text`](Self::text).
    pub(crate) fn read(form: Form, text: Cow<'a, str>) -> Self {
        let text = match form {
            Form::Generate => unpacked(text),
            _ => text,
        };
        let marked = text.strip_prefix(MARK).and_then(|rest| {
            let (name, data) = rest.split_once(':')?;
            let of = Form::ALL.into_iter().find(|form| form.as_str() == name)?;
            Some((of, text.len() - data.len()))
        });
        match (marked, text) {
            (None, text) => Self::new(form, text),
            (Some((of, start)), Cow::Borrowed(text)) => {
                Self::new(of, text.get(start..).unwrap_or(""))
            }
            (Some((of, start)), Cow::Owned(mut text)) => Self::new(of, text.split_off(start)),
        }
    }

    /// What to write into a field of `form`: as it is where it comes from there, marked elsewhere,
    /// so that it finds its way back.
    pub(crate) fn text(&self, form: Form) -> Cow<'a, str> {
        if self.of == form {
            return self.data.clone();
        }
        let marked = format!("{MARK}{}:{}", self.of, self.data);
        // Gemini's signatures are bytes, and its SDKs decode them.
        match form {
            Form::Generate => BASE64.encode(marked).into(),
            _ => marked.into(),
        }
    }

    /// The signature, if a provider of `form` made it.
    pub(crate) fn for_provider(self, form: Form) -> Option<Cow<'a, str>> {
        (self.of == form).then_some(self.data)
    }
}

fn unpacked(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.starts_with(MARK_IN_BASE64) {
        return text;
    }
    // An SDK may have written it again in the alphabet for URLs, or without padding.
    let bytes = ANY_BASE64.decode(text.replace('-', "+").replace('_', "/"));
    match bytes.map(String::from_utf8) {
        Ok(Ok(marked)) => marked.into(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_way_back() {
        for of in Form::ALL {
            for through in Form::ALL {
                let made = Signature::new(of, "abc+/=");
                let carried = made.text(through).into_owned();
                assert_eq!(Signature::read(through, carried.clone().into()), made);
                assert_eq!(Signature::read(through, carried.as_str().into()), made);
            }
        }
        for text in ["", "tollway:", "tollway:x:y", "tollway:chat"] {
            let read = Signature::read(Form::Messages, text.into());
            assert_eq!(read, Signature::new(Form::Messages, text));
        }
    }
}
