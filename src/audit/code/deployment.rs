//! R01 key placement, R04 reachability, R05 identity, R06 tokens, R08 ownership, R09 backend, R10
//! rotation: what depends on where things are and on what relay-pki wrote down.

use super::rows;

rows! {
    R0101 101 Error {
        title: "a signing Secret lies in a workload cluster",
        effect: "whoever can read Secrets in that cluster can mint a certificate for any agent",
        remedy: "delete the Secret there, then `relay-pki rotate signer` and `relay-pki rotate agents`",
        explain: "Only a relay server reads the signing Secret, and relay servers run in management clusters. A copy elsewhere is a CA key without a user. Whoever may have read it can go on signing until the signer is replaced and its certificates are gone.",
        source: "relay facts 7.3, 7.5; design I5",
    }
    R0102 102 Warning {
        title: "a private key lies in the trust Secret of a workload cluster",
        effect: "the trust Secret is copied and mounted freely, because certificates are no secret; a key in it travels along",
        remedy: "relay-pki bootstrap --prune-keys",
        explain: "A workload cluster needs ca.crt and nothing else in its trust Secret. Recipes that let cert-manager write this Secret leave an unrelated leaf key in it. The key belongs to no CA of this relay; R0103 is the worse case.",
        source: "relay facts 1.1, 7.5",
    }
    R0103 103 Error {
        title: "the private key of a relay CA lies in a workload cluster",
        effect: "whoever can read Secrets in that cluster can mint a certificate for any agent and for the server",
        remedy: "relay-pki bootstrap --prune-keys ; then replace the CA: `relay-pki rotate signer` for a signer, a new root for a root",
        explain: "The key of the root, of the signer or of another CA that the fleet trusts was found outside the management clusters. Taking it out does not undo a copy that somebody made: treat the CA as compromised.",
        source: "relay facts 1.1, 7.5; design I5",
    }
    R0104 104 Info {
        title: "the root's private key lies beside the trust bundle in a management cluster",
        effect: "everybody who may read the trust Secret in the management cluster may read the root's key",
        remedy: "once `relay-pki bootstrap --adopt` has copied the key into relay-pki's own Secret, take tls.key out of the trust Secret",
        explain: "The default installation of Gloo puts the generated root key there. relay-pki keeps CA keys in Secrets of their own, so that RBAC can differ.",
        source: "relay facts 1.1; design 4",
    }
    R0105 105 Error {
        title: "other users of this machine can read a Secret",
        effect: "a private key or token that others can read is theirs too",
        remedy: "chmod 600 the file, then rotate what it holds if somebody may have read it",
        explain: "Manifests with private keys or tokens in them must be readable by their owner only. relay-pki writes them so and refuses to use a CA key that others can read.",
        source: "design I5",
    }
    R0106 106 Error {
        title: "a server or agent certificate uses the private key of a CA",
        effect: "the process that terminates TLS holds a CA key: one leak is a leak of the whole relay",
        remedy: "{rotate}",
        explain: "A key has one use. One recipe fills the signing Secret with the server's certificate; the other way round, a CA's key in the server Secret, is as bad.",
        source: "relay facts 5 (defects); NIST SP 800-57 part 1, 5.2",
    }
    R0107 107 Warning {
        title: "the private key of a retired CA is still kept",
        effect: "a key that nobody needs can only be stolen",
        remedy: "delete the Secret once no certificate of that CA is in use (`relay-pki status`)",
        explain: "The generation is retired or tainted according to the records, but its Secret with the key is still there.",
        source: "design 6, I5",
    }
    R0108 108 Warning {
        title: "a private key of relay-pki belongs to no record",
        effect: "it may be the rest of an interrupted step, or a CA whose record was deleted",
        remedy: "restore the records (ConfigMaps) that belong to it; it may be the only copy of a CA's key, so keep it until you know",
        explain: "relay-pki writes a record before it makes a key. A key Secret with our labels but without a record has lost its record (deleted, or in another management cluster), is older than the records (restored from a backup, for example), or is a copy. Delete it only if nothing leads to it.",
        source: "design 4, I4",
    }

    R0109 109 Error {
        title: "the relay server's private key lies in a workload cluster",
        effect: "whoever can read Secrets in that cluster can pose as the relay server",
        remedy: "delete the Secret there, then relay-pki rotate server",
        explain: "Relay servers run in management clusters; nothing in a workload cluster reads the server Secret. It was probably copied together with the others.",
        source: "relay facts 1.1; design 4, I5",
    }

    R0401 401 Warning {
        title: "a cluster could not be read",
        effect: "nothing is known about it: the audit is incomplete",
        remedy: "repair the access to {cluster}, then relay-pki audit",
        explain: "The cluster did not answer, or not in time. The other clusters were audited without it; checks that compare clusters did not see it.",
        source: "design I9",
    }
    R0402 402 Warning {
        title: "reading a cluster is not permitted",
        effect: "nothing is known about it: the audit is incomplete",
        remedy: "grant get and list on the relay Secrets and ConfigMaps in {cluster}, then relay-pki audit",
        explain: "An audit needs to read the relay Secrets and, in the management cluster, the records. It needs to write nothing.",
        source: "design 3",
    }
    R0403 403 Warning {
        title: "a manifest or object of a cluster cannot be read",
        effect: "what it was meant to hold is unknown: the audit is incomplete",
        remedy: "repair or remove what is named, then relay-pki audit",
        explain: "A directory of manifests counts as a whole: a file that cannot be read may be the very Secret that is looked for.",
        source: "design I9",
    }
    R0404 404 Warning {
        title: "relay-pki's own records cannot be read",
        effect: "ownership, drift and rotation cannot be judged: the audit is incomplete",
        remedy: "restore the record that is named from a backup, then relay-pki audit",
        explain: "The records (generations, requests, issuances) lie in the first management cluster. Without them the audit compares clusters with each other only.",
        source: "design 4",
    }
    R0405 405 Warning {
        title: "something could not be checked",
        effect: "what it would have shown is unknown: the audit is incomplete",
        remedy: "give the audit what is missing, then run it again",
        explain: "For bare PEM files: a section that cannot be read, or a certificate whose issuer is not among the files. For a fleet: a RelayCluster object is wrong, so its cluster was left out; or the checks themselves failed, which is a bug.",
        source: "design 3",
    }

    R0501 501 Error {
        title: "an agent's certificate does not name its cluster",
        effect: "the relay server takes the agent's identity from the DNS name: it refuses the agent or files it under another name",
        remedy: "{rotate}",
        explain: "The client certificate must carry the bare cluster name as DNS name, exactly as the cluster is registered. A certificate copied from another cluster shows here, and as R0503.",
        source: "relay facts 2.3, 7.1",
    }
    R0502 502 Warning {
        title: "the common name of an agent's certificate is not the cluster's name",
        effect: "a relay server that sorts agents by common name files this one under another name",
        remedy: "{rotate}",
        explain: "The documentation speaks of the DNS name only, but servers have been seen to use the common name. With both equal it does not matter.",
        source: "relay facts 2.3",
    }
    R0503 503 Error {
        title: "two clusters present the same client certificate",
        effect: "the relay server cannot tell them apart: one overwrites the other's inventory",
        remedy: "{rotate}",
        explain: "A client Secret was copied from one cluster to another.",
        source: "relay facts 5 (copied client Secret), 7.1",
    }
    R0504 504 Error {
        title: "the server's certificate does not cover a configured name",
        effect: "agents that dial by that name refuse the server",
        remedy: "relay-pki rotate server",
        explain: "Agents dial with the authority gloo-mesh-mgmt-server.<namespace>, whatever the address; names for other ways in are listed in spec.server.extraDnsNames. Only DNS names count, never the common name, and a wildcard covers one label.",
        source: "relay facts 2.3, 7.2; RFC 9525",
    }
    R0505 505 Error {
        title: "two clusters share a private key",
        effect: "whoever reads the key in one cluster can speak for the other",
        remedy: "{rotate}",
        explain: "Different certificates over the same key: renewal with a copied key, or a template with a key in it.",
        source: "relay facts 5; design I5",
    }
    R0506 506 Warning {
        title: "an agent's certificate carries more names than the cluster's",
        effect: "which of the names the relay server takes is not defined",
        remedy: "{rotate}",
        explain: "The set of DNS names should be exactly the cluster's name; addresses, URIs and e-mail names have no place in it.",
        source: "relay facts 2.3, 7.1",
    }
    R0507 507 Error {
        title: "an agent's certificate names another cluster of the fleet",
        effect: "the agent can speak for that cluster",
        remedy: "{rotate}",
        explain: "Besides its own name the certificate carries the name of another cluster.",
        source: "relay facts 2.3, 5",
    }

    R0601 601 Warning {
        title: "the tokens have not been replaced for more than 400 days",
        effect: "everybody who has ever seen the token can still introduce an agent",
        remedy: "relay-pki rotate tokens",
        explain: "The identity token is a shared secret of the whole fleet, used at an agent's first contact. Connected agents do not need it, so replacing it disturbs nobody.",
        source: "relay facts 1.1, 2.2",
    }
    R0602 602 Error {
        title: "an identity token differs from the management cluster's",
        effect: "a new agent in that cluster is refused at its first contact",
        remedy: "relay-pki bootstrap",
        explain: "The relay server compares the token that an agent presents with its own. Several management clusters must hold the same token, or agents can only join one of them.",
        source: "relay facts 2.2, 7.6, 7.11",
    }
    R0603 603 Error {
        title: "a token Secret holds no token",
        effect: "components that mount it fail at start",
        remedy: "relay-pki bootstrap",
        explain: "The key `token` is missing or empty.",
        source: "relay facts 5 (#1339), 7.6",
    }
    R0604 604 Error {
        title: "a token contains white space",
        effect: "the token does not compare equal with a clean copy of it",
        remedy: "relay-pki rotate tokens",
        explain: "Usually a newline at the end, from `echo` without -n or from an editor.",
        source: "relay facts 7.6",
    }
    R0605 605 Warning {
        title: "the forwarding token equals the identity token",
        effect: "whoever may introduce agents may also read forwarded snapshots, and the other way round",
        remedy: "relay-pki rotate tokens",
        explain: "The two guard different doors and are made independently.",
        source: "relay facts 1.2, 7.6",
    }
    R0606 606 Warning {
        title: "a token is short",
        effect: "a short token can be guessed",
        remedy: "relay-pki rotate tokens",
        explain: "A token should be at least 16 characters; those of relay-pki have 43 (256 random bits).",
        source: "NIST SP 800-63B 5.1.2",
    }
    R0607 607 Warning {
        title: "a forwarding token differs from the management cluster's",
        effect: "a dashboard that uses this copy is refused",
        remedy: "relay-pki bootstrap",
        explain: "The forwarding token is a shared secret of the management plane; copies in workload clusters are harmless, but should be copies.",
        source: "relay facts 1.2, 7.11",
    }

    R0801 801 Warning {
        title: "a relay Secret is not managed by relay-pki",
        effect: "relay-pki neither renews nor repairs it",
        remedy: "relay-pki bootstrap --adopt",
        explain: "A Secret with one of the relay's names lacks our owner labels. relay-pki never overwrites such a Secret; adoption labels it and changes nothing that a live agent relies on.",
        source: "design 4",
    }
    R0802 802 Error {
        title: "a relay Secret belongs to another relay",
        effect: "two relays share one place: each one's rotation breaks the other",
        remedy: "use another namespace, or other Secret names (spec.secrets)",
        explain: "The owner labels name another relay. relay-pki does not touch the Secret.",
        source: "design 4",
    }
    R0803 803 Error {
        title: "a relay Secret is missing",
        effect: "what mounts it does not start, or cannot verify its peer",
        remedy: "relay-pki bootstrap",
        explain: "Every cluster holds the trust bundle and the identity token; management clusters hold the server's certificate, and the signer if the relay server signs agents; a cluster whose agent gets its certificate from relay-pki holds that.",
        source: "design 4; relay facts 1.1",
    }
    R0804 804 Info {
        title: "an agent has not obtained its certificate yet",
        effect: "the agent is not connected, or was never installed",
        remedy: "install or restart the agent in {cluster}",
        explain: "The relay server signs this agent's certificate at its first contact, and the agent writes the Secret. It is not there.",
        source: "relay facts 2.2",
    }
    R0805 805 Error {
        title: "a trust bundle lacks a published root",
        effect: "its holder refuses peers whose certificates come from that root, at the latest after the next rotation",
        remedy: "relay-pki bootstrap",
        explain: "According to the records the root belongs into every bundle of the fleet now.",
        source: "design 6, I1",
    }
    R0806 806 Warning {
        title: "a trust bundle holds an anchor that is not published",
        effect: "its holder accepts certificates of a CA that the relay does not use",
        remedy: "relay-pki bootstrap ; or relay-pki bootstrap --adopt, if the anchor is in use",
        explain: "The anchor is not among the roots that the records call trusted. It may be a left-over, or somebody's addition.",
        source: "design 6, I2",
    }
    R0807 807 Warning {
        title: "trust bundles of the fleet differ",
        effect: "a rotation of the root reaches some parties and not others",
        remedy: "relay-pki bootstrap --adopt",
        explain: "Without records of relay-pki the bundle of the first management cluster is what the others are compared with.",
        source: "relay facts 7.10",
    }
    R0808 808 Error {
        title: "management clusters hold different signers",
        effect: "agents that one of them signs are refused by the other after a failover",
        remedy: "relay-pki bootstrap",
        explain: "Several management clusters of one relay must hold the same signer.",
        source: "relay facts 1.1, 7.11",
    }
    R0809 809 Warning {
        title: "the signing Secret does not hold the active signer",
        effect: "the relay server signs agents with a CA that is out of use",
        remedy: "relay-pki bootstrap",
        explain: "The certificate in the signing Secret is not that of the signer generation that the records call active.",
        source: "design 4, I3",
    }

    R0901 901 Error {
        title: "a CA backend does not answer",
        effect: "nothing can be issued or renewed from it",
        remedy: "repair the access to the provider, then relay-pki audit",
        explain: "The provider's cheap probe (reachable, authenticated, permitted) failed.",
        source: "design 3",
    }
    R0902 902 Error {
        title: "the provider of an active CA is not in the document",
        effect: "the CA cannot sign: renewal stops",
        remedy: "put the provider back into spec.providers",
        explain: "The records name a provider that spec.providers does not have.",
        source: "design 5",
    }
    R0903 903 Info {
        title: "the document asks for another CA than the active one",
        effect: "the change is not in effect: it takes a rotation",
        remedy: "relay-pki rotate signer for the signer; a root changes with a rotation of the root",
        explain: "Provider or key type of a CA were changed in the document after the CA was made.",
        source: "design 5",
    }
    R0904 904 Info {
        title: "the key of the active root is out of relay-pki's reach",
        effect: "no new signer can be made under this root",
        remedy: "plan a new root before the signer's renewal is due (`relay-pki status`)",
        explain: "The root was adopted without its key, or its key is kept offline.",
        source: "design 4",
    }

    R1001 1001 Error {
        title: "the record of a CA has no key",
        effect: "the CA cannot sign: renewal stops",
        remedy: "restore the Secret with the CA's key from a backup; without one, `relay-pki rotate signer`, or a new root",
        explain: "The records call the generation active and say that its key is in the cluster, but the Secret with the key is not there.",
        source: "design 4, I4",
    }
    R1002 1002 Error {
        title: "the key of a CA does not match its record",
        effect: "whatever the CA signs is refused",
        remedy: "restore the Secret with the CA's key from a backup",
        explain: "The public half of the stored key is not that of the certificate in the generation's record, or the key cannot be read.",
        source: "design I7",
    }
    R1003 1003 Warning {
        title: "a rotation that was asked for is not finished",
        effect: "some Secrets are older than the request",
        remedy: "relay-pki rotate due",
        explain: "Every request to rotate is written down with a number, and every Secret carries the number that it satisfies. This one carries a smaller number. An interrupted rotation goes on where it stopped.",
        source: "design I4",
    }
    R1004 1004 Warning {
        title: "a new CA was begun and is not in use",
        effect: "the rotation has stopped half-way",
        remedy: "relay-pki bootstrap, for a first CA; relay-pki rotate due, for a rotation",
        explain: "The generation was prepared or published more than an hour ago and has not become active since.",
        source: "design 6",
    }
    R1005 1005 Error {
        title: "two generations of a CA are active",
        effect: "which of them signs depends on who reads the records",
        remedy: "set all but the newest to `retiring` in their records",
        explain: "relay-pki retires the old generation before it activates the new one, so this was made by hand or by a restored backup.",
        source: "design I3",
    }
    R1006 1006 Warning {
        title: "more than two roots are published at once",
        effect: "some clients take one self-signed certificate of several as their only anchor, and fail on the third",
        remedy: "retire the roots that no certificate in use comes from",
        explain: "A rotation needs the old and the new root. Others are left-overs of earlier rotations or of an adoption.",
        source: "design 6; RFC 7030 4.1.3",
    }
    R1007 1007 Warning {
        title: "an issuance was begun and not finished",
        effect: "a certificate may have been bought and not delivered",
        remedy: "relay-pki rotate due",
        explain: "The record is written before the backend is asked, and removed when the certificate is delivered. The same need asks with the same id again, so nothing is bought twice.",
        source: "design I6",
    }
    R1008 1008 Error {
        title: "the relay's Secrets have no records",
        effect: "nothing can be renewed or rotated; a new root would lock every agent out",
        remedy: "restore the records from a backup, or name the management cluster that has them first in the document",
        explain: "Secrets with this relay's labels are in the fleet, but the first management cluster has no record of an active root or signer. The records are the ConfigMaps relay-pki-RELAY-*, with the CA keys in Secrets of the same names.",
        source: "design 4, I4",
    }
    R1030 1030 Error {
        title: "the transcript of a rotation was changed",
        effect: "it proves nothing any more: somebody edited, removed, moved or added lines",
        remedy: "compare it with a copy kept elsewhere (`relay-pki rotation log`), and find out who may write ConfigMaps beside the relay's Secrets",
        explain: "Every line carries the digest of the line before it and a signature over itself. The evidence names the first line at which that does not hold. A transcript key that was deleted and made anew shows here, too, for the rotations that began before: their lines are signed with the old one.",
        source: "design 6",
    }
    R1031 1031 Error {
        title: "the transcript of a rotation does not agree with its record",
        effect: "the record, or the end of the transcript, was changed by somebody else",
        remedy: "compare both with a copy kept elsewhere (`relay-pki rotation log`); restore the object from a backup",
        explain: "The last line carries the digest of the record that was written with it. Record and transcript are one object and change in one write, so relay-pki itself never leaves one behind the other.",
        source: "design 6; I4",
    }
    R1032 1032 Warning {
        title: "a rotation has no transcript",
        effect: "nothing proves how it went",
        remedy: "nothing, if an earlier version made the rotation; otherwise find out who removed it",
        explain: "The transcript lies beside the record of the rotation and begins with it. Rotations of earlier versions have none, or one that begins with the first change by this version.",
        source: "design 6",
    }
    R1033 1033 Warning {
        title: "the public key of the transcripts is not published as it should be",
        effect: "nobody can tell whether a transcript that was kept elsewhere is genuine",
        remedy: "delete the ConfigMap if its key is not the one of the Secret of the same name: the next rotation publishes the right one",
        explain: "The public half of the key that signs transcripts is in the ConfigMap relay-pki-RELAY-transcript-key, the private one in the Secret of the same name. Here it is missing, broken, or another one.",
        source: "design 6",
    }
    R1034 1034 Warning {
        title: "a transcript ends before its rotation",
        effect: "either the rotation was under way when the transcript was exported, or its last lines are missing",
        remedy: "export it anew with `relay-pki rotation log NUMBER --output json`",
        explain: "The last phase that it tells of is neither done nor rolledback. Nothing in the lines themselves shows whether more came after; the records do, and an audit of the fleet compares both.",
        source: "design 6",
    }
    R1035 1035 Info {
        title: "nobody said which key has to have signed a transcript",
        effect: "its lines hang together, but anybody can make such lines with a key of their own",
        remedy: "relay-pki audit --transcript FILE --transcript-key PEM",
        explain: "The key is published in the ConfigMap relay-pki-RELAY-transcript-key as public.pem. Keep a copy of it where nobody who can write there can reach it. The evidence is the digest of the key that the first line names.",
        source: "design 6",
    }
    R1020 1020 Info {
        title: "a cluster is revoked",
        effect: "its agent gets no certificate any more; peers that ask its CA what is revoked refuse the ones it has",
        remedy: "none while that is meant; relay-pki revoke {cluster} --lift lets it enrol again",
        explain: "The decision is a record of its own and survives restarts. The relay server itself reads no revocation list: a certificate that was stolen opens its door until it ends, so short lifetimes matter, or a new signer (relay-pki rotate signer).",
        source: "RFC 7030 3.3.2; RFC 5280 5",
    }
}
