//! Tower layer that retries with jitter, Retry-After and a budget, and fails over along a plan
