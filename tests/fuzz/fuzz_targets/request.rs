//! Certificate requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|der: &[u8]| relay_pki_fuzz::properties::request(der));
