use tollway_dialect::translate::Form;

use super::{Check, models};
use crate::policy::{
    read::{At, List},
    registry::KnownProvider,
    values::FormName,
    written::ProviderWritten,
};

/// The APIs that a provider offers.
pub(super) fn forms(
    name: &At<String>,
    written: &ProviderWritten,
    known: Option<&KnownProvider>,
    check: &mut Check<'_, '_>,
) -> Vec<Form> {
    let dialect = written.dialect.as_ref().map(|at| at.value);
    if let Some(list) = &written.forms {
        listed(list, check);
        // Behind another address, or by another dialect, is another API.
        let elsewhere = [written.base_url.is_some(), dialect.is_some(), written.simulate.is_some()];
        if let Some(known) = known.filter(|_| elsewhere == [false; 3]) {
            offered(name, list, known, check);
        }
    }
    match known {
        _ if written.forms.is_some() || dialect.is_some() => models::forms(dialect, &written.forms),
        Some(known) => known.forms.clone(),
        // The simulated provider speaks whatever it is spoken to.
        None if written.simulate.is_some() => Form::ALL.to_vec(),
        None => models::forms(None, &None),
    }
}

fn listed(list: &At<List<FormName>>, check: &mut Check<'_, '_>) {
    // A name that is none was told, and is left out.
    if list.value.0.is_empty() && !check.reader.told_at(&format!("{}[0]", list.path)) {
        let help = "leave `forms` out for the default";
        check.reader.wrong(list, "there is no API in the list").help(help);
    }
    let mut before = vec![];
    for at in &list.value.0 {
        if before.contains(&at.value) {
            check.reader.wrong(at, "stands here twice").help("name each API once");
        }
        before.push(at.value);
    }
}

/// What a known provider is not known for, it may have learnt since.
fn offered(
    name: &At<String>,
    list: &At<List<FormName>>,
    known: &KnownProvider,
    check: &mut Check<'_, '_>,
) {
    let has = |form: &Form| {
        known.forms.contains(form) || *form == Form::Chat && known.openai_path.is_some()
    };
    for at in list.value.0.iter().filter(|at| !has(&at.value.into())) {
        let (form, name) = (check.reader.quote(at), check.reader.quote(name));
        let names = Form::ALL.iter().filter(|form| has(form)).map(|form| form.as_str());
        let names: Vec<_> = names.collect();
        let message = format!(
            "`{name}` is not known to offer `{form}`, only {}: for a server of your own that does, say its `base_url`",
            names.join(", ")
        );
        check.warn(at.span, &at.path, message);
    }
}
