//! What the workloads of a cluster start with.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use relay_pki_authority::x509::Certificate;

use crate::config::{ClusterSpec, Delivery};
use crate::engine::{ClusterState, Held, TlsState};

/// Names what a cluster holds: its trust bundle, and each certificate that we make for it with all that is
/// presented and trusted along with it. A process that was started while this was another one may present
/// or trust something else.
///
/// What the relay server signed is left out: the agent put it there itself.
pub fn mark(spec: &ClusterSpec, state: &ClusterState) -> String {
    let mut text = String::new();
    if let Some(trust) = state
        .trust
        .as_ref()
        .and_then(|held| held.content.as_ref().ok())
    {
        let _ = writeln!(text, "trust {}", trust.digest);
    }
    let agent = spec.agent.as_ref();
    let pushed = agent.is_some_and(|agent| agent.delivery == Delivery::Push);
    let certificates = [
        ("server", &state.server),
        ("signing", &state.signing),
        ("client", if pushed { &state.client } else { &None }),
    ];
    for (what, slot) in certificates {
        if let Some(content) = slot.as_ref().and_then(content) {
            let _ = write!(text, "{what} {}", content.digest);
            let above = content.above.iter();
            for certificate in std::iter::once(&content.leaf).chain(above) {
                let _ = write!(text, " {}", Certificate::fingerprint(certificate));
            }
            text.push('\n');
        }
    }
    let digest = digest(&SHA256, text.as_bytes());
    format!("sha256:{}", HEXLOWER.encode(digest.as_ref()))
}

fn content(held: &Held<TlsState>) -> Option<&TlsState> {
    held.content.as_ref().ok()
}
