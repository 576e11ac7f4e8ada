//! What has become of a `CertificateRequest`.

use crate::objects::{CertificateRequest, Condition};

/// The state of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The certificate, PEM in base64.
    Issued(String),
    /// It will never be issued: nobody looks at it again.
    Refused(String),
    /// Not yet, and why.
    Waiting(String),
}

/// Reads the conditions. A certificate counts only once cert-manager says that it is the one.
pub(crate) fn verdict(request: &CertificateRequest) -> Verdict {
    let holds = |kind: &str| {
        let mut conditions = request.status.conditions.iter();
        conditions.find(|condition| condition.kind == kind && condition.status == "True")
    };
    if let Some(denied) = holds("Denied") {
        return Verdict::Refused(format!("it was denied{}", words(denied)));
    }
    if let Some(invalid) = holds("InvalidRequest") {
        return Verdict::Refused(format!("it is said to be invalid{}", words(invalid)));
    }
    let mut conditions = request.status.conditions.iter();
    let Some(ready) = conditions.find(|condition| condition.kind == "Ready") else {
        return Verdict::Waiting(match holds("Approved") {
            Some(_) => "no issuer has taken it up yet".to_owned(),
            None => "nobody has approved it yet".to_owned(),
        });
    };
    match (ready.status.as_str(), ready.reason.as_str()) {
        ("True", _) if !request.status.certificate.is_empty() => {
            Verdict::Issued(request.status.certificate.clone())
        }
        (_, "Failed" | "Denied") => Verdict::Refused(format!("it failed{}", words(ready))),
        _ => Verdict::Waiting(format!("it is pending{}", words(ready))),
    }
}

/// What somebody else wrote, on one line and not without end.
fn words(condition: &Condition) -> String {
    let (reason, message) = (&condition.reason, &condition.message);
    let text: String = format!("{reason}: {message}")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect();
    format!(" ({text})")
}
