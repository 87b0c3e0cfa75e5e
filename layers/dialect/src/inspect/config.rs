/// Bounds of [`Inspect`](crate::Inspect).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectConfig {
    /// Largest JSON body held for reading, in bytes; a larger one is refused with 413.
    /// Default 32 MiB.
    pub max_body: usize,
    /// Most bytes of a body that isn't held as JSON: uploads, files, calls that nobody knows. A
    /// larger one is refused with 413, by its `content-length` or once it proves to be larger.
    /// Default 512 MiB.
    pub max_upload: u64,
    /// Most bytes of a multipart upload held while its `model` field is looked for; behind more
    /// than that (a large file that comes first) it is not seen. Default 1 MiB.
    pub max_peek: usize,
}

impl Default for InspectConfig {
    fn default() -> Self {
        Self { max_body: 32 << 20, max_upload: 512 << 20, max_peek: 1 << 20 }
    }
}
