//! Tower layer that decides which targets may answer a request, in which order, and why
