/// Where a layer tells what it did. `()` is no listener; a closure is one.
///
/// Called on the request's path: it must be quick and must not block.
///
/// ```
/// use tollway_core::Hook;
///
/// fn layer(hook: &impl Hook<u32>) {
///     hook.on(&7);
/// }
/// layer(&());
/// layer(&|event: &u32| assert_eq!(*event, 7));
/// ```
pub trait Hook<E: ?Sized> {
    /// Receives one event.
    fn on(&self, event: &E);
}

impl<E: ?Sized> Hook<E> for () {
    fn on(&self, _: &E) {}
}

impl<E: ?Sized, F: Fn(&E)> Hook<E> for F {
    fn on(&self, event: &E) {
        self(event);
    }
}
