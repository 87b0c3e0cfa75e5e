//! By where members stand.

use super::{Entrant, Rank, sorted};
use crate::set::Few;

pub(super) fn nearest(all: &[Entrant]) -> Few<Rank> {
    sorted(all, |one| f32::from(one.away))
}

/// How far a member's region is from the caller's.
pub(crate) fn away(theirs: Option<&str>, mine: Option<&str>) -> u8 {
    let area = |region: &str| region.split('-').next().map(str::len).unwrap_or(0);
    match (theirs, mine) {
        (Some(theirs), Some(mine)) if theirs.eq_ignore_ascii_case(mine) => 0,
        (Some(theirs), Some(mine)) => {
            let (a, b) = (theirs.get(..area(theirs)), mine.get(..area(mine)));
            let same = a.zip(b).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
            if same { 1 } else { 2 }
        }
        _ => 2,
    }
}
