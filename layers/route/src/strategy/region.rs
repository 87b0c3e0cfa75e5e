//! By where members stand.

use super::{Entrant, Rank, sorted};
use crate::set::Few;

pub(super) fn nearest(all: &[Entrant]) -> Few<Rank> {
    sorted(all, |one| f32::from(one.away))
}
