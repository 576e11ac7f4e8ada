//! The CAs behind issuers: those that the document names, and our own.

use relay_pki_authority::x509::Certificate;
use relay_pki_authority::{AuthorityError, Generation};

use crate::api::{Api, Kind};
use crate::failure::Failure;
use crate::objects::{API_VERSION, CaIssuer, Issuer, IssuerSpec, MANAGED_BY, Metadata, RELAY};
use crate::settings::ExistingCa;

/// The certificates of a CA that exists: the one that it signs with first, its root last.
pub(crate) async fn certificates(
    authority: &str,
    existing: &ExistingCa,
) -> Result<Vec<Certificate>, AuthorityError> {
    let place = existing.certificates.place();
    let wrong = |reason: String| AuthorityError::Misconfigured {
        authority: authority.to_owned(),
        reason: format!("{place}: {reason}"),
        remedy: format!(
            "write there the certificates of {}, from the one that it signs with up to its root",
            existing.issuer
        ),
    };
    let pem = existing.certificates.read().await;
    let pem = pem.map_err(|error| wrong(error.reason))?;
    let found = Certificate::list_from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
    ordered(found).map_err(wrong)
}

/// From what signs to the root, each issued by the next. cert-manager calls the highest certificate
/// that it knows `ca`, be it a root or not: what has no root here is refused.
fn ordered(found: Vec<Certificate>) -> Result<Vec<Certificate>, String> {
    let (roots, mut rest): (Vec<_>, Vec<_>) =
        found.into_iter().partition(Certificate::is_self_signed);
    let mut roots = roots.into_iter();
    let root = roots.next().ok_or("no certificate in it is a root's")?;
    if let Some(other) = roots.find(|other| *other != root) {
        return Err(format!(
            "it has two roots, {} and {}",
            root.subject(),
            other.subject()
        ));
    }
    let mut chain = vec![root];
    while let Some(top) = chain.last() {
        let below = rest.iter().position(|other| other.is_issued_by(top));
        let Some(below) = below else { break };
        let below = rest.swap_remove(below);
        rest.retain(|other| *other != below);
        chain.push(below);
    }
    if let Some(stray) = rest.first() {
        return Err(format!(
            "{} does not belong to the way from the CA to its root",
            stray.subject()
        ));
    }
    chain.reverse();
    Ok(chain)
}

/// Sees to it that there is an `Issuer` that signs with the CA in the Secret of a generation.
pub(crate) async fn ensure(
    api: &Api,
    authority: &str,
    generation: &Generation,
    secret: String,
) -> Result<(), AuthorityError> {
    let failed =
        |failure: Failure| failure.into_error(authority.into(), "make its Issuer", &api.namespace);
    let disabled = signing_with(nothing(&secret));
    let wanted = issuer(&generation.relay, secret.clone(), secret);
    let name = &wanted.metadata.name;
    let found: Option<Issuer> = api.get(Kind::Issuers, name).await.map_err(failed)?;
    let found = match found {
        Some(found) => Some(found),
        None => match api.create(Kind::Issuers, &wanted).await.map_err(failed)? {
            Some(_) => return Ok(()),
            None => api.get(Kind::Issuers, name).await.map_err(failed)?,
        },
    };
    match found {
        Some(found) if found.spec == wanted.spec => Ok(()),
        Some(found) if found.spec == disabled => Err(AuthorityError::Misconfigured {
            authority: authority.to_owned(),
            reason: format!(
                "it is disabled: Issuer {}/{name} names no Secret",
                api.namespace
            ),
            remedy: "to have it back, delete that Issuer; relay-pki makes it again".to_owned(),
        }),
        _ => Err(AuthorityError::Misconfigured {
            authority: authority.to_owned(),
            reason: format!(
                "Issuer {}/{name} does not sign with the Secret of that name",
                api.namespace
            ),
            remedy: "delete it; relay-pki makes it again".to_owned(),
        }),
    }
}

/// Takes from the `Issuer` of a generation what it signs with. It stays, so that nobody takes it for one that got
/// lost and makes it again.
pub(crate) async fn disable(api: &Api, relay: &str, name: &str) -> Result<(), Failure> {
    let disabled = issuer(relay, name.to_owned(), nothing(name));
    let found: Option<Issuer> = api.get(Kind::Issuers, name).await?;
    if found.is_some_and(|found| found.spec == disabled.spec) {
        return Ok(());
    }
    remove(api, relay, name).await?;
    match api.create(Kind::Issuers, &disabled).await? {
        Some(_) => Ok(()),
        None => Err(Failure::Unreachable(
            "somebody else made it meanwhile; try again".to_owned(),
        )),
    }
}

/// The `Issuer` called `name` that signs with the CA in `secret`.
fn issuer(relay: &str, name: String, secret: String) -> Issuer {
    Issuer {
        api_version: API_VERSION.to_owned(),
        kind: "Issuer".to_owned(),
        metadata: Metadata::new(name, relay),
        spec: signing_with(secret),
    }
}

fn signing_with(secret_name: String) -> IssuerSpec {
    IssuerSpec {
        ca: Some(CaIssuer { secret_name }),
    }
}

/// What a disabled `Issuer` names in place of a Secret: there is none of that name.
fn nothing(secret: &str) -> String {
    format!("{secret}.disabled")
}

/// Removes the `Issuer` of a generation. One that is somebody else's is left alone.
pub(crate) async fn remove(api: &Api, relay: &str, name: &str) -> Result<(), Failure> {
    let found: Option<Issuer> = api.get(Kind::Issuers, name).await?;
    let Some(found) = found.filter(|found| is_ours(&found.metadata, relay)) else {
        return Ok(());
    };
    match api.delete(Kind::Issuers, &found.metadata).await? {
        true => Ok(()),
        // cert-manager writes its status now and then.
        false => Err(Failure::Unreachable("it is changing; try again".to_owned())),
    }
}

fn is_ours(metadata: &Metadata, relay: &str) -> bool {
    let has = |(key, value): (&str, &str)| metadata.labels.get(key).is_some_and(|v| v == value);
    has(MANAGED_BY) && has((RELAY, relay))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod tests {
    use relay_pki_authority::conformance::forge::{ForgedCa, hours};

    use super::*;

    #[test]
    fn a_way_is_ordered_by_signatures() {
        let now = jiff::Timestamp::now();
        let root = ForgedCa::root("root", hours(now, 100));
        let middle = root.signer_with("middle", hours(now, 90), |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        let low = middle.signer("low", hours(now, 80));
        let [r, m, l] = [&root, &middle, &low].map(|ca| ca.certificate.clone());
        let right = vec![l.clone(), m.clone(), r.clone()];
        for mixed in [
            vec![l.clone(), m.clone(), r.clone()],
            vec![r.clone(), l.clone(), m.clone()],
            vec![m.clone(), r.clone(), l.clone(), m.clone(), r.clone()],
        ] {
            assert_eq!(ordered(mixed).unwrap(), right);
        }
        assert_eq!(ordered(vec![r.clone()]).unwrap(), vec![r.clone()]);

        let refused = |found: Vec<Certificate>| ordered(found).unwrap_err();
        assert!(refused(vec![]).contains("is a root's"));
        assert!(refused(vec![l.clone(), m]).contains("is a root's"));
        let other = ForgedCa::root("other", hours(now, 100)).certificate;
        assert!(refused(vec![r.clone(), other]).contains("two roots"));
        assert!(refused(vec![l, r]).contains("does not belong"));
    }
}
