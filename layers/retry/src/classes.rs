use std::fmt;

use tollway_core::ErrorClass;

/// A set of [`ErrorClass`]es.
///
/// ```
/// use tollway_core::ErrorClass;
/// use tollway_retry::Settings;
///
/// let classes = Settings::default().fail_over_on.with(ErrorClass::ContentFilter);
/// assert!(classes.contains(ErrorClass::ContentFilter));
/// assert!(!classes.without(ErrorClass::Auth).contains(ErrorClass::Auth));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Classes(u32);

impl Classes {
    /// No class.
    pub const NONE: Self = Self(0);

    /// The set and this class.
    #[must_use]
    pub fn with(self, class: ErrorClass) -> Self {
        Self(self.0 | bit(class))
    }

    /// The set without this class.
    #[must_use]
    pub fn without(self, class: ErrorClass) -> Self {
        Self(self.0 & !bit(class))
    }

    /// Whether this class is in it.
    pub fn contains(self, class: ErrorClass) -> bool {
        self.0 & bit(class) != 0
    }

    /// The classes in it.
    pub fn iter(self) -> impl Iterator<Item = ErrorClass> {
        ErrorClass::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

fn bit(class: ErrorClass) -> u32 {
    1u32.checked_shl(class as u32).unwrap_or(0)
}

impl FromIterator<ErrorClass> for Classes {
    fn from_iter<I: IntoIterator<Item = ErrorClass>>(classes: I) -> Self {
        classes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
