//! The query of a request, read strictly: what nobody knows is refused by name.

use super::v1::ApiError;
use crate::policy::nearest;

/// The pairs of a query.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Of these names only, each at most once.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                return Err(unknown(name, known));
            }
            let value = decoded(value);
            let value =
                value.ok_or_else(|| ApiError::bad(name, format!("{name}: bad encoding")))?;
            if pairs.iter().any(|(other, _)| other == name) {
                return Err(ApiError::bad(name, format!("{name} is given twice")));
            }
            pairs.push((name.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// A value that can be read as something else than text.
    pub(super) fn read<T: std::str::FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, ApiError> {
        let wrong = |text: &str| format!("{name}: expected {expected}, not `{text}`");
        let read = |text: &str| text.parse().map_err(|_| ApiError::bad(name, wrong(text)));
        self.get(name).map(read).transpose()
    }

    /// `name`, `name=true` or `name=false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            Some("") => Ok(true),
            _ => Ok(self.read(name, "true or false")?.unwrap_or(false)),
        }
    }
}

/// Nobody knows a part of this name.
pub(super) fn unknown(name: &str, known: &[&str]) -> ApiError {
    let name = &*name.chars().take(80).collect::<String>();
    let message = match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown: `{name}`; did you mean `{near}`?"),
        None if known.is_empty() => format!("unknown: `{name}`; nothing can be asked here"),
        None => format!("unknown: `{name}`; may be asked: {}", known.join(", ")),
    };
    ApiError::bad(name, message)
}

/// `%2F` and `+` of a query taken back.
pub(super) fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_refused() {
        let known = ["user", "last", "all"];
        let read = Query::parse(Some("user=a%20b+c&&last=3&all"), &known).unwrap();
        assert_eq!((read.get("user"), read.get("key")), (Some("a b c"), None));
        assert_eq!(read.read::<usize>("last", "a number").unwrap(), Some(3));
        assert!(read.flag("all").unwrap() && !read.flag("none").unwrap());
        for (wrong, said) in [
            ("usre=x", "did you mean `user`?"),
            ("colour=x", "may be asked: user, last, all"),
            ("user=%2", "bad encoding"),
            ("user=%ff", "bad encoding"),
            ("user=a&user=b", "given twice"),
        ] {
            let error = Query::parse(Some(wrong), &known).unwrap_err();
            assert!(error.message().contains(said), "{wrong}: {}", error.message());
        }
        let read = Query::parse(Some("last=x&all=maybe"), &known).unwrap();
        assert!(read.read::<usize>("last", "a number").unwrap_err().message().contains("`x`"));
        assert!(read.flag("all").is_err());
    }
}
