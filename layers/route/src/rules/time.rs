/// A day and a time of day, as a policy's hours mean them: the caller of the router knows the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Days since Monday, 0 to 6.
    pub weekday: u8,
    /// Minutes since midnight, 0 to 1439.
    pub minute: u16,
}

/// Days of the week, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
    /// Monday to Friday.
    pub const WORKING: Self = Self(0b001_1111);
    /// Saturday and Sunday.
    pub const WEEKEND: Self = Self(0b110_0000);

    /// Those of the numbers 0 (Monday) to 6; others are no days.
    pub fn new(days: impl IntoIterator<Item = u8>) -> Self {
        let bit = |day: u8| 1_u8.checked_shl(day.into()).unwrap_or(0);
        Self(days.into_iter().fold(0, |all, day| all | bit(day)) & Self::ALL.0)
    }

    /// Whether it holds this one.
    pub fn contains(self, day: u8) -> bool {
        day < 7 && self.0 & (1 << day) != 0
    }
}

/// Hours of some days. One that ends before it begins goes on into the next day.
///
/// ```
/// use tollway_route::{Days, Moment, TimeRange};
///
/// let night = TimeRange { days: Days::new([4]), from: 22 * 60, to: 6 * 60 };
/// assert!(night.contains(Moment { weekday: 4, minute: 23 * 60 }));
/// assert!(night.contains(Moment { weekday: 5, minute: 5 * 60 }), "Friday's night");
/// assert!(!night.contains(Moment { weekday: 5, minute: 23 * 60 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// Days on which it begins.
    pub days: Days,
    /// First minute of the day.
    pub from: u16,
    /// The minute after the last; the same as the first: a whole day.
    pub to: u16,
}

impl TimeRange {
    /// Whether the moment lies in it.
    pub fn contains(self, at: Moment) -> bool {
        let today = self.days.contains(at.weekday);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&at.minute);
        }
        let yesterday = self.days.contains(at.weekday.wrapping_add(6) % 7);
        today && at.minute >= self.from || yesterday && at.minute < self.to
    }
}
