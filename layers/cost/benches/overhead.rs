//! What the layer costs over a bare service, in time and allocations.
fn main() {}
