//! Tower layer with keyed circuit breakers that sample a reply at its end, not at its head
