//! Bodies of enrolment requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| relay_pki_fuzz::properties::body(body));
