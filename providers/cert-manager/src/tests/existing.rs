//! CAs that exist: a company's root and its intermediate, behind issuers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use relay_pki_authority::conformance::forge::{self, ForgedCa, hours};
use relay_pki_authority::x509::{TrustBundle, VerifiedCsr};
use relay_pki_authority::{
    Authority, AuthorityError, Generation, IssuanceId, Level, MemoryKeyStore, Outcome, Profile,
    Progress, Provider, RootRequest, SigningRequest, checked,
};

use super::backend::company;
use super::place::{Place, Written, existing};
use crate::settings::{ExistingCa, IssuerRef, Settings};
use crate::{Access, CertManager};

/// A company whose intermediate signs leaves.
pub(super) struct Company {
    pub(super) place: Arc<Place>,
    pub(super) root: ForgedCa,
    pub(super) intermediate: ForgedCa,
    pub(super) issuer: IssuerRef,
}

impl Company {
    pub(super) async fn approving() -> Self {
        Self::at(Place::approving().await)
    }

    pub(super) async fn unapproving() -> Self {
        Self::at(Place::unapproving().await)
    }

    fn at(place: Arc<Place>) -> Self {
        let root = company();
        let intermediate = root.signer("company intermediate", hours(root_start(&root), 24 * 365));
        Self {
            issuer: place.issuer("intermediate", &intermediate),
            place,
            root,
            intermediate,
        }
    }

    /// A provider with these CAs behind the issuer.
    pub(super) fn with(
        &self,
        root: Option<ExistingCa>,
        signer: Option<ExistingCa>,
    ) -> Arc<dyn Provider> {
        let settings = Settings {
            namespace: self.place.namespace.clone(),
            root,
            signer,
            secret: None,
            deadline: Duration::from_mins(60),
        };
        let access: Arc<dyn Access> = self.place.clone();
        let keys = Arc::new(MemoryKeyStore::default());
        checked(Arc::new(CertManager::new("corp", settings, access, keys)))
    }

    /// What the document usually says.
    pub(super) fn provider(&self) -> Arc<dyn Provider> {
        let intermediate = existing(self.issuer.clone(), &self.intermediate);
        let root = existing(self.issuer.clone(), &self.root);
        self.with(Some(root), Some(intermediate))
    }

    pub(super) async fn signer(&self) -> Arc<dyn Authority> {
        self.open(&self.provider(), Level::Signer).await.unwrap()
    }

    pub(super) async fn open(
        &self,
        provider: &Arc<dyn Provider>,
        level: Level,
    ) -> Result<Arc<dyn Authority>, AuthorityError> {
        provider.open(&generation(level), &self.root.anchors).await
    }

    /// An agent's certificate that is wanted.
    pub(super) fn agent(&self, name: &str) -> SigningRequest {
        let csr = forge::csr_with(&forge::private_key(), name, |params| {
            params.subject_alt_names = forge::dns_names(&[name]);
        });
        let now = Timestamp::now();
        let validity = hours(now, 24 * 30);
        forge::leaf_request(csr, Profile::AgentClient, name, validity, now)
    }
}

fn root_start(root: &ForgedCa) -> Timestamp {
    root.certificate.not_before()
}

pub(super) fn generation(level: Level) -> Generation {
    Generation {
        relay: "gloo-mesh".to_owned(),
        level,
        number: 1,
    }
}

pub(super) async fn issued(authority: &Arc<dyn Authority>, request: &SigningRequest) -> Outcome {
    let mut outcome = authority.sign(request).await.unwrap();
    for _ in 0..20 {
        match outcome {
            Outcome::Issued(_) => return outcome,
            Outcome::Pending { ticket, .. } => {
                outcome = authority.collect(request, &ticket).await.unwrap();
            }
        }
    }
    panic!("still pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_signs_leaves_under_the_root_that_was_named() {
    let company = Company::approving().await;
    let provider = company.provider();
    provider.check().await.unwrap();
    let request = RootRequest {
        generation: generation(Level::Root),
        subject: forge::subject("relay root"),
        key_type: relay_pki_authority::x509::KeyType::EcdsaP256,
        validity: hours(Timestamp::now(), 24),
    };
    let Progress::Done(root) = provider.create_root(&request).await.unwrap() else {
        panic!("pending");
    };
    assert_eq!(root, company.root.certificate);
    let chain = provider.existing_signer(&generation(Level::Signer)).await;
    let chain = chain.unwrap().unwrap();
    assert_eq!(
        chain.certificates(),
        std::slice::from_ref(&company.intermediate.certificate)
    );

    let signer = company.signer().await;
    let request = company.agent("cluster-1");
    let Outcome::Issued(issuance) = issued(&signer, &request).await else {
        panic!("pending");
    };
    assert_eq!(issuance.chain.intermediates(), chain.certificates());
    assert_eq!(issuance.anchors, company.root.anchors);
    let refused = provider
        .destroy(&generation(Level::Signer))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, AuthorityError::Unsupported { .. }),
        "{refused}"
    );
}

/// What cert-manager calls `ca` is the intermediate, if the root is not in the issuer's Secret.
#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_is_not_taken_for_a_root() {
    let company = Company::approving().await;
    let written = |text: String| ExistingCa {
        issuer: company.issuer.clone(),
        certificates: Arc::new(Written(text)),
    };
    let signer = company.signer().await;
    issued(&signer, &company.agent("cluster-1")).await;
    let ca = company.place.requests()[0]["status"]["ca"].clone();
    let ca = ca.as_str().unwrap_or_default();
    let ca = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, ca).unwrap();
    let ca = String::from_utf8(ca).unwrap();
    for wrong in [ca, String::new(), "nonsense".to_owned()] {
        let provider = company.with(Some(written(wrong.clone())), Some(written(wrong)));
        let errors = [
            provider.check().await.err(),
            provider
                .existing_signer(&generation(Level::Signer))
                .await
                .err(),
            provider
                .open(&generation(Level::Root), &company.root.anchors)
                .await
                .err(),
        ];
        for error in errors {
            let error = error.unwrap();
            let text = error.to_string();
            assert!(
                matches!(error, AuthorityError::Misconfigured { .. }),
                "{text}"
            );
            assert!(text.contains("up to its root"), "{text}");
        }
    }
    // A root is no signer.
    let root = || existing(company.issuer.clone(), &company.root);
    let provider = company.with(Some(root()), Some(root()));
    let refused = provider.existing_signer(&generation(Level::Signer)).await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("is a root"), "{refused}");
}

/// Somebody puts another CA into the issuer's Secret.
#[tokio::test(flavor = "multi_thread")]
async fn another_ca_behind_the_issuer_is_noticed() {
    let company = Company::approving().await;
    let signer = company.signer().await;
    issued(&signer, &company.agent("cluster-1")).await;

    // Of the same name, which is all that a careless look would see.
    let other_root = super::backend::company();
    let start = root_start(&other_root);
    let other = other_root.signer("company intermediate", hours(start, 24 * 365));
    company.place.ca_secret("intermediate", &other);
    let request = company.agent("cluster-2");
    let error = loop {
        // The controllers see the Secret a moment later; what they sign until then is good.
        match signer.sign(&company.agent("cluster-3")).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let text = error.to_string();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{text}");
    assert!(
        text.contains("Issuer intermediate signed with the CA"),
        "{text}"
    );
    let error = signer.sign(&request).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Misissued { .. }), "{error}");

    // The document follows; the relay's roots do not.
    let provider = company.with(None, Some(existing(company.issuer.clone(), &other)));
    let error = company.open(&provider, Level::Signer).await.err().unwrap();
    assert!(
        error.to_string().contains("none of this relay's roots"),
        "{error}"
    );
}

/// cert-manager's SelfSigned issuer signs with the key of whoever asks, so it certifies nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_issuer_is_no_ca() {
    let company = Company::approving().await;
    let issuer = IssuerRef {
        group: "cert-manager.io".to_owned(),
        kind: "ClusterIssuer".to_owned(),
        name: "testbed-probe".to_owned(),
    };
    let provider = company.with(Some(existing(issuer, &company.root)), None);
    let root = company.open(&provider, Level::Root).await.unwrap();
    let request = signer_request(forge::csr(&forge::private_key(), "signer"));
    let error = root.sign(&request).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AuthorityError::Rejected { .. }), "{text}");
    assert!(text.contains("is self-signed and has no CA"), "{text}");
}

/// The certificate says CA because the request does: cert-manager does not read it from the CSR.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_is_a_ca() {
    let company = Company::approving().await;
    let issuer = company.place.issuer("root", &company.root);
    let provider = company.with(Some(existing(issuer, &company.root)), None);
    let root = company.open(&provider, Level::Root).await.unwrap();
    let request = signer_request(forge::csr(&forge::private_key(), "signer"));
    let Outcome::Issued(issuance) = issued(&root, &request).await else {
        panic!("pending");
    };
    assert!(issuance.chain.leaf().is_ca());
    assert_eq!(company.place.requests()[0]["spec"]["isCA"], true);
    let bundle = TrustBundle::new([company.root.certificate.clone()]).unwrap();
    assert_eq!(issuance.anchors, bundle);
    // Without keys that cert-manager sees there are no signers of ours.
    let request = relay_pki_authority::SignerRequest {
        generation: generation(Level::Signer),
        subject: forge::subject("signer"),
        key_type: relay_pki_authority::x509::KeyType::EcdsaP256,
    };
    let error = provider.prepare_signer(&request).await.unwrap_err();
    assert!(
        matches!(error, AuthorityError::Unsupported { .. }),
        "{error}"
    );
}

pub(super) fn signer_request(csr: VerifiedCsr) -> SigningRequest {
    let now = Timestamp::now();
    SigningRequest {
        id: IssuanceId::derive(&[csr.der()]),
        csr,
        profile: Profile::Signer,
        subject: forge::subject("signer"),
        names: Vec::new(),
        validity: hours(now, 24 * 30),
        now,
    }
}
