//! The signing path, CSR bytes in, checked chain out, against the bare cryptography in it.
//!
//! `cargo bench --bench signing`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use relay_pki_authority::x509::{
    Certificate, KeyType, PeerRole, PrivateKey, Subject, TrustBundle, Validity, VerifiedCsr,
    verify_path,
};
use relay_pki_authority::{
    Authority, Generation, IssuanceId, Level, MemoryKeyStore, Outcome, Profile, Progress, Provider,
    RootRequest, SignerRequest, SigningRequest, checked,
};
use relay_pki_self_signed::SelfSigned;
use tokio::runtime::{Builder, Runtime};

fn main() {
    divan::main();
}

struct Setup {
    runtime: Runtime,
    signer: Arc<dyn Authority>,
    roots: TrustBundle,
    csr: Vec<u8>,
    now: Timestamp,
}

fn subject(name: &str) -> Subject {
    Subject {
        organization: None,
        common_name: name.parse().unwrap(),
    }
}

fn generation(level: Level, number: u32) -> Generation {
    Generation {
        relay: "bench".to_owned(),
        level,
        number,
    }
}

fn done<T>(progress: Progress<T>) -> T {
    match progress {
        Progress::Done(result) => result,
        Progress::Pending { .. } => panic!("pending"),
    }
}

async fn csr(provider: &dyn Provider, number: u32, name: &str) -> VerifiedCsr {
    let request = SignerRequest {
        generation: generation(Level::Signer, number),
        subject: subject(name),
        key_type: KeyType::EcdsaP256,
    };
    done(provider.prepare_signer(&request).await.unwrap())
}

impl Setup {
    fn request(&self, csr: VerifiedCsr, profile: Profile) -> SigningRequest {
        let (name, hours) = match profile {
            Profile::Signer => ("signer", 24 * 365),
            _ => ("cluster-1", 24 * 30),
        };
        let names = match profile {
            Profile::Signer => Vec::new(),
            _ => vec![name.parse().unwrap()],
        };
        SigningRequest {
            id: IssuanceId::derive(&[csr.public_key().spki_der()]),
            csr,
            profile,
            subject: subject(name),
            names,
            validity: validity(self.now, hours),
            now: self.now,
        }
    }

    /// A P-256 root and a P-256 signer, opened; checked if asked for.
    fn new(with_checks: bool) -> Self {
        let runtime = Builder::new_current_thread().build().unwrap();
        let now = Timestamp::now();
        let keys = Arc::new(MemoryKeyStore::default());
        let mut provider: Arc<dyn Provider> = Arc::new(SelfSigned::new("local", keys));
        if with_checks {
            provider = checked(provider);
        }
        runtime.block_on(async {
            let root = RootRequest {
                generation: generation(Level::Root, 1),
                subject: subject("root"),
                key_type: KeyType::EcdsaP256,
                validity: validity(now, 24 * 3650),
            };
            let root = done(provider.create_root(&root).await.unwrap());
            let roots = TrustBundle::new([root]).unwrap();
            let above = generation(Level::Root, 1);
            let above = provider.open(&above, &roots).await.unwrap();
            let request = csr(provider.as_ref(), 1, "signer").await;
            let mut setup = Self {
                runtime: Builder::new_current_thread().build().unwrap(),
                signer: above,
                roots,
                csr: csr(provider.as_ref(), 2, "cluster-1").await.der().to_vec(),
                now,
            };
            let request = setup.request(request, Profile::Signer);
            let Outcome::Issued(issued) = setup.signer.sign(&request).await.unwrap() else {
                panic!("pending");
            };
            let signer = generation(Level::Signer, 1);
            provider
                .install_signer(&signer, &issued.chain, &setup.roots)
                .await
                .unwrap();
            setup.signer = provider.open(&signer, &setup.roots).await.unwrap();
            setup
        })
    }

    fn issue(&self) -> Outcome {
        let csr = VerifiedCsr::from_der(black_box(&self.csr)).unwrap();
        let request = self.request(csr, Profile::AgentClient);
        self.runtime.block_on(self.signer.sign(&request)).unwrap()
    }
}

fn validity(now: Timestamp, hours: i64) -> Validity {
    let from = now - SignedDuration::from_mins(5);
    Validity::new(from, now + SignedDuration::from_hours(hours)).unwrap()
}

/// The floor: one verification (possession) and one signature, over messages of the real sizes.
#[divan::bench]
fn bare_verify_and_sign(bencher: Bencher) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let (random, request, certificate) = (SystemRandom::new(), [7u8; 150], [9u8; 400]);
    let proof = pair.sign(&random, &request).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    bencher.bench_local(|| {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public);
        public.verify(black_box(&request), proof.as_ref()).unwrap();
        pair.sign(&random, black_box(&certificate)).unwrap()
    });
}

/// The same with the verification of our own signature, which the checking decorator owes (I7).
#[divan::bench]
fn bare_verify_sign_and_verify(bencher: Bencher) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let (random, request, certificate) = (SystemRandom::new(), [7u8; 150], [9u8; 400]);
    let proof = pair.sign(&random, &request).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    bencher.bench_local(|| {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public);
        public.verify(black_box(&request), proof.as_ref()).unwrap();
        let signature = pair.sign(&random, black_box(&certificate)).unwrap();
        public.verify(&certificate, signature.as_ref()).unwrap();
        signature
    });
}

#[divan::bench]
fn csr_bytes_to_checked_chain(bencher: Bencher) {
    let setup = Setup::new(true);
    let Outcome::Issued(issued) = setup.issue() else {
        panic!("pending");
    };
    // A benchmark that does not look at replies measures errors too.
    verify_path(&issued.chain, &setup.roots, PeerRole::Client, setup.now).unwrap();
    bencher.bench_local(|| setup.issue());
}

#[divan::bench]
fn csr_bytes_to_unchecked_chain(bencher: Bencher) {
    let setup = Setup::new(false);
    bencher.bench_local(|| setup.issue());
}

#[divan::bench]
fn csr_parse_and_possession(bencher: Bencher) {
    let setup = Setup::new(false);
    bencher.bench_local(|| VerifiedCsr::from_der(black_box(&setup.csr)).unwrap());
}

#[divan::bench]
fn certificate_parse(bencher: Bencher) {
    let setup = Setup::new(false);
    let der = setup.signer.certificate().der().to_vec();
    bencher.bench_local(|| Certificate::from_der(black_box(&der)).unwrap());
}

#[divan::bench]
fn key_generation(bencher: Bencher) {
    bencher.bench_local(|| PrivateKey::generate(KeyType::EcdsaP256).unwrap());
}

#[divan::bench]
fn key_from_pem(bencher: Bencher) {
    let pem = PrivateKey::generate(KeyType::EcdsaP256).unwrap().to_pem();
    bencher.bench_local(|| PrivateKey::from_pem(black_box(pem.as_bytes())).unwrap());
}
