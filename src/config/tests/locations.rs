//! Where clusters are: directories, kubeconfigs, Secrets and the cluster around relay-pki.

use super::*;

fn cluster(rest: &str) -> String {
    with_clusters(&format!(
        "    - {{ name: mgmt, role: management, directory: mgmt }}\n    \
         - {{ name: c1, role: workload{rest} }}\n"
    ))
}

fn location(rest: &str) -> Location {
    parse(&cluster(rest)).unwrap().clusters[1].location.clone()
}

#[test]
fn every_way_to_say_where_a_cluster_is() {
    let kubeconfig = |file: Option<&str>, context: Option<&str>| Location::Kubeconfig {
        file: file.map(PathBuf::from),
        context: context.map(str::to_owned),
    };
    let secret = |key: &str| Location::KubeconfigSecret {
        name: "c1-kubeconfig".to_owned(),
        key: key.to_owned(),
    };
    for (rest, expected) in [
        (", kubeconfig: {}", kubeconfig(None, None)),
        (
            ", kubeconfig: { context: arn:aws:eks:eu-1:1:cluster/c1 }",
            kubeconfig(None, Some("arn:aws:eks:eu-1:1:cluster/c1")),
        ),
        (
            ", kubeconfig: { file: kube/../c1.yaml }",
            kubeconfig(Some("/fleet/kube/../c1.yaml"), None),
        ),
        (
            ", kubeconfig: { file: /etc/kube, context: c1 }",
            kubeconfig(Some("/etc/kube"), Some("c1")),
        ),
        (
            ", kubeconfig: { secretRef: { name: c1-kubeconfig } }",
            secret("kubeconfig"),
        ),
        (
            ", kubeconfig: { secretRef: { name: c1-kubeconfig, key: value } }",
            secret("value"),
        ),
        (", inCluster: {}", Location::InCluster),
    ] {
        assert_eq!(location(rest), expected, "{rest}");
    }
}

#[test]
fn namespaces_of_clusters() {
    let text = with_clusters(
        "    - { name: a, role: management, inCluster: {}, namespace: one }\n    \
         - { name: b, role: management, inCluster: {} }\n    \
         - { name: c, role: workload, kubeconfig: {}, namespace: two }\n",
    );
    let relay = parse(&text).unwrap();
    let namespaces: Vec<&str> = relay
        .clusters
        .iter()
        .map(|cluster| cluster.namespace.as_str())
        .collect();
    assert_eq!(namespaces, ["one", "gloo-mesh", "two"]);
    // A server is reached by the namespace that it is in.
    let names: Vec<&str> = relay
        .server
        .names
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "gloo-mesh-mgmt-server.gloo-mesh",
            "*.gloo-mesh",
            "gloo-mesh-mgmt-server.one",
            "*.one",
        ]
    );
}

#[test]
fn exactly_one_of_them() {
    for (rest, place, parts) in [
        (
            "",
            "7:7",
            [
                "spec.clusters[1] does not say where the cluster is",
                "write directory: …, kubeconfig: … or inCluster: {}",
            ],
        ),
        (
            ", directory: c1, inCluster: {}",
            "7:61",
            [
                "spec.clusters[1] says twice where the cluster is: directory and inCluster",
                "keep one",
            ],
        ),
        (
            ", kubeconfig: {}, inCluster: {}",
            "7:62",
            ["kubeconfig and inCluster", "keep one"],
        ),
        (
            ", kubeconfig: { context: c1, secretRef: { name: c1 } }",
            "7:81",
            [
                "spec.clusters[1].kubeconfig is both a Secret and a kubeconfig of yours",
                "either secretRef",
            ],
        ),
        (
            ", kubeconfig: { file: ~/.kube/config }",
            "7:55",
            [
                "kubeconfig.file: \"~/.kube/config\" starts with ~",
                "whole path",
            ],
        ),
        (
            ", kubeconfig: { file: '' }",
            "7:55",
            ["the file has no usable name", "kubeconfigs/mgmt.yaml"],
        ),
        (
            ", kubeconfig: { context: '' }",
            "7:58",
            ["the context has no usable name", "get-contexts"],
        ),
        (
            ", kubeconfig: { secretRef: { name: C1 } }",
            "7:68",
            ["kubeconfig.secretRef.name: \"C1\"", "lower-case"],
        ),
        (
            ", kubeconfig: { secretRef: { name: c1, key: a/b } }",
            "7:77",
            [
                "kubeconfig.secretRef.key: \"a/b\" is no valid key",
                "letters",
            ],
        ),
        (
            ", inCluster: {}, namespace: a.b",
            "7:61",
            [
                "spec.clusters[1].namespace: the name \"a.b\" has a dot",
                "'-'",
            ],
        ),
    ] {
        assert_refused(&cluster(rest), &[(place, &parts)]);
    }
}

#[test]
fn two_clusters_are_not_one() {
    let text = with_clusters(
        "    - { name: a, role: management, inCluster: {} }\n    \
         - { name: b, role: workload, inCluster: {}, namespace: gloo-mesh }\n    \
         - { name: c, role: workload, kubeconfig: { file: k, context: x } }\n    \
         - { name: d, role: workload, kubeconfig: { file: ./y/../k, context: x } }\n    \
         - { name: e, role: workload, kubeconfig: { secretRef: { name: s } } }\n    \
         - { name: f, role: workload, kubeconfig: { secretRef: { name: s, key: kubeconfig } } }\n    \
         - { name: g, role: workload, kubeconfig: {} }\n    \
         - { name: h, role: workload, kubeconfig: {} }\n",
    );
    assert_refused(
        &text,
        &[
            (
                "7:45",
                &[
                    "namespace \"gloo-mesh\" of the cluster that relay-pki runs in is already that \
                     of cluster \"a\" in line 6",
                    "another namespace",
                ],
            ),
            (
                "9:46",
                &[
                    "the context \"x\" of /fleet/./y/../k is already that of cluster \"c\" in line 8",
                ],
            ),
            (
                "11:46",
                &["the kubeconfig \"kubeconfig\" in Secret \"s\" is already that of cluster \"e\""],
            ),
            (
                "13:46",
                &["the current context is already that of cluster \"g\" in line 12"],
            ),
        ],
    );
    let apart = with_clusters(
        "    - { name: a, role: management, inCluster: {} }\n    \
         - { name: b, role: workload, inCluster: {}, namespace: other }\n    \
         - { name: c, role: workload, kubeconfig: { context: x } }\n    \
         - { name: d, role: workload, kubeconfig: { context: y } }\n    \
         - { name: e, role: workload, kubeconfig: { context: x, file: k } }\n    \
         - { name: f, role: workload, kubeconfig: { context: x }, namespace: other }\n    \
         - { name: g, role: workload, kubeconfig: { secretRef: { name: s } } }\n    \
         - { name: h, role: workload, kubeconfig: { secretRef: { name: s, key: k } } }\n    \
         - { name: i, role: workload, kubeconfig: { secretRef: { name: t } } }\n",
    );
    assert_eq!(parse(&apart).unwrap().clusters.len(), 9);
}

#[test]
fn the_first_management_cluster_is_found_without_a_secret() {
    let text = with_clusters(
        "    - { name: a, role: workload, kubeconfig: { secretRef: { name: a } } }\n    \
         - { name: b, role: management, kubeconfig: { secretRef: { name: b } } }\n    \
         - { name: c, role: management, kubeconfig: { secretRef: { name: c } } }\n",
    );
    assert_refused(
        &text,
        &[(
            "7:69",
            &[
                "the kubeconfig of \"b\", the first management cluster, cannot be in a Secret",
                "write kubeconfig: { context: … }",
            ],
        )],
    );
    let moved = text.replace(
        "management, kubeconfig: { secretRef: { name: b } }",
        "management, directory: b",
    );
    assert!(parse(&moved).is_ok());
}
