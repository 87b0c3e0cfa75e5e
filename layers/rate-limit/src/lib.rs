//! Tower layer for limits by any key, in requests, tokens, money or concurrency: reserve, then settle
