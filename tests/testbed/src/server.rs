//! One API server: a cluster, as far as the tests need one.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::KeyPair;
use rustix::process::Signal;
use serde_json::Value;

use crate::authority::Authority;
use crate::controllers::controllers;
use crate::etcd::Etcd;
use crate::kubeconfig::kubeconfig;
use crate::process::{Component, Process};
use crate::workdir::write_private;
use crate::{kubectl, ports};

/// Long, because several test processes may share a small machine.
const START: Duration = Duration::from_secs(180);
/// The token of the member of `system:masters`. It opens nothing outside of the testbed.
const ADMIN_TOKEN: &str = "testbed-admin";

/// A `kube-apiserver` with RBAC, and its controllers.
pub struct ApiServer {
    name: String,
    port: u16,
    folder: PathBuf,
    authority: Arc<Authority>,
    component: Component,
    process: Mutex<Option<Process>>,
    controllers: Mutex<Option<Process>>,
}

impl ApiServer {
    /// Starts an API server with objects of its own in `etcd`, without waiting for it.
    pub(crate) fn launch(
        name: &str,
        etcd: &Etcd,
        authority: &Arc<Authority>,
        folder: &Path,
    ) -> Self {
        let port = ports::free();
        let path = |file: &str| folder.join(file);
        let serving = authority.serving();
        write_private(&path("serving.crt"), &serving.certificate);
        write_private(&path("serving.key"), &serving.key);
        write_private(&path("ca.crt"), authority.pem());
        let key = KeyPair::generate().unwrap();
        write_private(&path("accounts.key"), &key.serialize_pem());
        write_private(&path("accounts.pub"), &key.public_key_pem());
        let tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
        write_private(&path("tokens.csv"), &tokens);
        let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
        let component = Component::new(
            name,
            "kube-apiserver",
            [
                format!("--etcd-servers={}", etcd.url),
                format!("--etcd-prefix=/{name}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                file("cert-dir", "generated"),
                file("tls-cert-file", "serving.crt"),
                file("tls-private-key-file", "serving.key"),
                file("token-auth-file", "tokens.csv"),
                "--authorization-mode=RBAC".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                file("service-account-key-file", "accounts.pub"),
                file("service-account-signing-key-file", "accounts.key"),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                // A pod in a new namespace need not wait for its default service account.
                "--disable-admission-plugins=ServiceAccount".to_owned(),
            ],
        );
        let server = Self {
            name: name.to_owned(),
            port,
            folder: folder.to_owned(),
            authority: Arc::clone(authority),
            process: Mutex::new(Some(component.start())),
            controllers: Mutex::new(None),
            component,
        };
        write_private(&server.kubeconfig_path(), &server.admin_kubeconfig());
        server
    }

    /// Waits for an API server that was launched, and starts its controllers without waiting for them.
    pub(crate) fn complete(&self) -> Result<(), String> {
        self.wait_ready()?;
        let path = |file: &str| self.folder.join(file);
        let kubeconfig = self.kubeconfig_path();
        let controllers = controllers(
            &self.name,
            &kubeconfig,
            &path("accounts.key"),
            &path("ca.crt"),
        );
        *self.controllers.lock().unwrap() = Some(controllers.start());
        Ok(())
    }

    /// Waits for the controllers: the first thing they do is to make service accounts.
    pub(crate) fn wait_controllers(&self) -> Result<(), String> {
        let mut controllers = self.controllers.lock().unwrap();
        let controllers = controllers
            .as_mut()
            .ok_or_else(|| format!("{} has no controllers", self.name))?;
        controllers.wait_ready(START, || {
            let arguments = ["get", "serviceaccount", "default", "--namespace=default"];
            self.kubectl(&arguments, "").status.success()
        })
    }

    /// What the testbed calls this cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The certificate of the CA that signed the server's certificate, PEM.
    pub fn certificate_authority(&self) -> &str {
        self.authority.pem()
    }

    /// A kubeconfig of somebody who may do everything.
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig_for_token(ADMIN_TOKEN)
    }

    /// A kubeconfig with a token, whether or not the server knows it.
    pub fn kubeconfig_for_token(&self, token: &str) -> String {
        kubeconfig(&self.name, &self.url(), self.authority.pem(), token)
    }

    /// A kubeconfig with a fresh [token](Self::token) of a service account.
    pub fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> String {
        self.kubeconfig_for_token(&self.token(namespace, name))
    }

    /// A token of a service account, valid for an hour, as a pod gets it.
    pub fn token(&self, namespace: &str, service_account: &str) -> String {
        let arguments = ["create", "token", service_account, "-n", namespace];
        self.must(&arguments, "").trim().to_owned()
    }

    /// Runs `kubectl` as the administrator, whatever comes of it.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let cache = self.folder.join("kubectl");
        kubectl::run(&self.kubeconfig_path(), &cache, arguments, input)
    }

    /// Runs `kubectl` as the administrator; its standard output.
    ///
    /// # Panics
    ///
    /// If it does not succeed.
    pub fn must(&self, arguments: &[&str], input: &str) -> String {
        kubectl::successful(arguments, &self.kubectl(arguments, input))
    }

    /// What `kubectl ARGUMENTS --output=json` answers.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output=json"]].concat();
        serde_json::from_str(&self.must(&arguments, "")).unwrap()
    }

    /// Applies manifests, on the server's side and over anybody's fields.
    pub fn apply(&self, manifests: &str) {
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--filename=-",
        ];
        self.must(&arguments, manifests);
    }

    /// Applies the CRDs in a folder, and waits until their objects can be written.
    pub fn install_crds(&self, folder: &Path) {
        let filename = format!("--filename={}", folder.display());
        let apply = ["apply", "--server-side", "--force-conflicts", &filename];
        self.must(&apply, "");
        let established = "--for=condition=Established";
        self.must(&["wait", established, "--timeout=60s", &filename], "");
    }

    /// Makes a namespace that no other test has; its name.
    pub fn namespace(&self, prefix: &str) -> String {
        let name = unique(prefix);
        self.must(&["create", "namespace", &name], "");
        name
    }

    /// Kills the API server and starts it again: same address, same objects.
    pub fn restart(&self) {
        self.stop();
        *self.process.lock().unwrap() = Some(self.component.start());
        self.wait_ready()
            .unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Kills the API server: connections are refused until [`restart`](Self::restart).
    pub fn stop(&self) {
        *self.process.lock().unwrap() = None;
    }

    /// Freezes the API server: connections are accepted and nothing is answered.
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen API server go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.lock().unwrap();
        let process = process
            .as_ref()
            .unwrap_or_else(|| panic!("{} is stopped", self.name));
        process.signal(signal);
    }

    fn wait_ready(&self) -> Result<(), String> {
        let mut process = self.process.lock().unwrap();
        let process = process
            .as_mut()
            .ok_or_else(|| format!("{} is stopped", self.name))?;
        process.wait_ready(START, || {
            let arguments = ["get", "--raw=/readyz", "--request-timeout=5s"];
            self.kubectl(&arguments, "").status.success()
        })
    }

    pub(crate) fn kubeconfig_path(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }
}

/// A name that no other test of this process has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
