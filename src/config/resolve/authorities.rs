use std::collections::BTreeMap;

use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::did_you_mean;
use super::super::lifetime::Lifetime;
use super::super::lifetimes::{self, MIN_ROOT, MIN_SIGNER};
use super::super::located::{Located, Text};
use super::super::names;
use super::super::spec::{ProviderConfig, RootSpec, SignerSpec};
use super::{Providers, Resolver, Setting};

impl Resolver<'_> {
    pub(super) fn providers(
        &mut self,
        written: Option<&Located<BTreeMap<String, Located<document::Provider>>>>,
    ) -> Option<Providers> {
        let Some(written) = written else {
            return Some(BTreeMap::from([(
                "local".to_owned(),
                ProviderConfig::SelfSigned {
                    encryption_key: None,
                    previous_encryption_key: None,
                },
            )]));
        };
        if written.value.is_empty() {
            self.report(
                Some(written.at),
                "spec.providers is empty",
                "write for example local: { selfSigned: {} }, or leave providers out",
            );
            return None;
        }
        let mut providers = BTreeMap::new();
        for (name, provider) in &written.value {
            if let Err(error) = names::label("provider name", name) {
                self.report(
                    Some(provider.at),
                    format!("spec.providers: {}", error.message),
                    error.hint,
                );
            }
            let config = self.backend(&format!("spec.providers.{name}"), provider);
            // Kept also if it is broken: what refers to it is right.
            let config = config.unwrap_or(ProviderConfig::SelfSigned {
                encryption_key: None,
                previous_encryption_key: None,
            });
            providers.insert(name.clone(), config);
        }
        Some(providers)
    }

    /// The backend of a provider: exactly one of them.
    fn backend(
        &mut self,
        path: &str,
        written: &Located<document::Provider>,
    ) -> Option<ProviderConfig> {
        let provider = &written.value;
        let backends = [
            ("selfSigned", provider.self_signed.is_some()),
            ("awsPrivateCa", provider.aws_private_ca.is_some()),
            ("offline", provider.offline.is_some()),
            ("gcpCas", provider.gcp_cas.is_some()),
            ("certManager", provider.cert_manager.is_some()),
            ("vault", provider.vault.is_some()),
        ];
        let mut named = backends.iter().filter(|(_, is_there)| *is_there);
        match (named.next(), named.next()) {
            (None, _) => {
                self.report(
                    Some(written.at),
                    format!("{path} says nothing about its backend"),
                    "write for example selfSigned: {}",
                );
                return None;
            }
            (Some((one, _)), Some((other, _))) => {
                self.report(
                    Some(written.at),
                    format!("{path} names two backends: {one} and {other}"),
                    "make two providers of it",
                );
                return None;
            }
            _ => {}
        }
        if provider.offline.is_some() {
            return Some(ProviderConfig::Offline);
        }
        if let Some(google) = &provider.gcp_cas {
            let config = self.gcp_cas(&format!("{path}.gcpCas"), google)?;
            return Some(ProviderConfig::GcpCas(config));
        }
        if let Some(aws) = &provider.aws_private_ca {
            let config = self.aws_private_ca(&format!("{path}.awsPrivateCa"), aws)?;
            return Some(ProviderConfig::AwsPrivateCa(Box::new(config)));
        }
        if let Some(cert_manager) = &provider.cert_manager {
            let config = self.cert_manager(&format!("{path}.certManager"), cert_manager);
            return config.map(Box::new).map(ProviderConfig::CertManager);
        }
        if let Some(vault) = &provider.vault {
            let config = self.vault(&format!("{path}.vault"), &vault.value)?;
            return Some(ProviderConfig::Vault(Box::new(config)));
        }
        self.self_signed(path, provider.self_signed.as_ref()?)
    }

    /// The root, and its validity also where the rest cannot be read.
    pub(super) fn root(
        &mut self,
        written: Option<&Located<document::Root>>,
        spec_at: Place,
        providers: Option<&Providers>,
    ) -> (Option<RootSpec>, Option<Setting<Lifetime>>) {
        const PATH: &str = "spec.root";
        let empty = document::Root::default();
        let (root, at) = written.map_or((&empty, spec_at), |root| (&root.value, root.at));
        let provider = self.provider(PATH, root.provider.as_ref(), at, providers);
        let key_type = self.key_type(PATH, root.key_type.as_ref());
        let written = root.validity.as_ref();
        let validity = self.lifetime(PATH, written, lifetimes::ROOT, MIN_ROOT);
        let resolved = || {
            Some(RootSpec {
                provider: provider?,
                key_type: key_type?,
                validity: validity?.value,
            })
        };
        (resolved(), validity)
    }

    /// The signer, and its validity also where the rest cannot be read.
    pub(super) fn signer(
        &mut self,
        written: Option<&Located<document::Signer>>,
        spec_at: Place,
        providers: Option<&Providers>,
        root_validity: Option<Setting<Lifetime>>,
    ) -> (Option<SignerSpec>, Option<Setting<Lifetime>>) {
        const PATH: &str = "spec.signer";
        let empty = document::Signer::default();
        let (signer, at) = written.map_or((&empty, spec_at), |signer| (&signer.value, signer.at));
        let provider = self.provider(PATH, signer.provider.as_ref(), at, providers);
        let offline = provider.as_ref().and_then(|name| providers?.get(name));
        if offline == Some(&ProviderConfig::Offline) {
            self.report(
                Some(signer.provider.as_ref().map_or(at, |text| text.at)),
                format!("{PATH}.provider: an offline provider holds roots only"),
                "give the signer a provider that can sign by itself, for example \
                 local: { selfSigned: {} }",
            );
        }
        let key_type = self.key_type(PATH, signer.key_type.as_ref());
        let written = signer.validity.as_ref();
        let validity = self.lifetime(PATH, written, lifetimes::SIGNER, MIN_SIGNER);
        let renewal = self.renewal(PATH, signer.renew_at.as_ref(), signer.schedule.as_ref());
        self.check_inside(PATH, validity, "spec.root", root_validity, spec_at);
        self.check_schedule(PATH, validity, renewal.as_ref(), None);
        let resolved = || {
            Some(SignerSpec {
                provider: provider?,
                key_type: key_type?,
                validity: validity?.value,
                renewal: renewal?.renewal,
            })
        };
        (resolved(), validity)
    }

    fn provider<K>(
        &mut self,
        path: &str,
        reference: Option<&Text<K>>,
        section_at: Place,
        providers: Option<&Providers>,
    ) -> Option<String> {
        let providers = providers?;
        let known: Vec<&str> = providers.keys().map(String::as_str).collect();
        match (reference, known.as_slice()) {
            (None, [only]) => Some((*only).to_owned()),
            (None, _) => {
                self.report(
                    Some(section_at),
                    format!(
                        "{path} does not say which of {} providers holds it",
                        known.len()
                    ),
                    format!("write provider: with one of {}", known.join(", ")),
                );
                None
            }
            (Some(text), known) if known.contains(&text.text.as_str()) => Some(text.text.clone()),
            (Some(text), known) => {
                let shown: String = text.text.chars().take(80).collect();
                let near = did_you_mean(&shown, known.iter().copied());
                let near = near.map(|near| format!("did you mean {near:?}? "));
                self.report(
                    Some(text.at),
                    format!("{path}.provider: there is no provider {shown:?}"),
                    format!(
                        "{}spec.providers has {}",
                        near.unwrap_or_default(),
                        known.join(", ")
                    ),
                );
                None
            }
        }
    }
}
