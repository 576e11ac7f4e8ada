//! All of it together.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::authority::Authority;
use crate::cert_manager::{Approval, CertManager};
use crate::etcd::Etcd;
use crate::server::{ApiServer, unique};
use crate::workdir::Workdir;

/// Management and workload clusters on one etcd.
pub struct Testbed {
    management: ApiServer,
    workloads: Vec<ApiServer>,
    authority: Arc<Authority>,
    etcd: Etcd,
    cert_manager: OnceLock<Result<CertManager, String>>,
    unapproving: OnceLock<Result<CertManager, String>>,
    // Last: fields are dropped in order, and the others write there.
    workdir: Workdir,
}

impl Testbed {
    /// The testbed of this process, with three workload clusters. The first call starts it.
    ///
    /// # Panics
    ///
    /// If a component is missing or does not start, in every test that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Testbed, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Self::start(3)) {
            Ok(testbed) => testbed,
            Err(reason) => panic!("the testbed does not start: {reason}"),
        }
    }

    /// Starts a testbed of one's own: `management` and `workload-1`, `workload-2`, ….
    ///
    /// # Errors
    ///
    /// Which component does not start, and the end of its log.
    pub fn start(workloads: u32) -> Result<Self, String> {
        let workdir = Workdir::new();
        let authority = Arc::new(Authority::new());
        let etcd = Etcd::start(&workdir.path().join("etcd"))?;
        let launch = |name: &str| {
            let folder = workdir.path().join(name);
            ApiServer::launch(name, &etcd, &authority, &folder)
        };
        let management = launch("management");
        let workloads: Vec<ApiServer> = (1..=workloads)
            .map(|number| launch(&format!("workload-{number}")))
            .collect();
        let servers = || std::iter::once(&management).chain(&workloads);
        servers().try_for_each(ApiServer::complete)?;
        servers().try_for_each(ApiServer::wait_controllers)?;
        Ok(Self {
            management,
            workloads,
            authority,
            etcd,
            cert_manager: OnceLock::new(),
            unapproving: OnceLock::new(),
            workdir,
        })
    }

    /// The management cluster.
    pub fn management(&self) -> &ApiServer {
        &self.management
    }

    /// The workload clusters.
    pub fn workloads(&self) -> &[ApiServer] {
        &self.workloads
    }

    /// Every cluster, the management cluster first.
    pub fn servers(&self) -> impl Iterator<Item = &ApiServer> {
        std::iter::once(&self.management).chain(&self.workloads)
    }

    /// The management cluster, with cert-manager in it from the first call on.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_cert_manager(&self) -> &ApiServer {
        let server = self.management();
        running(&self.cert_manager, server, Approval::Everything);
        server
    }

    /// The first workload cluster, with a cert-manager from the first call on that approves nothing:
    /// the test does.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_unapproving_cert_manager(&self) -> &ApiServer {
        let server = &self.workloads[0];
        running(&self.unapproving, server, Approval::Nothing);
        server
    }

    /// Where the components keep their files.
    pub fn workdir(&self) -> &Path {
        self.workdir.path()
    }

    /// Starts one more cluster, for a test that stops, suspends or restarts it. It ends when it is
    /// dropped.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn extra_server(&self, prefix: &str) -> ApiServer {
        let name = unique(prefix);
        let folder = self.workdir.path().join(&name);
        let server = ApiServer::launch(&name, &self.etcd, &self.authority, &folder);
        let ready = server.complete().and_then(|()| server.wait_controllers());
        ready.unwrap_or_else(|reason| panic!("{reason}"));
        server
    }

    /// Makes a namespace of the same new name in every cluster; its name.
    pub fn namespace(&self, prefix: &str) -> String {
        let name = unique(prefix);
        for server in self.servers() {
            server.must(&["create", "namespace", &name], "");
        }
        name
    }
}

fn running(slot: &OnceLock<Result<CertManager, String>>, server: &ApiServer, approval: Approval) {
    if let Err(reason) = slot.get_or_init(|| CertManager::start(server, approval)) {
        panic!("cert-manager does not start: {reason}");
    }
}
