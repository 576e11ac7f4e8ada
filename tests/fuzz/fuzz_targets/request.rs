//! Certificate requests: whatever is granted names the cluster and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relay_pki::enrolment::{BINDING_LENGTH, Binding, accept, read_request, requested_name};

const CLUSTER: &str = "cluster-1";

fuzz_target!(|der: &[u8]| {
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
});
