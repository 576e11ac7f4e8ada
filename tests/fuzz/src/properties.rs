//! What holds for every input. `cargo test` replays the corpus on the same.

use super::{
    BINDING_LENGTH, BODY_LIMIT, Binding, Layout, accept, decode_body, encode_body, read_request,
    requested_name,
};

const CLUSTER: &str = "cluster-1";

/// Bodies of enrolment requests: whatever is read can be written and read again.
pub fn body(body: &[u8]) {
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
}

/// Certificate requests: whatever is granted names the cluster and nothing else.
pub fn request(der: &[u8]) {
    let Ok(csr) = read_request(der) else {
        return;
    };
    let known = [csr
        .public_key()
        .key_type()
        .expect("a key that was accepted")];
    let _ = requested_name(&csr);
    for binding in [Binding::Unknown, Binding::Exporter([0; BINDING_LENGTH])] {
        if accept(&csr, CLUSTER, &known, &binding).is_ok() {
            assert!(csr.requested_dns_names().iter().all(|name| name == CLUSTER));
            assert!(csr.requested_other_names().is_empty());
            assert!(csr.for_leaf().is_ok());
        }
    }
}
