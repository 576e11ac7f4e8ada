//! Bodies of enrolment requests: whatever is read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_pki::enrolment::{BODY_LIMIT, Layout, decode_body, encode_body};

fuzz_target!(|body: &[u8]| {
    let Ok(der) = decode_body(body) else {
        return;
    };
    assert!(!der.is_empty() && der.len() <= BODY_LIMIT);
    for layout in [Layout::OneLine, Layout::Lines] {
        // What is larger than a body may be no more when it is encoded again.
        let again = encode_body(&der, layout);
        if again.len() <= BODY_LIMIT {
            assert_eq!(decode_body(again.as_bytes()).as_deref(), Ok(der.as_slice()));
        }
    }
});
