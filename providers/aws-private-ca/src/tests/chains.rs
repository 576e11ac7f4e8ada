//! A relay in AWS: root and signer, through the checks as in the product.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::conformance::forge;
use relay_pki_authority::x509::{CertificateChain, KeyType, TrustBundle, Validity, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, Issuance, IssuanceId, Level, Outcome, Profile, Progress,
    Provider, RootRequest, SignerRequest, SigningRequest, checked,
};
use relay_pki_testbed::{AwsAccount, AwsServer};
use serde_json::Value;

use super::clients;
use crate::Settings;

pub(super) struct Relay {
    pub(super) account: AwsAccount,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) root: Arc<dyn Authority>,
    pub(super) signer: Arc<dyn Authority>,
}

impl Relay {
    pub(super) async fn with(order: &Value, change: impl FnOnce(&mut Settings)) -> Self {
        let account = AwsServer::emulator().account(order);
        let provider: Arc<dyn Provider> = Arc::new(clients::provider(&account, change));
        let provider = checked(provider);
        let root = root(&provider).await;
        let signer = signer(&provider, &root).await;
        Self {
            account,
            provider,
            root,
            signer,
        }
    }

    /// The ARNs of its CAs: root, signer.
    pub(super) fn arns(&self) -> Vec<String> {
        let state = self.account.state();
        let authorities = state["authorities"].as_array().unwrap().iter();
        let arns = authorities.map(|one| one["Arn"].as_str().unwrap().to_owned());
        arns.collect()
    }
}

pub(super) fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "chains".to_owned(),
        level,
        number,
    }
}

pub(super) fn root_request() -> RootRequest {
    RootRequest {
        generation: generation(Level::Root, 1),
        subject: forge::subject("root"),
        key_type: KeyType::EcdsaP256,
        validity: validity(24 * 365),
    }
}

async fn root(provider: &Arc<dyn Provider>) -> Arc<dyn Authority> {
    let request = root_request();
    let Progress::Done(root) = provider.create_root(&request).await.unwrap() else {
        panic!("pending");
    };
    let anchors = TrustBundle::new([root]).unwrap();
    provider.open(&request.generation, &anchors).await.unwrap()
}

async fn signer(provider: &Arc<dyn Provider>, root: &Arc<dyn Authority>) -> Arc<dyn Authority> {
    let request = SignerRequest {
        generation: generation(Level::Signer, 1),
        subject: forge::subject("signer"),
        key_type: KeyType::EcdsaP256,
    };
    let Progress::Done(csr) = provider.prepare_signer(&request).await.unwrap() else {
        panic!("pending");
    };
    let certified = SigningRequest {
        id: IssuanceId::derive(&[b"signer"]),
        csr,
        profile: Profile::Signer,
        subject: request.subject,
        names: Vec::new(),
        validity: validity(24 * 90),
        now: Timestamp::now(),
    };
    let chain: CertificateChain = collected(root, &certified).await.unwrap().chain;
    let generation = &request.generation;
    let install = provider.install_signer(generation, &chain, root.anchors());
    install.await.unwrap();
    provider.open(generation, root.anchors()).await.unwrap()
}

fn validity(hours: i64) -> Validity {
    let now = Timestamp::now();
    Validity::new(
        now - SignedDuration::from_mins(1),
        now + SignedDuration::from_hours(hours),
    )
    .unwrap()
}

/// A request of a new key for an agent.
pub(super) fn leaf(name: &str, hours: i64) -> SigningRequest {
    leaf_for(forge::csr(&forge::private_key(), name), name, hours)
}

pub(super) fn leaf_for(csr: VerifiedCsr, name: &str, hours: i64) -> SigningRequest {
    forge::leaf_request(
        csr,
        Profile::AgentClient,
        name,
        validity(hours),
        Timestamp::now(),
    )
}

/// Signs, and collects until there is an answer.
pub(super) async fn collected(
    authority: &Arc<dyn Authority>,
    request: &SigningRequest,
) -> Result<Issuance, AuthorityError> {
    let mut outcome = authority.sign(request).await?;
    loop {
        match outcome {
            Outcome::Issued(issuance) => return Ok(issuance),
            Outcome::Pending { ticket, .. } => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                outcome = authority.collect(request, &ticket).await?;
            }
        }
    }
}
