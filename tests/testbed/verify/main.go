// Command verify asks Go's crypto/x509 whether certificate chains hold.
//
// Standard input has one question a line, its fields separated by tabs:
//
//	LABEL  server|client  NAME  CHAIN.pem  ROOTS.pem
//
// Standard output has one answer a line, in the same order: the label, a tab, and "ok" or why not.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

var usages = map[string]x509.ExtKeyUsage{
	"server": x509.ExtKeyUsageServerAuth,
	"client": x509.ExtKeyUsageClientAuth,
}

func main() {
	questions := bufio.NewScanner(os.Stdin)
	answers := bufio.NewWriter(os.Stdout)
	defer answers.Flush()
	for questions.Scan() {
		fields := strings.Split(questions.Text(), "\t")
		if len(fields) != 5 {
			fmt.Fprintf(os.Stderr, "verify: %d fields instead of 5\n", len(fields))
			os.Exit(2)
		}
		answer := "ok"
		if err := verify(fields[1], fields[2], fields[3], fields[4]); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintf(answers, "%s\t%s\n", fields[0], answer)
	}
	if err := questions.Err(); err != nil {
		fmt.Fprintf(os.Stderr, "verify: %v\n", err)
		os.Exit(2)
	}
}

func verify(role, name, chainFile, rootsFile string) error {
	usage, known := usages[role]
	if !known {
		return fmt.Errorf("unknown role %q", role)
	}
	chain, err := read(chainFile)
	if err != nil {
		return err
	}
	anchors, err := read(rootsFile)
	if err != nil {
		return err
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, anchor := range anchors {
		roots.AddCert(anchor)
	}
	for _, intermediate := range chain[1:] {
		intermediates.AddCert(intermediate)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		DNSName:       name,
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	return err
}

func read(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("no certificate in " + file)
	}
	return found, nil
}
