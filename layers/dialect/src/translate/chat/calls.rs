/// The tool calls of one choice of a stream, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
pub(super) struct Call {
    index: Option<u64>,
    pub(super) id: Option<String>,
    /// Its number among those that have begun; `None`: the name has not come.
    pub(super) number: Option<u32>,
    pub(super) signature: Option<String>,
    /// Arguments that came before the name.
    pub(super) early: String,
}

impl Calls {
    /// The call that a piece belongs to: by its index; but some providers give all the same one, or
    /// none, and tell calls apart by their ids.
    pub(super) fn of(
        &mut self,
        index: Option<u64>,
        id: Option<&str>,
        named: bool,
    ) -> Option<&mut Call> {
        let place = match index {
            Some(_) => self.0.iter().rposition(|call| call.index == index),
            None => {
                let by_id = |call: &Call| id.is_some() && call.id.as_deref() == id;
                self.0.iter().rposition(by_id).or(self.0.len().checked_sub(1))
            }
        };
        let same = |call: &Call| match (id, call.id.as_deref()) {
            (Some(id), Some(known)) => id == known || !named,
            (None, _) => index.is_some() || !named || call.number.is_none(),
            (Some(_), None) => index.is_some() || !named,
        };
        let known = place.filter(|place| self.0.get(*place).is_some_and(same));
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push(Call { index, ..Call::default() });
        }
        let call = self.0.get_mut(place)?;
        if let Some(id) = id.filter(|_| call.id.is_none()) {
            call.id = Some(id.to_owned());
        }
        Some(call)
    }
}
