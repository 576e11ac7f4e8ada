//! Google Certificate Authority Service as a provider.

use serde_json::json;

use super::*;

const POOL: &str = "projects/corp-pki/locations/europe-west1/caPools/relay";

fn google(settings: &str) -> String {
    minimal(&format!(
        "  providers: {{ corp: {{ gcpCas: {{ {settings} }} }} }}\n"
    ))
}

fn config(settings: &str) -> GcpCasConfig {
    match &parse(&google(settings)).unwrap().providers["corp"] {
        ProviderConfig::GcpCas(config) => config.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_can_be_said() {
    let pool = GcpPool {
        project: "corp-pki".to_owned(),
        location: "europe-west1".to_owned(),
        name: "relay".to_owned(),
    };
    let least = config(&format!("pool: {POOL}"));
    assert_eq!(least.pool, pool);
    assert_eq!((least.credentials, least.endpoint), (None, None));
    let most = config(&format!(
        "pool: {POOL}, credentials: {{ file: key.json }}, endpoint: 'https://privateca-corp.p.googleapis.com'"
    ));
    let file = PathBuf::from("/fleet/key.json");
    assert_eq!(most.credentials, Some(CredentialSource::File(file)));
    let endpoint = "https://privateca-corp.p.googleapis.com";
    assert_eq!(most.endpoint.as_deref(), Some(endpoint));
    let near = config(&format!("pool: {POOL}, endpoint: 'http://127.0.0.1:8080'"));
    assert_eq!(near.endpoint.as_deref(), Some("http://127.0.0.1:8080"));
}

#[test]
fn what_is_no_pool_and_no_service() {
    for pool in [
        "relay",
        "projects/p/locations/l/caPools/",
        "projects/p/locations/l/caPools/a/b",
        "projects/p?/locations/l/caPools/a",
        "projects/../locations/l/caPools/a b",
    ] {
        let found = refused(&google(&format!("pool: '{pool}'"))).concat();
        assert!(found.contains("is no CA pool"), "{pool}: {found}");
        assert!(found.contains("projects/PROJECT/locations"), "{found}");
    }
    for endpoint in [
        "http://cas.example.com",
        "ftp://cas.example.com",
        "https://user:word@cas.example.com",
        "https://cas.example.com/v1",
        "cas.example.com",
    ] {
        let settings = format!("pool: {POOL}, endpoint: '{endpoint}'");
        let found = refused(&google(&settings)).concat();
        assert!(found.contains("cannot be used"), "{endpoint}: {found}");
    }
}

/// Whoever may write an object must not get the controller's identity sent to a server of theirs.
#[test]
fn objects_reach_google_only() {
    let relay = |settings: serde_json::Value| {
        let mut google = json!({ "pool": POOL });
        let settings = settings.as_object().unwrap().clone();
        google.as_object_mut().unwrap().extend(settings);
        of_objects(json!({ "gcpCas": google }))
    };
    relay(json!({ "endpoint": "https://privateca-corp.p.googleapis.com" })).unwrap();
    relay(json!({ "credentials": { "secretRef": { "name": "google", "key": "key.json" } } }))
        .unwrap();
    for settings in [
        json!({ "endpoint": "https://cas.example.com" }),
        json!({ "endpoint": "https://evilgoogleapis.com" }),
        json!({ "endpoint": "http://127.0.0.1:8080" }),
        json!({ "credentials": { "file": "/etc/key.json" } }),
    ] {
        assert!(relay(settings.clone()).is_err(), "{settings}");
    }
}
