module relay-pki.dev/testbed/party

go 1.21
