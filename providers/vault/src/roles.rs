//! What a role has to be set to, so that its certificates are what the profiles promise.

use std::time::Duration;

use relay_pki_authority::Profile;
use serde::Deserialize;

/// A role as Vault shows it; what it does not show cannot be wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    max_ttl: Option<u64>,
    not_after: Option<String>,
    not_before_duration: Option<u64>,
    server_flag: Option<bool>,
    client_flag: Option<bool>,
    code_signing_flag: Option<bool>,
    email_protection_flag: Option<bool>,
    ext_key_usage: Option<Vec<String>>,
    ext_key_usage_oids: Option<Vec<String>>,
    key_usage: Option<Vec<String>>,
    key_type: Option<String>,
    use_csr_common_name: Option<bool>,
    use_csr_sans: Option<bool>,
    allow_wildcard_certificates: Option<bool>,
    generate_lease: Option<bool>,
}

/// A setting that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What it leads to.
    pub(crate) why: String,
    /// `server_flag=false`
    pub(crate) setting: String,
}

/// The longest that [`relay_pki_authority::checked`] lets a certificate be dated back.
const LONGEST_BACKDATING: u64 = 3600;

impl Role {
    /// Everything that is wrong with a role for certificates of `profile` that are to be valid for
    /// `lifetime`.
    pub(crate) fn problems(&self, profile: Profile, lifetime: Duration) -> Vec<Wrong> {
        let mut found = Vec::new();
        let mut wrong = |bad: bool, setting: &str, why: &str| {
            if bad {
                found.push(Wrong {
                    why: why.to_owned(),
                    setting: setting.to_owned(),
                });
            }
        };
        let server = profile == Profile::RelayServer;
        let flag = |is: bool| if is { "true" } else { "false" };
        wrong(
            self.server_flag.is_some_and(|set| set != server),
            &format!("server_flag={}", flag(server)),
            match server {
                true => "its certificates could not be a server's",
                false => "its certificates could pass for the relay server's",
            },
        );
        wrong(
            self.client_flag.is_some_and(|set| set == server),
            &format!("client_flag={}", flag(!server)),
            match server {
                true => "its certificates could pass for an agent's",
                false => "its certificates could not be a client's",
            },
        );
        wrong(
            self.code_signing_flag == Some(true),
            "code_signing_flag=false",
            "its certificates could sign code",
        );
        wrong(
            self.email_protection_flag == Some(true),
            "email_protection_flag=false",
            "its certificates could sign mail",
        );
        let filled = |list: &Option<Vec<String>>| list.iter().flatten().any(|one| !one.is_empty());
        wrong(
            filled(&self.ext_key_usage),
            "ext_key_usage=[]",
            "it adds usages to those of the profile",
        );
        wrong(
            filled(&self.ext_key_usage_oids),
            "ext_key_usage_oids=[]",
            "it adds usages to those of the profile",
        );
        wrong(
            self.key_usage.as_ref().is_some_and(|set| !fits(set)),
            r#"key_usage=["DigitalSignature","KeyEncipherment"]"#,
            "its key usages are not those of the profile",
        );
        wrong(
            self.key_type.as_deref().is_some_and(|set| set != "any"),
            "key_type=any",
            "it refuses keys of other types",
        );
        wrong(
            self.use_csr_common_name == Some(true),
            "use_csr_common_name=false",
            "requests would choose their own common name",
        );
        wrong(
            self.use_csr_sans == Some(true),
            "use_csr_sans=false",
            "requests would choose their own names",
        );
        wrong(
            server && self.allow_wildcard_certificates == Some(false),
            "allow_wildcard_certificates=true",
            "it refuses the relay server's wildcard name",
        );
        wrong(
            self.generate_lease == Some(true),
            "generate_lease=false",
            "its certificates are revoked when our token ends",
        );
        wrong(
            self.not_after.as_ref().is_some_and(|set| !set.is_empty()),
            "not_after=",
            "it fixes the day on which all certificates end",
        );
        wrong(
            self.not_before_duration
                .is_some_and(|set| set > LONGEST_BACKDATING),
            "not_before_duration=5m",
            "it dates certificates back further than we accept",
        );
        let asked = lifetime.as_secs();
        wrong(
            self.max_ttl.is_some_and(|set| set > 0 && set < asked),
            &format!("max_ttl={asked}s"),
            "it is less than what the document asks for",
        );
        found
    }
}

fn fits(usages: &[String]) -> bool {
    let is = |usage: &String, name: &str| usage.eq_ignore_ascii_case(name);
    usages.iter().any(|usage| is(usage, "DigitalSignature"))
        && usages.iter().any(|usage| is(usage, "KeyEncipherment"))
        && usages.len() == 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn settings(json: &str, profile: Profile) -> Vec<String> {
        let role: Role = serde_json::from_str(json).unwrap();
        let found = role.problems(profile, DAY);
        found.into_iter().map(|wrong| wrong.setting).collect()
    }

    #[test]
    fn each_wrong_setting_is_found_alone() {
        let agent = Profile::AgentClient;
        for (json, wanted) in [
            (r#"{"server_flag": true}"#, "server_flag=false"),
            (r#"{"client_flag": false}"#, "client_flag=true"),
            (r#"{"code_signing_flag": true}"#, "code_signing_flag=false"),
            (
                r#"{"email_protection_flag": true}"#,
                "email_protection_flag=false",
            ),
            (r#"{"ext_key_usage": ["ServerAuth"]}"#, "ext_key_usage=[]"),
            (
                r#"{"ext_key_usage_oids": ["1.2.3"]}"#,
                "ext_key_usage_oids=[]",
            ),
            (
                r#"{"key_usage": ["DigitalSignature", "KeyAgreement", "KeyEncipherment"]}"#,
                r#"key_usage=["DigitalSignature","KeyEncipherment"]"#,
            ),
            (r#"{"key_type": "rsa"}"#, "key_type=any"),
            (
                r#"{"use_csr_common_name": true}"#,
                "use_csr_common_name=false",
            ),
            (r#"{"use_csr_sans": true}"#, "use_csr_sans=false"),
            (r#"{"generate_lease": true}"#, "generate_lease=false"),
            (r#"{"not_after": "2030-01-01T00:00:00Z"}"#, "not_after="),
            (r#"{"not_before_duration": 7200}"#, "not_before_duration=5m"),
            (r#"{"max_ttl": 3600}"#, "max_ttl=86400s"),
        ] {
            assert_eq!(settings(json, agent), [wanted], "{json}");
        }
        let server = Profile::RelayServer;
        let wildcard = r#"{"allow_wildcard_certificates": false}"#;
        assert_eq!(
            settings(wildcard, server),
            ["allow_wildcard_certificates=true"]
        );
        assert!(settings(wildcard, agent).is_empty());
        assert_eq!(
            settings(r#"{"server_flag": false, "client_flag": true}"#, server),
            ["server_flag=true", "client_flag=false"]
        );
    }

    #[test]
    fn what_is_right_or_not_shown_is_no_problem() {
        let right = r#"{
            "max_ttl": 0, "not_after": "", "not_before_duration": 300, "server_flag": false,
            "client_flag": true, "ext_key_usage": [], "ext_key_usage_oids": [],
            "key_usage": ["digitalsignature", "KeyEncipherment"], "key_type": "any",
            "use_csr_common_name": false, "use_csr_sans": false, "generate_lease": false,
            "something_new": {"of": "tomorrow"}
        }"#;
        assert!(settings(right, Profile::AgentClient).is_empty());
        assert!(settings("{}", Profile::AgentClient).is_empty());
        assert!(settings(r#"{"max_ttl": 86400}"#, Profile::AgentClient).is_empty());
    }
}
