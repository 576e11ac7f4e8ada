//! Agents that enrol: what those of them that were heard of would say and show.

use std::collections::BTreeMap;

use relay_pki_authority::x509::{Certificate, CertificateChain, PrivateKey, Subject, TrustBundle};
use relay_pki_authority::{Level, Profile};

use super::RehearsalError;
use super::copy::Copied;
use crate::config::{AgentSpec, ClusterSpec};
use crate::engine::{Observed, certify_agent, csr, open_signer};
use crate::enrolment::Registry;
use crate::journal::{Acknowledgement, EnrolledCertificate, Presented};
use crate::rotation::{GivenOut, presented};

/// The agents that answer, by cluster.
#[derive(Default)]
pub(super) struct Agents(BTreeMap<String, Agent>);

/// What an agent has.
pub(super) struct Agent {
    signer: u32,
    chain: CertificateChain,
    bundle: TrustBundle,
}

impl Agent {
    /// What it presents.
    pub(super) fn chain(&self) -> &CertificateChain {
        &self.chain
    }

    /// What it accepts.
    pub(super) fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }
}

impl Agents {
    /// The agents that answer, by cluster.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Agent)> {
        self.0.iter()
    }

    /// Lets every agent that was ever heard of take up what is given out, renew if its turn has come, and say
    /// so. Whether any of them had something new to say.
    pub(super) async fn follow(
        &mut self,
        copied: &Copied,
        observed: &Observed,
    ) -> Result<bool, RehearsalError> {
        let (fleet, journal) = (&copied.fleet, &observed.journal);
        let now = fleet.clock.now();
        let Some(given_out) = GivenOut::of(journal, now).filter(|_| fleet.relay.enrols()) else {
            return Ok(false);
        };
        let known = Registry::of(fleet)?.list().await?;
        let mut spoken = false;
        for (name, mut record) in known {
            let silent = record.acknowledged.is_none() || journal.is_revoked(&name);
            let Some((spec, agent)) = fleet.relay.enrolling(&name).filter(|_| !silent) else {
                continue;
            };
            let wanted = journal.rotation().and_then(|running| running.agent(spec));
            let held = self.0.get(&name);
            let held = held.filter(|held| wanted.is_none_or(|wanted| wanted == held.signer));
            let (signer, leaf, issued) = match held {
                Some(held) => (held.signer, held.chain.leaf().clone(), held.chain.clone()),
                None => {
                    let (signer, chain) = renewed(copied, observed, spec, agent).await?;
                    (signer, chain.leaf().clone(), chain)
                }
            };
            let chain = match presented(journal, signer, now) {
                Some(above) => chain_of(&leaf, above)?,
                None => issued,
            };
            let bundle = given_out.bundle.clone();
            spoken |= record.acknowledge(&Acknowledgement::new(&given_out.tag(), now));
            spoken |= record.present(&Presented {
                certificate: EnrolledCertificate {
                    serial: leaf.serial()?.to_string(),
                    signer,
                    not_before: leaf.not_before(),
                    not_after: leaf.not_after(),
                    pem: None,
                },
                at: now,
            });
            if let Some(store) = copied.stores.get(fleet.relay.home().name.as_str()) {
                store.overwrite(record.encode(&fleet.relay.name, &name));
            }
            let agent = Agent {
                signer,
                chain,
                bundle,
            };
            self.0.insert(name, agent);
        }
        Ok(spoken)
    }
}

fn chain_of(
    leaf: &Certificate,
    above: Vec<Certificate>,
) -> Result<CertificateChain, RehearsalError> {
    let all = std::iter::once(leaf.clone()).chain(above);
    Ok(CertificateChain::new(all.collect())?)
}

/// A certificate of the signer in use, as the enrolment server gives it.
async fn renewed(
    copied: &Copied,
    observed: &Observed,
    spec: &ClusterSpec,
    agent: &AgentSpec,
) -> Result<(u32, CertificateChain), RehearsalError> {
    let (fleet, journal) = (&copied.fleet, &observed.journal);
    let failed = |error: &dyn std::fmt::Display| RehearsalError::stand_in(&spec.name, error);
    let signer = journal.active(Level::Signer);
    let signer = signer.ok_or_else(|| failed(&"there is no signer in use"))?;
    let name = spec.name.as_str();
    let subject = Subject {
        organization: None,
        common_name: name.parse().map_err(|error| failed(&error))?,
    };
    let names = [name.parse().map_err(|error| failed(&error))?];
    let key = PrivateKey::generate(agent.key_type)?;
    let csr = csr(&key, &subject, &names, Profile::AgentClient)?;
    let authority = open_signer(fleet, journal)
        .await
        .map_err(|error| failed(&error))?;
    let whose = (&spec.name, agent);
    let chain = certify_agent(fleet, journal, &authority, whose, csr, None).await;
    Ok((signer.number, chain.map_err(|error| failed(&error))?))
}
