module relay-pki.dev/testbed/verify

go 1.19
