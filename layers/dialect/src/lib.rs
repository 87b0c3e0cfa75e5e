//! The wire formats of LLM APIs as pure functions, and thin Tower layers on them
