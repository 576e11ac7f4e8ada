//! What the controller may do: what the chart gives it, and nothing else.

/// The account of the controller in the management cluster.
pub(crate) const CONTROLLER: &str = "relay-pki-controller";

/// The account of the controller in workload clusters.
pub(crate) const AGENT: &str = "relay-pki-agent";

/// What may be done with the Secrets of a workload cluster.
pub(crate) const WRITES: &str = "get, list, watch, create, patch";

/// The same, where Secrets are to be deleted with their objects.
pub(crate) const DELETES: &str = "get, list, watch, create, patch, delete";

/// Everything but changes.
pub(crate) const READS: &str = "get, list, watch";

/// The account of the controller with its Role, for a namespace of the management cluster.
pub(crate) fn controller(namespace: &str) -> String {
    let rules = [
        (
            "\"\"",
            "secrets, configmaps",
            "get, list, watch, create, patch, delete",
        ),
        ("coordination.k8s.io", "leases", "get, create, update"),
        ("events.k8s.io", "events", "create, patch"),
        ("relay-pki.dev", "relays", "get, list, watch, patch"),
        (
            "relay-pki.dev",
            "relayclusters",
            "get, list, watch, create, patch",
        ),
        (
            "relay-pki.dev",
            "relayrotations",
            "get, list, watch, create, delete",
        ),
        (
            "relay-pki.dev",
            "relays/status, relayclusters/status, relayrotations/status",
            "patch",
        ),
        ("admin.gloo.solo.io", "kubernetesclusters", "list"),
    ];
    let account = account(namespace, CONTROLLER);
    let role = role(namespace, CONTROLLER, &rules);
    let binding = binding(namespace, CONTROLLER, namespace);
    format!("{account}---\n{role}---\n{binding}")
}

/// An account without rights.
pub(crate) fn account(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\n\
         metadata: {{ name: {name}, namespace: {namespace} }}\n"
    )
}

/// The right to do `verbs` with the Secrets of a namespace of a workload cluster, for the account
/// that lies in the namespace `home`.
pub(crate) fn agent(namespace: &str, verbs: &str, home: &str) -> String {
    let role = role(namespace, AGENT, &[("\"\"", "secrets", verbs)]);
    let binding = binding(namespace, AGENT, home);
    format!("{role}---\n{binding}")
}

/// The right of the account `name`, which lies in the namespace `home`, to restart one Deployment.
pub(crate) fn restarts(namespace: &str, name: &str, home: &str, deployment: &str) -> String {
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
         metadata: {{ name: {name}-restarts, namespace: {namespace} }}\nrules:\n  \
         - {{ apiGroups: [apps], resources: [deployments], resourceNames: [{deployment}], \
         verbs: [get, patch] }}\n"
    );
    let binding = binding(namespace, name, home).replace(
        &format!("metadata: {{ name: {name},"),
        &format!("metadata: {{ name: {name}-restarts,"),
    );
    let binding = binding.replace(
        &format!("kind: Role, name: {name} }}"),
        &format!("kind: Role, name: {name}-restarts }}"),
    );
    format!("{role}---\n{binding}")
}

fn role(namespace: &str, name: &str, rules: &[(&str, &str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(group, resources, verbs)| {
            format!("  - {{ apiGroups: [{group}], resources: [{resources}], verbs: [{verbs}] }}\n")
        })
        .collect();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
         metadata: {{ name: {name}, namespace: {namespace} }}\nrules:\n{rules}"
    )
}

fn binding(namespace: &str, name: &str, home: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {{ name: {name}, namespace: {namespace} }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name} }}\n\
         subjects: [{{ kind: ServiceAccount, name: {name}, namespace: {home} }}]\n"
    )
}
