//! R02 chain and handshake, R03 validity, R07 algorithm and profile: what the certificates say.

use super::rows;

rows! {
    R0201 201 Error {
        title: "an agent does not accept the relay server's certificate",
        effect: "the agent cannot connect after its next restart",
        remedy: "relay-pki bootstrap",
        explain: "The server's chain was verified against the roots that the agent holds: ca.crt of its client Secret, else ca.crt of its trust Secret. Two verifiers look at every chain, rustls-webpki and relay-pki's own, which also minds what OpenSSL and Go mind; the evidence says which one objected.",
        source: "relay facts 2.3, 7.3; RFC 5280 6",
    }
    R0202 202 Error {
        title: "the relay server does not accept an agent's certificate",
        effect: "the agent is locked out",
        remedy: "relay-pki bootstrap ; then {rotate}, if it is still refused",
        explain: "The agent's chain was verified against ca.crt of the server Secret of every management cluster. Two verifiers look at every chain; the evidence says which one objected.",
        source: "relay facts 2.3, 7.3; RFC 5280 6",
    }
    R0203 203 Error {
        title: "a private key does not belong to its certificate",
        effect: "TLS with this Secret fails, or the process that mounts it does not start",
        remedy: "relay-pki bootstrap",
        explain: "tls.key and the first certificate in tls.crt hold different public keys: the two were replaced out of step.",
        source: "RFC 5246 7.4.2; RFC 8446 4.4.2",
    }
    R0204 204 Error {
        title: "a Secret cannot be used: something in it is missing or broken",
        effect: "what mounts it fails",
        remedy: "relay-pki bootstrap",
        explain: "A Secret with a certificate needs tls.crt, tls.key and ca.crt, all PEM; a trust Secret needs ca.crt.",
        source: "relay facts 1.1",
    }
    R0205 205 Error {
        title: "the certificate in the signing Secret cannot sign",
        effect: "every certificate that the relay server signs with it is refused",
        remedy: "relay-pki bootstrap",
        explain: "A signer needs CA:TRUE in its basic constraints and keyCertSign in its key usage. One recipe puts the server's leaf there \"as a temporary workaround\".",
        source: "relay facts 5 (defects), 7.4; RFC 5280 4.2.1.3, 4.2.1.9",
    }
    R0206 206 Error {
        title: "a signer does not lead to a root in its own ca.crt",
        effect: "agents that get their certificate from it cannot tell their issuer from a stranger",
        remedy: "relay-pki bootstrap",
        explain: "tls.crt of the signing Secret, with what follows it, must lead to a certificate in ca.crt of the same Secret.",
        source: "relay facts 7.4",
    }
    R0207 207 Error {
        title: "a relay server would refuse what its signer signs",
        effect: "agents that the relay server signs cannot come back over mTLS",
        remedy: "relay-pki bootstrap",
        explain: "The signer in the signing Secret does not lead to a root in ca.crt of the server Secret, which is what the relay server accepts clients with.",
        source: "relay facts 2.3, 7.3",
    }
    R0208 208 Warning {
        title: "a chain carries certificates that are not part of it",
        effect: "strict peers refuse it, others send useless bytes in every handshake",
        remedy: "{rotate}",
        explain: "Each certificate in tls.crt has to be issued by the next one. TLS 1.2 peers may insist on the order.",
        source: "RFC 5246 7.4.2; RFC 8446 4.4.2",
    }
    R0209 209 Info {
        title: "a chain carries its root",
        effect: "it proves nothing: the peer has the root, or does not trust it",
        remedy: "{rotate}, at leisure",
        explain: "The root may be left out of the chain, and costs bytes in every handshake.",
        source: "RFC 8446 4.4.2",
    }
    R0210 210 Warning {
        title: "a trust bundle holds a certificate that is no root",
        effect: "OpenSSL peers ignore it as an anchor, Go and rustls peers accept it: parties disagree",
        remedy: "relay-pki bootstrap ; or take the certificate out of ca.crt",
        explain: "An anchor should be a self-signed CA certificate. A leaf or an intermediate in ca.crt works with some TLS libraries only.",
        source: "RFC 5280 6.1.1; OpenSSL X509_V_FLAG_PARTIAL_CHAIN",
    }
    R0211 211 Info {
        title: "a private key belongs to no certificate among the files",
        effect: "nothing can be said about its use",
        remedy: "give the audit the certificate too",
        explain: "Keys in PEM files are matched with certificates by their public half.",
        source: "design 3",
    }

    R0301 301 Error {
        title: "a certificate has expired",
        effect: "every handshake with it fails",
        remedy: "relay-pki rotate due ; for a signer, `relay-pki rotate signer` and then `relay-pki rotate agents`",
        explain: "The end of the validity period has passed.",
        source: "RFC 5280 4.1.2.5",
    }
    R0302 302 Error {
        title: "a certificate outlives its issuer",
        effect: "it stops working at the issuer's end, long before anybody expects it",
        remedy: "relay-pki rotate signer, if the signer is due; then {rotate}",
        explain: "A chain is valid as long as its shortest-lived certificate. Renewal is reckoned from the certificate's own end and comes too late.",
        source: "RFC 5280 6.1.3; relay facts 3.5",
    }
    R0303 303 Error {
        title: "a signer outlives its root",
        effect: "everything below it stops working at the root's end",
        remedy: "plan a new root before the end of this one (`relay-pki status`)",
        explain: "The signer's certificate ends after the root's.",
        source: "RFC 5280 6.1.3",
    }
    R0304 304 Error {
        title: "a certificate is not valid yet",
        effect: "every handshake with it fails until its time comes",
        remedy: "check the clocks of the cluster and of the CA, then {rotate}",
        explain: "The validity period starts in the future, seen from here.",
        source: "RFC 5280 4.1.2.5",
    }
    R0305 305 Error {
        title: "a root that is in use has expired",
        effect: "every handshake below it fails",
        remedy: "move the relay Secrets away and `relay-pki bootstrap` anew",
        explain: "Certificates in use lead to this root. Some TLS libraries do not look at a root's validity period; OpenSSL and Go do.",
        source: "RFC 5280 6.1; X.509 practice",
    }
    R0306 306 Warning {
        title: "a trust bundle holds an expired root that nothing needs",
        effect: "it does no good, and hides that it is there",
        remedy: "relay-pki bootstrap, after the root is retired",
        explain: "No certificate in use leads to it.",
        source: "design 6",
    }
    R0307 307 Warning {
        title: "a renewal is overdue",
        effect: "the certificate will expire if nobody acts",
        remedy: "relay-pki rotate due, from a crontab too",
        explain: "The renewal point (spec renewAt and schedule, reckoned from the validity that was issued) passed more than a twentieth of the lifetime ago, or less than a sixth of the lifetime is left. `rotate due` should have run.",
        source: "relay facts 3.5, 7.9; design 5",
    }
    R0308 308 Warning {
        title: "little life is left",
        effect: "the certificate will expire if nobody acts",
        remedy: "renew it where it comes from; relay-pki bootstrap --adopt lets relay-pki do it",
        explain: "relay-pki does not renew this certificate. Less than a sixth of its lifetime is left (a twelfth, where the relay server signs: agents renew by themselves, late), or less than a day of a long one.",
        source: "ux 0.4; relay facts 2.4",
    }
    R0309 309 Warning {
        title: "the root ends before a new signer would",
        effect: "every new signer is cut short, and with it every certificate",
        remedy: "plan a new root before then (`relay-pki status` shows when)",
        explain: "Less is left of the root's life than the signer's validity in the document.",
        source: "design 6; relay facts 7.4",
    }
    R0310 310 Info {
        title: "a certificate was issued for much less than the document asks",
        effect: "it is renewed more often than the document lets expect",
        remedy: "raise the lifetime limit in the CA, or lower the validity in the document",
        explain: "CAs clamp lifetimes to their own limits. relay-pki reckons renewal from what was issued, so there is no renewal loop.",
        source: "relay facts 3.5",
    }
    R0311 311 Error {
        title: "a certificate's validity ends before it starts",
        effect: "it is never valid",
        remedy: "relay-pki rotate due, after repairing the CA that issued it",
        explain: "notAfter is not later than notBefore.",
        source: "RFC 5280 4.1.2.5",
    }
    R0312 312 Warning {
        title: "the signer ends before a new agent certificate would",
        effect: "new agent certificates are cut short, or outlive their issuer",
        remedy: "relay-pki rotate signer",
        explain: "Less is left of the signer's life than the longest agent certificate lasts. A relay server that signs by itself does not look at that (its certificates last a year).",
        source: "relay facts 2.4, 7.4",
    }

    R0701 701 Error {
        title: "a key is too weak",
        effect: "the key can be broken, and TLS libraries refuse it",
        remedy: "set keyType to ecdsa-p256 or rsa-2048 at least, then {rotate}",
        explain: "RSA keys need 2048 bits.",
        source: "NIST SP 800-57; CA/B baseline 6.1.5",
    }
    R0702 702 Warning {
        title: "a key is of a type that relay-pki does not work with",
        effect: "relay-pki cannot adopt it, and not every peer can use it",
        remedy: "{rotate}",
        explain: "The key may be sound; it is just not one that every relay peer is known to accept.",
        source: "design 4",
    }
    R0703 703 Error {
        title: "a certificate is signed with SHA-1 or MD5",
        effect: "TLS libraries refuse it, and it can be forged",
        remedy: "let the CA sign with SHA-256, then {rotate}",
        explain: "Collisions in SHA-1 and MD5 are practical; Go, OpenSSL 3 and rustls refuse such signatures.",
        source: "RFC 9155; CA/B baseline 7.1.3",
    }
    R0704 704 Info {
        title: "a root is signed with SHA-1 or MD5",
        effect: "none on paths: nobody verifies a root's own signature",
        remedy: "plan a new root",
        explain: "The signature of an anchor proves nothing, so its algorithm is a matter of hygiene.",
        source: "RFC 5280 6.1",
    }
    R0705 705 Error {
        title: "a serial number is not allowed",
        effect: "some TLS libraries refuse the certificate, and it cannot be told from others",
        remedy: "{rotate}",
        explain: "A serial number is positive and has 20 octets at most. Recipes with `-set_serial 0` give every certificate the same one.",
        source: "RFC 5280 4.1.2.2; relay facts 5 (defects)",
    }
    R0706 706 Warning {
        title: "a serial number is short",
        effect: "serial numbers that can be guessed helped to forge certificates",
        remedy: "let the CA use random serial numbers, then {rotate}",
        explain: "At least 64 bits should come from a random source; this one has fewer than 56 bits in all, so it cannot be (eight leading zeros are allowed for).",
        source: "CA/B baseline 7.1",
    }
    R0707 707 Error {
        title: "two certificates of one issuer have the same serial number",
        effect: "they cannot be told apart: revoking one revokes the other, and some libraries refuse the second",
        remedy: "{rotate}",
        explain: "Issuer and serial number identify a certificate.",
        source: "RFC 5280 4.1.2.2; relay facts 7.7",
    }
    R0708 708 Error {
        title: "a leaf has the same subject as its issuer",
        effect: "libraries take it for self-signed, and build no chain",
        remedy: "{rotate}",
        explain: "Path building goes by names. Root, signer and leaf need different ones.",
        source: "RFC 5280 6.1; relay facts 5 (defects), 7.7",
    }
    R0709 709 Warning {
        title: "certificates of different parties share one subject",
        effect: "logs, and libraries that build paths by name, confuse them",
        remedy: "{rotate}",
        explain: "Recipes exist in which root, server and clients are all called CN=enterprise-networking-ca.",
        source: "relay facts 5 (defects), 7.7",
    }
    R0710 710 Error {
        title: "the extended key usage does not fit",
        effect: "the peer refuses the certificate",
        remedy: "{rotate}",
        explain: "A server's certificate needs serverAuth, an agent's clientAuth.",
        source: "RFC 5280 4.2.1.12; relay facts 7.7",
    }
    R0711 711 Warning {
        title: "a leaf has no extended key usage, or any",
        effect: "it can be used on both sides of the connection, and for anything else",
        remedy: "{rotate}",
        explain: "Without the extension, or with anyExtendedKeyUsage, an agent's certificate can pose as a server's.",
        source: "RFC 5280 4.2.1.12",
    }
    R0712 712 Error {
        title: "a leaf's key usage does not allow TLS",
        effect: "the peer refuses the certificate",
        remedy: "{rotate}",
        explain: "TLS 1.3, and TLS 1.2 with ephemeral keys, need digitalSignature.",
        source: "RFC 8446 4.4.2.2; RFC 5280 4.2.1.3",
    }
    R0713 713 Error {
        title: "a CA may not sign certificates",
        effect: "chains through it are refused",
        remedy: "relay-pki rotate signer, or a new root",
        explain: "Its basic constraints do not say CA:TRUE, or its key usage lacks keyCertSign.",
        source: "RFC 5280 4.2.1.3, 4.2.1.9",
    }
    R0714 714 Warning {
        title: "a CA's basic constraints or key usage is missing or not critical",
        effect: "strict verifiers refuse the CA",
        remedy: "relay-pki rotate signer, or a new root",
        explain: "Both extensions must be present and critical in CA certificates.",
        source: "RFC 5280 4.2.1.3, 4.2.1.9",
    }
    R0715 715 Warning {
        title: "a root has a path length",
        effect: "a cross-certified chain, as in a rotation, is refused by OpenSSL peers",
        remedy: "plan a new root; relay-pki makes roots without",
        explain: "During a rotation one more CA stands between root and leaf.",
        source: "design 6; RFC 5280 4.2.1.9",
    }
    R0716 716 Warning {
        title: "a signer's path length is not 0",
        effect: "whoever holds its key can make further CAs",
        remedy: "relay-pki rotate signer",
        explain: "A signer signs leaves and nothing else.",
        source: "design 6; RFC 5280 4.2.1.9",
    }
    R0717 717 Error {
        title: "a leaf says that it is a CA",
        effect: "its holder can mint certificates, and rustls peers refuse it",
        remedy: "{rotate}",
        explain: "CA:TRUE in a certificate that is presented in a handshake.",
        source: "RFC 5280 4.2.1.9",
    }
    R0718 718 Warning {
        title: "a key identifier is missing",
        effect: "with two CAs of one name, as in a rotation, libraries try the wrong one first",
        remedy: "{rotate}",
        explain: "CA certificates carry a subject key identifier, issued certificates an authority key identifier.",
        source: "RFC 5280 4.2.1.1, 4.2.1.2",
    }
    R0719 719 Error {
        title: "the authority key identifier does not match the issuer",
        effect: "OpenSSL peers do not find the issuer",
        remedy: "{rotate}",
        explain: "The certificate was signed by the issuer's key but names another key identifier.",
        source: "RFC 5280 4.2.1.1",
    }
    R0720 720 Error {
        title: "a certificate has a critical extension that verifiers do not know",
        effect: "verifiers must refuse it",
        remedy: "{rotate}",
        explain: "Critical means: refuse what you do not understand.",
        source: "RFC 5280 4.2",
    }
    R0721 721 Warning {
        title: "a CA's name repeats an attribute",
        effect: "some libraries write the issuer's name with one of the two lost, which breaks the chain",
        remedy: "plan a CA with another name before relay-pki signs with this one",
        explain: "For example two OU attributes. relay-pki refuses to adopt such a signer.",
        source: "rcgen; RFC 5280 4.1.2.4",
    }
    R0722 722 Error {
        title: "a CA has name constraints that rustls peers refuse",
        effect: "rustls (and linkerd, ztunnel and others that use it) refuses every chain through this CA",
        remedy: "plan a CA without directoryName constraints",
        explain: "webpki does not implement constraints on directory names, and refuses what it cannot judge. Constraints on DNS names work, unless a certificate below has a wildcard among its names, as the relay server's usually has: that shows as R0201.",
        source: "RFC 5280 4.2.1.10; rustls/webpki#19",
    }
    R0723 723 Error {
        title: "the type of a Secret does not fit what is in it",
        effect: "Kubernetes refuses the Secret, and the type of an existing one cannot be changed",
        remedy: "delete the Secret and relay-pki bootstrap",
        explain: "A Secret of type kubernetes.io/tls needs tls.crt and tls.key; the other built-in types need keys that relay Secrets do not have. Use Opaque or kubernetes.io/tls.",
        source: "relay facts 7.8; Kubernetes Secret types",
    }
}
