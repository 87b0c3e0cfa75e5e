use crate::{
    BadRequest,
    json::{At, Json},
    translate::hub::Request,
};

pub(crate) fn read_request(json: Json<'_>) -> Result<Request<'_>, BadRequest> {
    let _object = json.into_object(&At::Root)?;
    Ok(Request::default())
}
