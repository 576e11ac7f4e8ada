//! Real Kubernetes API servers for the tests, faults in front of them, and other people's CA services.
//!
//! [`Testbed::shared`] starts one management and three workload clusters, once in each test process:
//! an etcd, and for each cluster a `kube-apiserver` and a `kube-controller-manager`. They end with
//! the process, however it ends. `kubectl` is the client, so that the product is never used to check
//! itself; for the same reason nothing here has a type of the product or of its Kubernetes client.
//!
//! [`Vault::shared`] starts a Vault server the same way.
//!
//! [`Proxy`] disturbs connections without looking into them, [`Interceptor`] disturbs and counts
//! requests. Every call blocks and has a time limit; what does not work panics with what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod authority;
mod aws;
mod cert_manager;
mod controllers;
mod etcd;
mod eventually;
mod google_cas;
mod interceptor;
mod kubeconfig;
mod kubectl;
mod listening;
mod logs;
mod ports;
mod process;
mod programs;
mod proxy;
mod runtime;
mod server;
mod testbed;
mod tls_records;
mod vault;
mod workdir;

pub use aws::{AwsAccount, AwsServer};
pub use cert_manager::{Approval, CertManager};
pub use eventually::eventually;
pub use google_cas::{GoogleCas, GoogleProject};
pub use interceptor::{Effect, Fault, Interceptor, Request};
pub use kubectl::{kubectl, kubectl_must};
pub use listening::Listening;
pub use process::{Component, Process};
pub use programs::program;
pub use proxy::{Mode, Proxy};
pub use server::ApiServer;
pub use testbed::Testbed;
pub use vault::{Reply, Vault};
