use crate::{
    BadRequest,
    json::Object,
    translate::{Fit, Losses, hub::Request},
};

pub(crate) fn write_request<'a>(
    request: &mut Request<'a>,
    _fit: &Fit,
    _losses: &mut Losses,
) -> Result<Object<'a>, BadRequest> {
    Ok(Object::new().with("model", request.model.clone()))
}
