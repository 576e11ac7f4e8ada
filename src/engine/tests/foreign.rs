//! Relay certificates that somebody else made.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use relay_pki_authority::x509::{
    Certificate, CertificateChain, DnsName, KeyType, PrivateKey, Subject, TrustBundle, Validity,
};
use relay_pki_authority::{
    Authority, Generation, IssuanceId, Level, MemoryKeyStore, Outcome, Profile, Progress, Provider,
    RootRequest, SignerRequest, SigningRequest,
};
use relay_pki_self_signed::SelfSigned;

use super::world::{World, start};
use crate::cluster::{Object, ObjectKey, SecretBytes};
use crate::config::Role;
use crate::relay::{CA_CERT, SecretRole, TLS_CERT, TLS_KEY, TOKEN, secret_name};

/// A root with a signer under it.
pub(super) struct ForeignCa {
    name: String,
    provider: SelfSigned,
    pub(super) root: Certificate,
    pub(super) signer: Arc<dyn Authority>,
}

fn days(from: i64, to: i64) -> Validity {
    let day = |n: i64| start() + SignedDuration::from_hours(24 * n);
    Validity::new(day(from), day(to)).unwrap()
}

fn subject(name: &str) -> Subject {
    Subject {
        organization: None,
        common_name: name.parse().unwrap(),
    }
}

impl ForeignCa {
    pub(super) async fn new(name: &str) -> Self {
        let provider = SelfSigned::new(name, Arc::new(MemoryKeyStore::default()));
        let generation = generation(name, Level::Root, 1);
        let request = RootRequest {
            subject: subject(&format!("{name} root")),
            key_type: KeyType::EcdsaP256,
            validity: days(-100, 3000),
            generation: generation.clone(),
        };
        let Progress::Done(root) = provider.create_root(&request).await.unwrap() else {
            panic!("pending");
        };
        let bundle = TrustBundle::new([root.clone()]).unwrap();
        let above = provider.open(&generation, &bundle).await.unwrap();
        let (chain, _) = sign(
            &provider,
            above.as_ref(),
            name,
            1,
            Profile::Signer,
            "signer",
        )
        .await;
        let generation = self::generation(name, Level::Signer, 1);
        provider
            .install_signer(&generation, &chain, &bundle)
            .await
            .unwrap();
        let signer = provider.open(&generation, &bundle).await.unwrap();
        Self {
            name: name.to_owned(),
            provider,
            root,
            signer,
        }
    }

    pub(super) async fn root_key(&self) -> PrivateKey {
        let generation = generation(&self.name, Level::Root, 1);
        self.provider.export_key(&generation).await.unwrap()
    }

    pub(super) async fn signer_key(&self) -> PrivateKey {
        let generation = generation(&self.name, Level::Signer, 1);
        self.provider.export_key(&generation).await.unwrap()
    }

    pub(super) async fn leaf(
        &self,
        number: u32,
        profile: Profile,
        name: &str,
    ) -> (CertificateChain, PrivateKey) {
        let signer = self.signer.as_ref();
        sign(
            &self.provider,
            signer,
            &self.name,
            100 + number,
            profile,
            name,
        )
        .await
    }

    /// Puts a working relay of this CA into every cluster of `world`. With `root_key`, the root's key
    /// lies beside the bundle of the first management cluster.
    pub(super) async fn install(&self, world: &World, root_key: bool) {
        let bundle = self.root.to_pem();
        for (number, spec) in world.relay.clusters.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let cluster = spec.name.as_str();
            let home = cluster == world.relay.home().name.as_str();
            let mut trust = vec![(CA_CERT, bundle.clone().into_bytes())];
            if home && root_key {
                trust.push((TLS_KEY, self.root_key().await.to_pem().as_bytes().to_vec()));
            }
            put(world, cluster, SecretRole::Trust, trust);
            for role in [SecretRole::IdentityToken, SecretRole::ForwardingToken] {
                let token = format!("{role} of {}", self.name).replace(' ', "-");
                put(world, cluster, role, vec![(TOKEN, token.into_bytes())]);
            }
            if spec.role == Role::Management {
                let name = "gloo-mesh-mgmt-server.gloo-mesh";
                let (chain, key) = self.leaf(2 * number, Profile::RelayServer, name).await;
                put(
                    world,
                    cluster,
                    SecretRole::Server,
                    tls(&chain, &key, &bundle),
                );
                let signer = self.signer.certificate().clone();
                let chain = CertificateChain::new(vec![signer]).unwrap();
                let key = self.signer_key().await;
                put(
                    world,
                    cluster,
                    SecretRole::Signing,
                    tls(&chain, &key, &bundle),
                );
            }
            if spec.agent.is_some() {
                let (chain, key) = self
                    .leaf(2 * number + 1, Profile::AgentClient, cluster)
                    .await;
                put(
                    world,
                    cluster,
                    SecretRole::Client,
                    tls(&chain, &key, &bundle),
                );
            }
        }
    }
}

fn generation(relay: &str, level: Level, number: u32) -> Generation {
    Generation {
        relay: relay.to_owned(),
        level,
        number,
    }
}

async fn sign(
    provider: &SelfSigned,
    authority: &dyn Authority,
    relay: &str,
    number: u32,
    profile: Profile,
    name: &str,
) -> (CertificateChain, PrivateKey) {
    let generation = generation(relay, Level::Signer, number);
    let request = SignerRequest {
        generation: generation.clone(),
        subject: subject(name),
        key_type: KeyType::EcdsaP256,
    };
    let Progress::Done(csr) = provider.prepare_signer(&request).await.unwrap() else {
        panic!("pending");
    };
    let names: Vec<DnsName> = match profile {
        Profile::AgentClient => vec![name.parse().unwrap()],
        Profile::RelayServer => vec![name.parse().unwrap(), "*.gloo-mesh".parse().unwrap()],
        _ => Vec::new(),
    };
    let life = if profile.is_ca() { 2000 } else { 60 };
    let request = SigningRequest {
        id: IssuanceId::derive(&[relay.as_bytes(), &number.to_be_bytes()]),
        csr,
        profile,
        subject: subject(name),
        names,
        validity: days(-1, life),
        now: start(),
    };
    let Outcome::Issued(issuance) = authority.sign(&request).await.unwrap() else {
        panic!("pending");
    };
    (
        issuance.chain,
        provider.export_key(&generation).await.unwrap(),
    )
}

pub(super) fn tls(
    chain: &CertificateChain,
    key: &PrivateKey,
    bundle: &str,
) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (TLS_CERT, chain.to_pem().into_bytes()),
        (TLS_KEY, key.to_pem().as_bytes().to_vec()),
        (CA_CERT, bundle.as_bytes().to_vec()),
    ]
}

/// Writes a Secret without any label of ours.
pub(super) fn put(
    world: &World,
    cluster: &str,
    role: SecretRole,
    data: Vec<(&'static str, Vec<u8>)>,
) {
    let data = data
        .into_iter()
        .map(|(entry, value)| (entry.to_owned(), SecretBytes::new(value)));
    world.stores[cluster].overwrite(Object {
        key: ObjectKey::secret(secret_name(&world.relay, world.spec(cluster), role)),
        secret_type: Some("Opaque".to_owned()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        data: data.collect(),
    });
}
