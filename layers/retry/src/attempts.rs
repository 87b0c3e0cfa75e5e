use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode};
use tollway_core::{ErrorClass, Target};

/// One attempt and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// Where it went; `None` without a plan.
    pub target: Option<Target>,
    /// What went wrong; `None`: nothing.
    pub class: Option<ErrorClass>,
    /// The reply's status; `None` where there was no reply.
    pub status: Option<StatusCode>,
    /// The wait before it.
    pub waited: Duration,
    /// From its start to its reply's head or its error.
    pub elapsed: Duration,
}

impl fmt::Display for Attempt {
    /// `openai/gpt-4o;429`, or the class in place of the status; `-` without a target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{target};")?,
            None => f.write_str("-;")?,
        }
        match (self.status, self.class) {
            // An error hidden in a 200 is told by its class.
            (Some(status), Some(_)) if !status.is_success() => {
                write!(f, "{}", status.as_u16())
            }
            (_, Some(class)) => class.fmt(f),
            (Some(status), None) => write!(f, "{}", status.as_u16()),
            (None, None) => f.write_str("error"),
        }
    }
}

/// All attempts of a request, in order: in the extensions of its response, or in the
/// [`RetryError`](crate::RetryError). At most as many as the config allows.
///
/// Absent where the first attempt succeeded; [`header`](Self::header) knows that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts(Arc<[Attempt]>);

impl Attempts {
    /// The value of a header such as `x-tollway-attempts: openai/gpt-4o;429, groq/llama;200`; `None`
    /// where nothing is known (one attempt, no plan). Bytes that a header can't hold become `_`.
    pub fn header<R>(response: &Response<R>) -> Option<HeaderValue> {
        let extensions = response.extensions();
        if let Some(attempts) = extensions.get::<Self>() {
            return Some(attempts.header_value());
        }
        let target = extensions.get::<Target>()?;
        Some(value(&format!("{target};{}", response.status().as_u16())))
    }

    /// All attempts as one header value.
    pub fn header_value(&self) -> HeaderValue {
        value(&self.to_string())
    }
}

fn value(text: &str) -> HeaderValue {
    let bytes: Vec<u8> =
        text.bytes().map(|b| if b.is_ascii_graphic() || b == b' ' { b } else { b'_' }).collect();
    HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl From<Vec<Attempt>> for Attempts {
    fn from(attempts: Vec<Attempt>) -> Self {
        Self(attempts.into())
    }
}

impl std::ops::Deref for Attempts {
    type Target = [Attempt];

    fn deref(&self) -> &[Attempt] {
        &self.0
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, attempt) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            attempt.fmt(f)?;
        }
        Ok(())
    }
}
