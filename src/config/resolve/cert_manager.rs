use relay_pki_authority::Level;
use relay_pki_authority::x509::Certificate;

use super::super::document::{self, DEADLINE};
use super::super::error::ValueError;
use super::super::lifetime::Lifetime;
use super::super::located::Located;
use super::super::names;
use super::super::spec::{
    CertManagerConfig, Certificates, ClusterSpec, ExistingCaConfig, Location, ProviderConfig,
};
use super::{Providers, Resolver};

/// Shorter, and nobody could approve anything.
const SHORTEST: Lifetime = Lifetime::minutes(1);

impl Resolver<'_> {
    /// The backend of cert-manager.
    pub(super) fn cert_manager(
        &mut self,
        path: &str,
        written: &document::CertManager,
    ) -> Option<CertManagerConfig> {
        let mut existing = |level: Level| match written.existing(level) {
            Some(existing) => self
                .existing_ca(&format!("{path}.{level}"), existing)
                .map(Some),
            None => Some(None),
        };
        let (root, signer) = (existing(Level::Root), existing(Level::Signer));
        let deadline = match &written.deadline {
            Some(text) => self.value(format_args!("{path}.deadline"), text, deadline),
            None => Some(DEADLINE),
        };
        let location = match &written.kubeconfig {
            Some(kubeconfig) => self
                .kubeconfig(&format!("{path}.kubeconfig"), kubeconfig)
                .map(Some),
            None => Some(None),
        };
        let namespace = match &written.namespace {
            Some(text) => {
                let label = |text: &str| names::label("namespace", text).map(str::to_owned);
                self.value(format_args!("{path}.namespace"), text, label)
                    .map(Some)
            }
            None => Some(None),
        };
        Some(CertManagerConfig {
            root: root?,
            signer: signer?,
            deadline: deadline?,
            location: location?,
            namespace: namespace?,
        })
    }

    fn existing_ca(
        &mut self,
        path: &str,
        written: &Located<document::ExistingCa>,
    ) -> Option<ExistingCaConfig> {
        let document::ExistingCa {
            issuer_ref,
            certificates,
            pem,
        } = &written.value;
        let reference = format!("{path}.issuerRef");
        let subdomain = |what: &'static str| {
            move |text: &str| names::subdomain(what, text, 253).map(str::to_owned)
        };
        let name = &issuer_ref.name;
        let name = self.value(
            format_args!("{reference}.name"),
            name,
            subdomain("issuer name"),
        );
        let group = match &issuer_ref.group {
            Some(text) => self.value(
                format_args!("{reference}.group"),
                text,
                subdomain("API group"),
            ),
            None => Some("cert-manager.io".to_owned()),
        };
        let kind = match &issuer_ref.kind {
            Some(text) => self.value(format_args!("{reference}.kind"), text, kind),
            None => Some("Issuer".to_owned()),
        };
        let certificates = match (certificates, pem) {
            (Some(kept), None) => self
                .credential(&format!("{path}.certificates"), kept)
                .map(Certificates::Kept),
            (None, Some(text)) => {
                let read = |text: &str| pinned(text).map(Certificates::Pem);
                self.value(format_args!("{path}.pem"), text, read)
            }
            (None, None) => {
                self.report(
                    Some(written.at),
                    format!("{path} does not say which CA is behind the issuer"),
                    "write certificates: { secretRef: { name: …, key: ca.crt } }, or pem: with the \
                     certificates up to the root",
                );
                None
            }
            (Some(_), Some(text)) => {
                self.report(
                    Some(text.at),
                    format!("{path} has both certificates and pem"),
                    "keep one of them",
                );
                None
            }
        };
        Some(ExistingCaConfig {
            group: group?,
            kind: kind?,
            name: name?,
            certificates: certificates?,
        })
    }

    /// Refuses a cert-manager that would have to run in a directory.
    pub(super) fn check_cert_managers(
        &mut self,
        spec: &document::Spec,
        providers: &Providers,
        home: &ClusterSpec,
    ) {
        let Location::Directory(_) = home.location else {
            return;
        };
        for (name, provider) in providers {
            if let ProviderConfig::CertManager(config) = provider
                && config.location.is_none()
            {
                let written = spec.providers.as_ref();
                let written = written.and_then(|written| written.value.get(name));
                self.report(
                    written.map(|written| written.at),
                    format!(
                        "spec.providers.{name}: the first management cluster, {}, is a directory, \
                         in which no cert-manager runs",
                        home.name
                    ),
                    "write certManager.kubeconfig: for the cluster that it runs in",
                );
            }
        }
    }
}

fn deadline(text: &str) -> Result<Lifetime, ValueError> {
    match text.parse::<Lifetime>()? {
        deadline if deadline < SHORTEST => Err(ValueError::new(
            format!("nobody approves a request within {deadline}"),
            format!("write {SHORTEST} or more"),
        )),
        deadline => Ok(deadline),
    }
}

fn kind(text: &str) -> Result<String, ValueError> {
    let fits = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    match fits {
        true => Ok(text.to_owned()),
        false => {
            let shown: String = text.chars().take(80).collect();
            Err(ValueError::new(
                format!("{shown:?} is no kind of an issuer"),
                "write for example Issuer, ClusterIssuer or AWSPCAClusterIssuer",
            ))
        }
    }
}

fn pinned(text: &str) -> Result<String, ValueError> {
    match Certificate::list_from_pem(text.as_bytes()) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(ValueError::new(
            error.to_string(),
            "write the CA's certificates below `pem: |`, indented",
        )),
    }
}
