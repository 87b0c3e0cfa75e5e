//! Tower layer that prices the usage of every reply in integers and keeps totals
