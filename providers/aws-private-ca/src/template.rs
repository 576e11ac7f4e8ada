//! Which template a certificate is issued by, and what AWS is told besides.

use aws_sdk_acmpca::types::{ApiPassthrough, Asn1Subject, Extensions, GeneralName};
use relay_pki_authority::x509::{DnsName, Subject};
use relay_pki_authority::{Profile, SigningRequest};

/// A template's name without its version, and what the API adds.
pub(crate) struct Template {
    pub(crate) name: String,
    pub(crate) passthrough: Option<ApiPassthrough>,
}

impl Template {
    /// The template for a request; none for a root, which nobody but itself can be issued by: there are
    /// templates for CAs with a path length only.
    ///
    /// Base templates take subject and names from the CSR. They are used where the CSR says exactly what
    /// is asked for: they need the least permission, and are the only ones that a CA of another account
    /// takes.
    pub(crate) fn of(request: &SigningRequest) -> Option<Self> {
        let base = match request.profile {
            Profile::Root => return None,
            Profile::Signer => "SubordinateCACertificate_PathLen0",
            Profile::RelayServer => "EndEntityServerAuthCertificate",
            Profile::AgentClient => "EndEntityClientAuthCertificate",
        };
        Some(match says_what_is_asked_for(request) {
            true => Self {
                name: base.to_owned(),
                passthrough: None,
            },
            false => Self {
                name: format!("{base}_APIPassthrough"),
                passthrough: Some(passthrough(request)),
            },
        })
    }
}

fn says_what_is_asked_for(request: &SigningRequest) -> bool {
    let csr = &request.csr;
    let mut said: Vec<&str> = csr
        .requested_dns_names()
        .iter()
        .map(String::as_str)
        .collect();
    let mut asked: Vec<&str> = request.names.iter().map(DnsName::as_str).collect();
    said.sort_unstable();
    asked.sort_unstable();
    csr.requested_subject() == request.subject.to_string()
        && said == asked
        && csr.requested_other_names().is_empty()
}

fn passthrough(request: &SigningRequest) -> ApiPassthrough {
    let names = request.names.iter();
    let names: Vec<GeneralName> = names
        .map(|name| GeneralName::builder().dns_name(name.as_str()).build())
        .collect();
    let extensions = Extensions::builder().set_subject_alternative_names(Some(names));
    ApiPassthrough::builder()
        .subject(subject(&request.subject))
        .set_extensions((!request.names.is_empty()).then(|| extensions.build()))
        .build()
}

/// A subject as AWS writes it.
pub(crate) fn subject(subject: &Subject) -> Asn1Subject {
    let organization = subject.organization.as_ref();
    Asn1Subject::builder()
        .set_organization(organization.map(|name| name.as_str().to_owned()))
        .common_name(subject.common_name.as_str())
        .build()
}
