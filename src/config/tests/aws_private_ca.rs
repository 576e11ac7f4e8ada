//! AWS Private CA as a provider.

use serde_json::json;

use super::*;

const CA: &str = "arn:aws:acm-pca:eu-central-1:111122223333:certificate-authority/\
                  11111111-2222-3333-4444-555555555555";

fn aws(settings: &str) -> String {
    minimal(&format!(
        "  providers: {{ corp: {{ awsPrivateCa: {{ {settings} }} }} }}\n"
    ))
}

fn settings(relay: &Relay) -> &AwsPrivateCaConfig {
    match &relay.providers["corp"] {
        ProviderConfig::AwsPrivateCa(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_can_be_said() {
    let least = parse(&aws("")).unwrap();
    assert_eq!(*settings(&least), AwsPrivateCaConfig::default());
    let short = "  server: { validity: 7d }\n  agents: { validity: 7d }\n  clusters:";
    let most = aws(&format!(
        "region: eu-central-1, certificateAuthority: '{CA}', usageMode: short-lived, \
         credentials: {{ file: keys }}, profile: corp, roleArn: 'arn:aws:iam::111122223333:role/a/relay', \
         externalId: relay, endpoint: 'https://vpce-1.acm-pca.eu-central-1.vpce.amazonaws.com', \
         certificatesPerSecond: 100"
    ));
    let most = parse(&most.replacen("  clusters:", short, 1)).unwrap();
    let expected = AwsPrivateCaConfig {
        region: Some("eu-central-1".to_owned()),
        certificate_authority: Some(AwsAuthority {
            partition: "aws".to_owned(),
            region: "eu-central-1".to_owned(),
            account: "111122223333".to_owned(),
            id: "11111111-2222-3333-4444-555555555555".to_owned(),
        }),
        usage_mode: UsageMode::ShortLived,
        credentials: Some(CredentialSource::File(PathBuf::from("/fleet/keys"))),
        profile: Some("corp".to_owned()),
        role_arn: Some("arn:aws:iam::111122223333:role/a/relay".to_owned()),
        external_id: Some("relay".to_owned()),
        endpoint: Some("https://vpce-1.acm-pca.eu-central-1.vpce.amazonaws.com".to_owned()),
        certificates_per_second: Some(100),
    };
    assert_eq!(*settings(&most), expected);
}

#[test]
fn what_cannot_be_meant() {
    let other_region = format!("region: us-east-1, certificateAuthority: '{CA}'");
    for (settings, said) in [
        (other_region.as_str(), "is not that of certificateAuthority"),
        ("region: Frankfurt", "is no region"),
        (
            "certificateAuthority: relay-root",
            "is no ARN of a private CA",
        ),
        (
            "certificateAuthority: 'arn:aws:iam::111122223333:role/a'",
            "is no ARN of a private CA",
        ),
        ("usageMode: short", "usage mode"),
        ("roleArn: relay", "is no ARN of a role"),
        ("externalId: relay", "there is no roleArn"),
        ("profile: 'two words'", "cannot be used"),
        ("endpoint: vpce-1.amazonaws.com", "is no URL of a service"),
        ("endpoint: 'ftp://amazonaws.com'", "is no URL of a service"),
        ("certificatesPerSecond: 0", "is no number from 1 to 1000"),
    ] {
        let found = refused(&aws(settings)).concat();
        assert!(found.contains(said), "{settings}: {found}");
    }
}

/// Whoever may write an object must not have the controller's own keys used elsewhere, or its files
/// read.
#[test]
fn objects_say_less() {
    let relay = |settings: serde_json::Value| of_objects(json!({ "awsPrivateCa": settings }));
    let keys = json!({ "secretRef": { "name": "aws", "key": "credentials" } });
    for accepted in [
        json!({ "region": "eu-central-1", "certificateAuthority": CA }),
        json!({ "credentials": keys, "profile": "corp" }),
        json!({ "roleArn": "arn:aws:iam::111122223333:role/relay", "externalId": "relay" }),
    ] {
        relay(accepted.clone()).unwrap_or_else(|error| panic!("{accepted}: {error}"));
    }
    for (settings, instead) in [
        (
            json!({ "endpoint": "https://example.com" }),
            "AWS_ENDPOINT_URL_ACM_PCA",
        ),
        (
            json!({ "endpoint": "https://example.com", "credentials": keys }),
            "AWS_ENDPOINT_URL_ACM_PCA",
        ),
        (json!({ "profile": "corp" }), "AWS_PROFILE"),
        (json!({ "credentials": { "file": "keys" } }), "secretRef"),
        (json!({ "credentials": { "env": "AWS" } }), "secretRef"),
    ] {
        let error = relay(settings.clone()).expect_err("it was accepted");
        let found: String = error.problems().iter().map(Problem::to_string).collect();
        assert!(found.contains(instead), "{settings}: {found}");
    }
}
