//! The root goes from one CA backend to the next and home again.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_pki_testbed::{AwsServer, GoogleCas, Testbed, Vault, eventually};
use serde_json::{Value, json};

use super::root::{Leg, travel};
use crate::support::pages::blocks;
use crate::support::rbac::CONTROLLER;
use crate::support::stage::Stage;
use crate::surroundings::Surroundings;

/// Where the controller believes Google to be.
const GOOGLE: &str = "privateca-live.p.googleapis.com";

/// The Secret with all that relay-pki needs for the backends.
const ACCESS: &str = "backends";

/// What a company with cert-manager has: a root behind an issuer.
const COMPANY: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: { name: company-root }
spec:
  isCA: true
  commonName: company root
  duration: 87600h
  secretName: company-root
  privateKey: { algorithm: ECDSA, size: 256, rotationPolicy: Always }
  issuerRef: { name: testbed-probe, kind: ClusterIssuer }
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: { name: company-root }
spec: { ca: { secretName: company-root } }
";

/// Self-signed, Vault, AWS, Google, cert-manager and back, with a rollback on the way to each, from
/// another phase each time.
pub(super) fn tour() {
    let to = |to, back_from| Leg {
        to,
        change: json!({ "root": { "provider": to } }),
        back_from,
    };
    let legs = [
        to("vault", "preparing"),
        to("aws", "publishing"),
        to("google", "activating"),
        to("cert-manager", "reissuing"),
        to("local", "draining"),
    ];
    travel("tour", backends, &legs);
}

/// Makes everything that the backends need; what the document says of them.
fn backends(stage: &Stage<'_>, folder: &Path) -> (Value, Surroundings) {
    let mut access = serde_json::Map::new();
    let mut secret = |key: &str, content: String| {
        access.insert(key.to_owned(), json!(content));
        json!({ "secretRef": { "name": ACCESS, "key": key } })
    };

    let vault = Vault::shared();
    let mount = vault.pki("tour");
    let token = secret("vault-token", vault_token(vault, &mount));
    let ca = secret("vault-ca", vault.certificate_authority().to_owned());
    let account = AwsServer::emulator().account(&json!({ "issueDelay": 0.2, "createDelay": 0.2 }));
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        account.access_key, account.secret_key
    );
    let keys = secret("aws", keys);
    let google = GoogleCas::shared().project();
    let key = secret("google", google.key().to_owned());
    let company = secret("company", company(stage));
    let endpoint = google.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let variables = [("AWS_ENDPOINT_URL_ACM_PCA", account.endpoint())];
    let (surroundings, port) = Surroundings::of(folder, &variables, GOOGLE, address);
    let providers = json!({
        "local": { "selfSigned": {} },
        "vault": { "vault": {
            "address": vault.url(), "mount": mount, "auth": { "token": token }, "caBundle": ca,
        } },
        "aws": { "awsPrivateCa": {
            "region": "eu-central-1", "credentials": keys,
        } },
        "google": { "gcpCas": {
            "pool": google.pool(), "endpoint": format!("https://{GOOGLE}:{port}"), "credentials": key,
        } },
        "cert-manager": { "certManager": {
            "root": { "issuerRef": { "name": "company-root" }, "certificates": company },
        } },
    });
    stage.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": ACCESS, "namespace": stage.namespace() },
        "stringData": access,
    })]);
    let fields = json!({
        "providers": providers,
        "root": { "provider": "local" },
        "signer": { "provider": "local" },
    });
    (fields, surroundings)
}

/// A token under the policies of the page, those for retiring and revoking something, too.
fn vault_token(vault: &Vault, mount: &str) -> String {
    let page = blocks("docs/providers/vault.md").into_iter();
    let policies = page.filter(|(language, _)| language == "hcl");
    let mut names = Vec::new();
    for (number, (_, policy)) in policies.enumerate() {
        let name = format!("{mount}-{number}");
        let policy = json!({ "policy": policy.replace("pki/", &format!("{mount}/")) });
        vault.admin("PUT", &format!("sys/policies/acl/{name}"), &policy);
        names.push(name);
    }
    assert_eq!(names.len(), 3, "the policies of the page");
    let settings =
        json!({ "policies": names, "no_default_policy": true, "no_parent": true, "ttl": "2h" });
    vault.token(&settings)
}

/// A root in cert-manager with the rights that the page has people give; its certificate.
fn company(stage: &Stage<'_>) -> String {
    Testbed::shared().with_cert_manager();
    let (management, namespace) = (stage.management(), stage.namespace());
    let page = blocks("docs/providers/cert-manager.md");
    let role = page
        .iter()
        .find(|(_, body)| body.contains("kind: RoleBinding"));
    let account = "kind: ServiceAccount, name: relay-pki,";
    let (_, role) = role.unwrap();
    assert!(role.contains(account), "{role}");
    let role = role
        .replace(
            account,
            &format!("kind: ServiceAccount, name: {CONTROLLER},"),
        )
        .replace("namespace: gloo-mesh", &format!("namespace: {namespace}"));
    management.apply(&role);
    management.must(&["apply", "-f", "-", "-n", namespace], COMPANY);
    let pem = eventually("the company has a root", Duration::from_secs(90), || {
        let path = "--output=jsonpath={.data.tls\\.crt}";
        let arguments = ["get", "secret", "company-root", "--ignore-not-found", path];
        let pem = STANDARD.decode(stage.must(&arguments).trim()).unwrap();
        (!pem.is_empty()).then_some(pem)
    });
    String::from_utf8(pem).unwrap()
}
