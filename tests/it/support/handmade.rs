//! A relay's Secrets as people make them by hand: `openssl` commands out of the vendor's guides, and
//! `kubectl create secret`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::fleet::{CLIENT, Fleet, IDENTITY, ROOT, SERVER, SIGNING};
use super::manifest::Manifest;
use super::tools::openssl;

/// The token of a family.
pub(crate) const TOKEN: &[u8] = b"f0e1d2c3b4a5968778695a4b3c2d1e0f";

/// What `openssl` puts a private key in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyForm {
    /// `BEGIN RSA PRIVATE KEY`.
    Pkcs1,
    /// `BEGIN EC PRIVATE KEY`, behind `BEGIN EC PARAMETERS`.
    Sec1,
    /// `BEGIN PRIVATE KEY` with an RSA key.
    RsaPkcs8,
    /// `BEGIN PRIVATE KEY` with an EC key.
    EcPkcs8,
}

/// How a family is made.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) keys: KeyForm,
    /// `-set_serial 0` for every certificate under the root.
    pub(crate) serial_zero: bool,
    /// One subject for root, signer and leaves.
    pub(crate) one_subject: bool,
    /// The type of the Secrets with certificates.
    pub(crate) secret_type: &'static str,
    /// The workload clusters.
    pub(crate) workloads: Vec<&'static str>,
}

/// The files of a family, PEM by name: `root.crt`, `root.key`, `signing.crt`, `client-c1.crt`, ….
pub(crate) struct Family {
    dir: TempDir,
    recipe: Recipe,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            keys: KeyForm::RsaPkcs8,
            serial_zero: false,
            one_subject: false,
            secret_type: "Opaque",
            workloads: vec!["c1", "c2"],
        }
    }
}

const SIGNING_EXTENSIONS: &str = "basicConstraints = critical,CA:true\n\
    keyUsage = critical,digitalSignature,keyEncipherment,keyCertSign\n";
const LEAF_EXTENSIONS: &str = "basicConstraints = CA:FALSE\n\
    keyUsage = digitalSignature,keyEncipherment\nextendedKeyUsage = clientAuth,serverAuth\n";

impl Family {
    /// Makes the certificates.
    pub(crate) fn make(recipe: Recipe) -> Self {
        let family = Self {
            dir: tempfile::tempdir().unwrap(),
            recipe,
        };
        family.make_key("root");
        let subject = family.subject("relay-root-ca");
        let arguments = [
            "req", "-x509", "-new", "-sha256", "-days", "3650", "-key", "root.key",
        ];
        let mut arguments = arguments.to_vec();
        arguments.extend([
            "-subj",
            &subject,
            "-config",
            "req.cnf",
            "-extensions",
            "root",
        ]);
        arguments.extend(["-out", "root.crt"]);
        let request = "[req]\ndistinguished_name = name\n[name]\n[root]\n\
            basicConstraints = critical,CA:true\n\
            keyUsage = critical,digitalSignature,keyCertSign,cRLSign\n\
            subjectKeyIdentifier = hash\n";
        fs::write(family.path("req.cnf"), request).unwrap();
        openssl(family.dir.path(), &arguments);
        family.sign("signing", "relay-signing-ca", "root", SIGNING_EXTENSIONS);
        let names = "subjectAltName = DNS:gloo-mesh-mgmt-server.gloo-mesh,DNS:*.gloo-mesh\n";
        let extensions = format!("{LEAF_EXTENSIONS}{names}");
        family.sign("server", "gloo-mesh-mgmt-server", "root", &extensions);
        for cluster in family.recipe.workloads.clone() {
            family.make_client(cluster);
        }
        family
    }

    /// Makes the client certificate of a cluster: by the signer, as the relay server would.
    pub(crate) fn make_client(&self, cluster: &str) {
        let extensions = format!("{LEAF_EXTENSIONS}subjectAltName = DNS:{cluster}\n");
        self.sign(
            &format!("client-{cluster}"),
            cluster,
            "signing",
            &extensions,
        );
    }

    /// Writes all Secrets into the clusters of a fleet.
    pub(crate) fn write_into(&self, fleet: &Fleet) {
        let ca = self.pem("root.crt");
        let (crt, key) = (self.pem("root.crt"), self.pem("root.key"));
        // The default installation keeps the root's key beside it.
        self.write(
            fleet,
            "mgmt",
            ROOT,
            "Opaque",
            &[("ca.crt", &crt), ("tls.key", &key)],
        );
        let typed = self.recipe.secret_type;
        for (file, name) in [("signing", SIGNING), ("server", SERVER)] {
            let (crt, key) = (
                self.pem(&format!("{file}.crt")),
                self.pem(&format!("{file}.key")),
            );
            let data = [("ca.crt", &ca), ("tls.crt", &crt), ("tls.key", &key)];
            self.write(fleet, "mgmt", name, typed, &data);
        }
        self.write(
            fleet,
            "mgmt",
            IDENTITY,
            "Opaque",
            &[("token", &TOKEN.to_vec())],
        );
        for cluster in &self.recipe.workloads {
            self.write(fleet, cluster, ROOT, "Opaque", &[("ca.crt", &ca)]);
            self.write(
                fleet,
                cluster,
                IDENTITY,
                "Opaque",
                &[("token", &TOKEN.to_vec())],
            );
            let mut chain = self.pem(&format!("client-{cluster}.crt"));
            chain.extend(self.pem("signing.crt"));
            let key = self.pem(&format!("client-{cluster}.key"));
            let data = [("ca.crt", &ca), ("tls.crt", &chain), ("tls.key", &key)];
            self.write(fleet, cluster, CLIENT, typed, &data);
        }
    }

    pub(crate) fn pem(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    fn write(
        &self,
        fleet: &Fleet,
        cluster: &str,
        name: &str,
        secret_type: &str,
        data: &[(&str, &Vec<u8>)],
    ) {
        let entries = data.iter();
        let manifest = Manifest {
            kind: "Secret".to_owned(),
            name: name.to_owned(),
            namespace: "gloo-mesh".to_owned(),
            secret_type: secret_type.to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "platform".to_owned())]),
            annotations: BTreeMap::new(),
            data: entries
                .map(|(key, value)| ((*key).to_owned(), (*value).clone()))
                .collect(),
        };
        // Not the name that relay-pki would choose.
        manifest.write_as_kubectl(&fleet.path(&format!("clusters/{cluster}/my-{name}.yaml")));
    }

    fn make_key(&self, name: &str) {
        let file = format!("{name}.key");
        let out = ["-out", &file];
        let arguments: &[&str] = match self.recipe.keys {
            KeyForm::Pkcs1 => &["genrsa", "-traditional"],
            KeyForm::Sec1 => &["ecparam", "-genkey", "-name", "prime256v1"],
            KeyForm::RsaPkcs8 => &["genpkey", "-algorithm", "RSA"],
            KeyForm::EcPkcs8 => &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ],
        };
        let size: &[&str] = match self.recipe.keys {
            KeyForm::Pkcs1 => &["2048"],
            _ => &[],
        };
        openssl(self.dir.path(), &[arguments, &out, size].concat());
    }

    fn sign(&self, name: &str, common_name: &str, issuer: &str, extensions: &str) {
        self.make_key(name);
        let subject = self.subject(common_name);
        fs::write(self.path("extensions.cnf"), extensions).unwrap();
        let (key, csr, crt) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.crt"),
        );
        let arguments = ["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr];
        openssl(
            self.dir.path(),
            &[&arguments[..], &["-config", "req.cnf"]].concat(),
        );
        let (ca, ca_key) = (format!("{issuer}.crt"), format!("{issuer}.key"));
        let arguments = [
            "x509",
            "-req",
            "-sha256",
            "-days",
            "1825",
            "-in",
            &csr,
            "-out",
            &crt,
            "-extfile",
            "extensions.cnf",
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
        ];
        let serial: &[&str] = match self.recipe.serial_zero {
            true => &["-set_serial", "0"],
            false => &["-CAcreateserial"],
        };
        openssl(self.dir.path(), &[&arguments[..], serial].concat());
    }

    fn subject(&self, common_name: &str) -> String {
        match self.recipe.one_subject {
            true => "/CN=enterprise-networking-ca".to_owned(),
            false => format!("/CN={common_name}"),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }
}
