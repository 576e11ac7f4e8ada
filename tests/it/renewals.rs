//! Renewal by the controller, when its time has come and without anybody asking for it.

use std::time::Duration;

use serde_json::json;

use crate::support::fleet::{CLIENT, SERVER};
use crate::support::stage::{SOON, Stage, secret};

/// The renewal point, and the minute of the schedule after it.
const ON_TIME: Duration = Duration::from_secs(150);

#[test]
fn what_is_due_is_renewed_on_time_and_on_schedule() {
    let stage = Stage::new("renewals");
    let members = stage.members(&["east"]);
    let _replica = stage.replica("a");
    // The shortest lives that are accepted, renewed as soon as that is accepted.
    stage.relay(json!({
        "server": { "validity": "10m", "renewAt": 0.11 },
        "agents": { "validity": "10m", "renewAt": 0.11, "schedule": "* * * * *" },
    }));
    stage.join(&members);
    stage.wait_ready(&members, SOON);
    let member = &members[0];
    let client = member.secret(CLIENT);
    let server = secret(stage.management(), stage.namespace(), SERVER);

    let renewed = member.wait_secret(CLIENT, ON_TIME, |now| now.data != client.data);
    assert_ne!(
        renewed.data["tls.key"], client.data["tls.key"],
        "the key is new, too"
    );
    assert_eq!(renewed.data["ca.crt"], client.data["ca.crt"]);
    stage.event(&member.name, "Renewed", &[CLIENT, "renewal due since"]);
    stage.event(stage.namespace(), "Renewed", &[SERVER, "renewal due since"]);
    let now = secret(stage.management(), stage.namespace(), SERVER);
    assert_ne!(now.data["tls.crt"], server.data["tls.crt"]);
    stage.wait_ready(&members, SOON);
    assert!(
        !stage.events().iter().any(|(reason, ..)| reason == "Drift"),
        "{:?}",
        stage.events()
    );
}
