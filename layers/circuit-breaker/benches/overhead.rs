//! What the layer costs over a bare service.
fn main() {}
