#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tollway_fuzz::family_stream::check(data));
