#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wheelfarm_fuzz::run(
    wheelfarm_fuzz::checks::metadata,
    bytes
));
