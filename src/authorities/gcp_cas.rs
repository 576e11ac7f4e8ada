//! The provider of Google Certificate Authority Service, with what it needs of us.

use relay_pki_gcp_cas::{Access, GoogleCas, Pool};

use super::Surroundings;
use crate::config::GcpCasConfig;
use crate::credential;

pub(super) fn open(
    name: &str,
    config: &GcpCasConfig,
    surroundings: &Surroundings<'_>,
) -> GoogleCas {
    let pool = &config.pool;
    let credentials = config.credentials.as_ref();
    let access = Access {
        pool: Pool::new(&pool.project, &pool.location, &pool.name),
        key: credentials.map(|source| credential::open(source, surroundings.home)),
        endpoint: config.endpoint.clone(),
    };
    GoogleCas::new(name, access)
}
