use crate::Reason;

/// What the layer found, told through its hook: what named the user, or why it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// One of our keys.
    Key,
    /// The trusted header.
    Header,
    /// The hash of the provider key that was sent.
    ProviderKey,
    /// The client's address.
    Ip,
    /// No source answered; the request goes on without a user.
    Unknown,
    /// No valid key; the request went no further.
    Refused(Reason),
}

impl Event {
    /// A snake_case name for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Header => "header",
            Self::ProviderKey => "provider_key",
            Self::Ip => "ip",
            Self::Unknown => "unknown",
            Self::Refused(Reason::Missing) => "refused_missing",
            Self::Refused(Reason::Wrong) => "refused_wrong",
            Self::Refused(Reason::Ambiguous) => "refused_ambiguous",
        }
    }
}
