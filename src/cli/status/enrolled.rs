//! Clusters whose agents enrol: nobody reads them, so what is known is what their agents showed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::super::error::CliError;
use crate::config::Delivery;
use crate::engine::Fleet;
use crate::enrolment::Registry;

/// What is known of one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolledView {
    pub(super) cluster: String,
    /// Of the certificate that ends last: its signer, and its end.
    pub(super) issued_by: Option<u32>,
    pub(super) not_after: Option<Timestamp>,
    /// The bundle that its agent holds, and when it said so first.
    pub(super) bundle: Option<String>,
    pub(super) acknowledged: Option<Timestamp>,
}

/// All clusters of the document that enrol, those first whose certificates end first; without one nothing
/// is read.
pub(super) async fn read(fleet: &Fleet) -> Result<Vec<EnrolledView>, CliError> {
    let mut enrolling = fleet.relay.agents();
    if !enrolling.any(|(_, agent)| agent.delivery == Delivery::Enroll) {
        return Ok(Vec::new());
    }
    let records = Registry::of(fleet)?.list().await?;
    let mut known: BTreeMap<_, _> = records.into_iter().collect();
    let enrolling = fleet.relay.agents();
    let enrolling = enrolling.filter(|(_, agent)| agent.delivery == Delivery::Enroll);
    let mut views: Vec<EnrolledView> = enrolling
        .map(|(spec, _)| {
            let record = known.remove(spec.name.as_str()).unwrap_or_default();
            let latest = record.latest();
            EnrolledView {
                cluster: spec.name.to_string(),
                issued_by: latest.map(|latest| latest.signer),
                not_after: latest.map(|latest| latest.not_after),
                acknowledged: record.acknowledged.as_ref().map(|known| known.at),
                bundle: record.acknowledged.map(|known| known.bundle),
            }
        })
        .collect();
    views.sort_by_key(|view| (view.not_after.is_some(), view.not_after));
    Ok(views)
}
