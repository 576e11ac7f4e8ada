use serde_saphyr::Location as Place;

use super::super::document;
use super::super::error::ValueError;
use super::super::spec::{AwsAuthority, AwsPrivateCaConfig};
use super::Resolver;
use super::source::Source;

impl Resolver<'_> {
    /// Settings of the AWS Private CA backend.
    pub(super) fn aws_private_ca(
        &mut self,
        path: &str,
        written: &document::AwsPrivateCa,
    ) -> Option<AwsPrivateCaConfig> {
        self.check_who_is_asked(path, written);
        let authority = self.optional(
            path,
            "certificateAuthority",
            &written.certificate_authority,
            authority,
        );
        let region = self.optional(path, "region", &written.region, region);
        if let (Some(Some(authority)), Some(Some(region)), Some(text)) =
            (&authority, &region, &written.region)
            && authority.region != *region
        {
            self.report(
                Some(text.at),
                format!(
                    "{path}.region is not that of certificateAuthority, {}",
                    authority.region
                ),
                "leave region out",
            );
        }
        let usage_mode = self.optional(path, "usageMode", &written.usage_mode, str::parse);
        let profile = self.optional(path, "profile", &written.profile, |text| word(text, 128));
        let role_arn = self.optional(path, "roleArn", &written.role_arn, role);
        let external_id = self.optional(path, "externalId", &written.external_id, |text| {
            word(text, 1224)
        });
        let endpoint = self.optional(path, "endpoint", &written.endpoint, url);
        let rate = &written.certificates_per_second;
        let rate = self.optional(path, "certificatesPerSecond", rate, rate_of);
        let credentials = match &written.credentials {
            Some(written) => Some(self.credential(&format!("{path}.credentials"), written)?),
            None => None,
        };
        Some(AwsPrivateCaConfig {
            region: region?,
            certificate_authority: authority?,
            usage_mode: usage_mode?.unwrap_or_default(),
            credentials,
            profile: profile?,
            role_arn: role_arn?,
            external_id: external_id?,
            endpoint: endpoint?,
            certificates_per_second: rate?,
        })
    }

    /// Whoever may write an object must not have the controller's own keys used elsewhere, or its files
    /// read.
    fn check_who_is_asked(&mut self, path: &str, written: &document::AwsPrivateCa) {
        if let (Some(text), None) = (&written.external_id, &written.role_arn) {
            self.report(
                Some(text.at),
                format!("{path}.externalId is for a role, and there is no roleArn"),
                "write roleArn too, or leave externalId out",
            );
        }
        if !matches!(self.source, Source::Objects { .. }) {
            return;
        }
        let endpoint = written.endpoint.as_ref().map(|text| text.at);
        self.refuse_in_objects(
            endpoint,
            &format!("{path}.endpoint"),
            "set AWS_ENDPOINT_URL_ACM_PCA for the controller",
        );
        if written.credentials.is_none() {
            let profile = written.profile.as_ref().map(|text| text.at);
            self.refuse_in_objects(
                profile,
                &format!("{path}.profile"),
                "set AWS_PROFILE for the controller, or write credentials too",
            );
        }
    }

    fn refuse_in_objects(&mut self, written: Option<Place>, field: &str, instead: &str) {
        if written.is_some() {
            self.report(written, format!("{field} is for documents only"), instead);
        }
    }
}

fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn authority(text: &str) -> Result<AwsAuthority, ValueError> {
    let parts: Vec<&str> = text.split(':').collect();
    if let ["arn", partition, "acm-pca", region, account, resource] = parts.as_slice()
        && let Some(id) = resource.strip_prefix("certificate-authority/")
        && [partition, region, &id]
            .into_iter()
            .all(|part| is_word(part))
        && is_account(account)
    {
        return Ok(AwsAuthority {
            partition: (*partition).to_owned(),
            region: (*region).to_owned(),
            account: (*account).to_owned(),
            id: id.to_owned(),
        });
    }
    Err(ValueError::new(
        format!("{} is no ARN of a private CA", shown(text)),
        "write arn:aws:acm-pca:REGION:ACCOUNT:certificate-authority/ID, as \
         `aws acm-pca list-certificate-authorities` shows it",
    ))
}

fn region(text: &str) -> Result<String, ValueError> {
    match is_word(text) && text.len() <= 32 && text.contains('-') {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            format!("{} is no region", shown(text)),
            "write for example eu-central-1",
        )),
    }
}

fn role(text: &str) -> Result<String, ValueError> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", account, resource]
            if is_word(partition)
                && is_account(account)
                && resource
                    .strip_prefix("role/")
                    .is_some_and(|name| word(name, 576).is_ok()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(ValueError::new(
            format!("{} is no ARN of a role", shown(text)),
            "write arn:aws:iam::ACCOUNT:role/NAME",
        )),
    }
}

/// What AWS takes in names of roles and profiles and in external ids.
fn word(text: &str, longest: usize) -> Result<String, ValueError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    match (1..=longest).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(ValueError::new(
            format!("{} cannot be used", shown(text)),
            format!("use up to {longest} letters, digits and any of _+=,.@:/-"),
        )),
    }
}

fn url(text: &str) -> Result<String, ValueError> {
    let parsed: Result<http::Uri, _> = text.parse();
    match parsed {
        Ok(uri) if matches!(uri.scheme_str(), Some("https" | "http")) && uri.query().is_none() => {
            Ok(text.to_owned())
        }
        _ => Err(ValueError::new(
            format!("{} is no URL of a service", shown(text)),
            "write for example https://vpce-1234.acm-pca.eu-central-1.vpce.amazonaws.com",
        )),
    }
}

fn rate_of(text: &str) -> Result<u32, ValueError> {
    match text.parse() {
        Ok(rate @ 1..=1000) => Ok(rate),
        _ => Err(ValueError::new(
            format!("{} is no number from 1 to 1000", shown(text)),
            "write four fifths of the account's quota for IssueCertificate, for example 20",
        )),
    }
}

fn shown(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    format!("{start:?}")
}
