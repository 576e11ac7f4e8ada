//! What can be known before the first certificate: who we are, what we may do, how roles are set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use relay_pki_authority::{AuthorityError, Generation, Level, Profile};
use vaultrs::api::pki::requests::ReadRoleRequest;

use crate::client::{Again, Client};
use crate::config::{Lifetimes, VaultConfig};
use crate::endpoints::CapabilitiesSelf;
use crate::issuer::Issuer;
use crate::names;
use crate::roles::Role;

/// Stands for an issuer's id: policies cannot know those, so they have a wildcard there.
const ANY_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Says what is wrong in the first place where something is, for a provider called `authority`.
pub(crate) async fn check(client: &Arc<Client>, authority: &str) -> Result<(), AuthorityError> {
    permissions(client, authority).await?;
    let config = client.config();
    if let (true, Some(name)) = (config.uses.root, &config.root_issuer) {
        root(client, authority, name).await?;
    }
    let Some(Lifetimes { server, agent }) = config.uses.signer else {
        return Ok(());
    };
    let server = (&config.roles.server, Profile::RelayServer, Some(server));
    let agent = (&config.roles.agent, Profile::AgentClient, agent);
    for (name, profile, lifetime) in [server, agent] {
        if let Some(lifetime) = lifetime {
            role(client, authority, name, profile, lifetime).await?;
        }
    }
    Ok(())
}

async fn permissions(client: &Arc<Client>, authority: &str) -> Result<(), AuthorityError> {
    let wanted = wanted(client.config());
    let ask = CapabilitiesSelf {
        paths: wanted.iter().map(|(path, _)| path.clone()).collect(),
    };
    let told = client.ask::<BTreeMap<String, Vec<String>>>(&ask, Again::Always);
    let told = told.await.map_err(|failure| {
        failure.explain(
            authority,
            "asking what the token may do (sys/capabilities-self)",
        )
    })?;
    let missing = wanted.iter().filter(|(path, capability)| {
        let granted = told.get(path).into_iter().flatten();
        !granted
            .into_iter()
            .any(|one| one == capability || one == "root")
    });
    let missing: Vec<String> = missing
        .map(|(path, capability)| format!("{capability} on {}", path.replace(ANY_ID, "+")))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(AuthorityError::Misconfigured {
            authority: authority.to_owned(),
            reason: format!("the token's policies do not allow {}", missing.join(", ")),
            remedy: "add these paths to the policy, as docs/providers/vault.md shows it".to_owned(),
        }),
    }
}

/// Paths and what has to be allowed there, for what the relay uses this provider for.
fn wanted(config: &VaultConfig) -> Vec<(String, &'static str)> {
    let mount = &config.mount;
    let named = |level: Level| {
        names::of(&Generation {
            relay: config.uses.relay.clone(),
            level,
            number: 1,
        })
    };
    let mut wanted = Vec::new();
    let mut allow = |capability: &'static str, path: String| {
        wanted.push((format!("{mount}/{path}"), capability));
    };
    if config.uses.root {
        match &config.root_issuer {
            Some(existing) => allow("read", format!("issuer/{existing}")),
            None => {
                allow("read", format!("issuer/{}", named(Level::Root)));
                allow("update", "issuers/generate/root/internal".to_owned());
                allow("update", "issuers/generate/root/existing".to_owned());
            }
        }
        allow("update", format!("issuer/{ANY_ID}/sign-intermediate"));
    }
    if let Some(lifetimes) = &config.uses.signer {
        allow(
            "update",
            "issuers/generate/intermediate/internal".to_owned(),
        );
        allow(
            "update",
            "issuers/generate/intermediate/existing".to_owned(),
        );
        allow("update", "intermediate/set-signed".to_owned());
        allow("read", format!("issuer/{}", named(Level::Signer)));
        allow("read", format!("issuer/{ANY_ID}"));
        allow("patch", format!("issuer/{ANY_ID}"));
        let agent = lifetimes.agent.map(|_| &config.roles.agent);
        for role in [Some(&config.roles.server), agent].into_iter().flatten() {
            allow("read", format!("roles/{role}"));
            allow("update", format!("issuer/{ANY_ID}/sign/{role}"));
        }
    }
    wanted
}

async fn root(client: &Arc<Client>, authority: &str, name: &str) -> Result<(), AuthorityError> {
    let wrong = |reason: String, remedy: &str| AuthorityError::Misconfigured {
        authority: authority.to_owned(),
        reason,
        remedy: remedy.to_owned(),
    };
    let found = Issuer::read(client, name).await;
    let found = found.map_err(|failure| failure.explain(authority, "reading the root"))?;
    match found {
        None => Err(wrong(
            format!("mount {} has no issuer {name}", client.config().mount),
            "correct rootIssuer in the document; without it relay-pki makes a root",
        )),
        Some(root) if !root.certificate.is_self_signed() => Err(wrong(
            format!("the issuer {name} is no root: somebody else signed it"),
            "name a self-signed issuer in rootIssuer of the document",
        )),
        Some(root) if !root.issues => Err(wrong(
            format!("the issuer {name} may not sign"),
            "give it the usage issuing-certificates, or name another one in rootIssuer",
        )),
        Some(_) => Ok(()),
    }
}

async fn role(
    client: &Arc<Client>,
    authority: &str,
    name: &str,
    profile: Profile,
    lifetime: Duration,
) -> Result<(), AuthorityError> {
    let mount = &client.config().mount;
    let misconfigured = |reason: String, remedy: String| AuthorityError::Misconfigured {
        authority: authority.to_owned(),
        reason,
        remedy,
    };
    let read = ReadRoleRequest {
        mount: mount.clone(),
        name: name.to_owned(),
    };
    let role: Role = match client.ask(&read, Again::Always).await {
        Ok(role) => role,
        Err(failure) if failure.is_absence() => {
            return Err(misconfigured(
                format!("mount {mount} has no role {name}"),
                "make it with the command in docs/providers/vault.md, or name another one in \
                 roles: of the document"
                    .to_owned(),
            ));
        }
        Err(failure) => return Err(failure.explain(authority, &format!("reading role {name}"))),
    };
    let problems = role.problems(profile, lifetime);
    if problems.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = problems
        .iter()
        .map(|wrong| format!("{} is needed: {}", wrong.setting, wrong.why))
        .collect();
    let settings: Vec<String> = problems
        .iter()
        .map(|wrong| format!("'{}'", wrong.setting))
        .collect();
    Err(misconfigured(
        format!(
            "role {name} does not fit certificates of profile {profile}: {}",
            reasons.join("; ")
        ),
        format!(
            "run `vault patch {mount}/roles/{name} {}`",
            settings.join(" ")
        ),
    ))
}
