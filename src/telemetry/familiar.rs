use std::sync::{Arc, Mutex, PoisonError};

use tollway_core::NameMap;

/// Names that come with request after request, each kept once.
///
/// A request's own copy is made and freed by the thread that serves it. One that went on in a
/// ledger's row would be freed by another, and what `malloc` has to do then costs more than a look
/// in here.
#[derive(Clone, Debug, Default)]
pub(super) struct Familiar(Arc<Mutex<NameMap<Arc<str>, ()>>>);

/// Names that are kept at most, and their bytes.
const MOST: usize = 4_096;
const LONGEST: usize = 128;

impl Familiar {
    /// The same name, in the copy that was there first.
    pub(super) fn name(&self, name: &Arc<str>) -> Arc<str> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, ())) = known.get_key_value(name) {
            return known.clone();
        }
        if name.len() <= LONGEST {
            // Names that clients make up fill it; starting over keeps the real ones.
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(name.clone(), ());
        }
        name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn the_first_copy_of_a_name_is_the_one_that_is_kept() {
        let familiar = Familiar::default();
        let first = familiar.name(&name("gpt-4o"));
        let second = name("gpt-4o");
        assert!(Arc::ptr_eq(&familiar.name(&second), &first));
        assert_eq!(Arc::strong_count(&second), 1);
    }

    #[test]
    fn names_that_clients_make_up_are_not_kept_for_ever() {
        let familiar = Familiar::default();
        let made_up: Vec<_> = (0..=MOST).map(|n| familiar.name(&name(&n.to_string()))).collect();
        assert_eq!(made_up.last().map(|name| &**name), Some(&*MOST.to_string()));
        let kept = made_up.iter().filter(|name| Arc::strong_count(name) > 1).count();
        assert_eq!(kept, 1);
        let long = familiar.name(&name(&"m".repeat(LONGEST + 1)));
        assert_eq!(Arc::strong_count(&long), 1);
    }
}
