use crate::translate::{StreamReader, hub::Event};

#[derive(Debug, Default)]
pub(crate) struct Reader {}

impl StreamReader for Reader {
    fn read(
        &mut self,
        _name: Option<&[u8]>,
        _data: &[u8],
        _emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), serde_json::Error> {
        Ok(())
    }
}
