//! Replies are looked at, not counted: every certificate's name, key and use, and that its serial number
//! is no other's; of every twentieth the chain.

use std::collections::HashSet;

use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::load::Answer;
use crate::target::Target;

/// Of so many certificates one has its chain verified.
const CHAINS: usize = 20;

/// Checks `answers`, and panics at the first that is not what was asked for.
pub(crate) fn verify(target: &Target, answers: &[Answer]) {
    let mut serials = HashSet::new();
    for (index, answer) in answers.iter().enumerate() {
        let wrong = |what: &str| -> ! {
            let text = String::from_utf8_lossy(&answer.body);
            panic!("{}: {what}: {} {text}", target.label, answer.status)
        };
        let order = &target.clients[answer.client].orders[answer.order];
        if !answer.status.is_success() {
            wrong("no certificate");
        }
        let Some(der) = target.dialect.certificate(&answer.body) else {
            wrong("the reply has no certificate");
        };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
            wrong("the certificate is broken");
        };
        if certificate.public_key().raw != order.spki {
            wrong("the certificate has another key");
        }
        let names = certificate.subject_alternative_name().ok().flatten();
        let named = names.is_some_and(
            |names| matches!(names.value.general_names[..], [GeneralName::DNSName(name)] if name == order.name),
        );
        if !named {
            wrong("the certificate has other names");
        }
        let usage = certificate.extended_key_usage().ok().flatten();
        if !usage.is_some_and(|usage| usage.value.client_auth) {
            wrong("the certificate is no client's");
        }
        if !serials.insert(certificate.raw_serial().to_vec()) {
            wrong("the serial number was used before");
        }
        if index % CHAINS == 0 {
            let anchors = [anchor_from_trusted_cert(&target.root).unwrap()];
            let leaf = EndEntityCert::try_from(&der).unwrap();
            let verified = leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                std::slice::from_ref(&target.intermediate),
                UnixTime::now(),
                KeyUsage::client_auth(),
                None,
                None,
            );
            if let Err(error) = verified {
                wrong(&format!("the chain does not verify: {error}"));
            }
        }
    }
}
