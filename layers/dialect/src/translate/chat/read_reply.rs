use crate::{
    json::Json,
    translate::{Unreadable, hub::Reply},
};

pub(crate) fn read_reply(_json: Json<'_>) -> Result<Reply<'_>, Unreadable> {
    Ok(Reply::default())
}
