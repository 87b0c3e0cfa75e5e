//! Tower layer that tells who is calling: key, trusted header, provider key or client IP
