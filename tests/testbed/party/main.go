// Command party is one party of the relay, a server or an agent, as a process of its own with Go's
// crypto/tls. It does what the parties of tests/live/party do; its orders are described there.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
	"time"
)

const (
	patience = 30 * time.Second
	beat     = 500 * time.Millisecond
	attempts = 5
)

type orders struct {
	Role               string            `json:"role"`
	Name               string            `json:"name"`
	Authority          string            `json:"authority"`
	Servers            map[string]string `json:"servers"`
	Credentials        string            `json:"credentials"`
	Trust              string            `json:"trust"`
	RereadsCertificate bool              `json:"rereadsCertificate"`
	RereadsTrust       bool              `json:"rereadsTrust"`
	Hold               int               `json:"hold"`
	Pause              int               `json:"pause"`
	TLS12              bool              `json:"tls12"`
	Records            string            `json:"records"`
}

type record struct {
	At        float64  `json:"at"`
	With      string   `json:"with"`
	Port      int      `json:"port"`
	Error     string   `json:"error,omitempty"`
	Presented []string `json:"presented,omitempty"`
	Held      []string `json:"held,omitempty"`
}

// state is what a party presents and believes.
type state struct {
	certificate *tls.Certificate
	roots       *x509.CertPool
	presented   []string
	held        []string
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("one argument: the orders"))
	}
	var told orders
	if err := json.Unmarshal([]byte(os.Args[1]), &told); err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	file, err := os.OpenFile(told.Records, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		fail(err)
	}
	party := &party{orders: told, records: file}
	switch told.Role {
	case "server":
		party.serve(ctx)
	case "agent":
		party.dial(ctx)
	default:
		fail(fmt.Errorf("unknown role %q", told.Role))
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "party: %v\n", err)
	os.Exit(2)
}

type party struct {
	orders
	records *os.File
	state
}

// read brings the state up to date, as far as this kind of party does that.
func (p *party) read() error {
	if p.certificate == nil || p.RereadsCertificate {
		files, err := files(p.Credentials, "tls.crt", "tls.key")
		if err != nil {
			return err
		}
		certificate, err := tls.X509KeyPair(files[0], files[1])
		if err != nil {
			return err
		}
		p.certificate, p.presented = &certificate, fingerprints(certificate.Certificate)
	}
	if p.roots == nil || p.RereadsTrust {
		files, err := files(p.Trust, "ca.crt")
		if err != nil {
			return err
		}
		roots, held := x509.NewCertPool(), [][]byte(nil)
		for block, rest := pem.Decode(files[0]); block != nil; block, rest = pem.Decode(rest) {
			root, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return err
			}
			roots.AddCert(root)
			held = append(held, root.Raw)
		}
		p.roots, p.held = roots, fingerprints(held)
	}
	return nil
}

// files reads files of one state of a volume: what ..data leads to is replaced as a whole, and the old
// state is deleted, maybe while it is read.
func files(volume string, names ...string) ([][]byte, error) {
	var err error
	for attempt := 0; attempt < attempts; attempt++ {
		var found [][]byte
		if found, err = once(volume, names); !errors.Is(err, os.ErrNotExist) {
			return found, err
		}
	}
	return nil, err
}

func once(volume string, names []string) ([][]byte, error) {
	state, err := filepath.EvalSymlinks(filepath.Join(volume, "..data"))
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(state, name))
		if err != nil {
			return nil, err
		}
		found = append(found, content)
	}
	return found, nil
}

func fingerprints(certificates [][]byte) []string {
	var found []string
	for _, certificate := range certificates {
		sum := sha256.Sum256(certificate)
		found = append(found, fmt.Sprintf("%x", sum[:4]))
	}
	return found
}

func (p *party) write(with string, port int, err error, had state) {
	line := record{At: float64(time.Now().UnixMicro()) / 1e6, With: with, Port: port}
	if err != nil {
		line.Error, line.Presented, line.Held = err.Error(), had.presented, had.held
	}
	text, err := json.Marshal(line)
	if err == nil {
		// One write a line: the lines of two processes do not mix.
		_, err = p.records.Write(append(text, '\n'))
	}
	if err != nil {
		fail(err)
	}
}

func (p *party) dial(ctx context.Context) {
	var names []string
	for name := range p.Servers {
		names = append(names, name)
	}
	sort.Strings(names)
	for turn := 0; ; turn++ {
		server := names[turn%len(names)]
		port := 0
		stream, err := p.meet(p.Servers[server], &port)
		p.write(server, port, err, p.state)
		if err == nil {
			p.hold(ctx, stream)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(p.Pause) * time.Millisecond):
		}
	}
}

type connection struct {
	*tls.Conn
	lines *bufio.Reader
}

// meet shakes hands and exchanges a line: only the answer proves that the server accepted our certificate.
func (p *party) meet(address string, port *int) (*connection, error) {
	if err := p.read(); err != nil {
		return nil, err
	}
	plain, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	*port = plain.LocalAddr().(*net.TCPAddr).Port
	version := uint16(tls.VersionTLS13)
	if p.TLS12 {
		version = tls.VersionTLS12
	}
	stream := tls.Client(plain, &tls.Config{
		ServerName:   p.Authority,
		RootCAs:      p.roots,
		Certificates: []tls.Certificate{*p.certificate},
		MinVersion:   version,
		MaxVersion:   version,
	})
	found := &connection{stream, bufio.NewReader(stream)}
	if err := found.greet(p.Name); err != nil {
		plain.Close()
		return nil, err
	}
	return found, nil
}

func (c *connection) greet(name string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "hello %s\n", name); err != nil {
		return err
	}
	answer, err := c.lines.ReadString('\n')
	if err != nil {
		return err
	}
	if answer != fmt.Sprintf("welcome %s\n", name) {
		return fmt.Errorf("the server answers %q", answer)
	}
	return nil
}

// hold goes on talking. The server may end that when it is restarted, which is no failed handshake.
func (p *party) hold(ctx context.Context, stream *connection) {
	defer stream.Close()
	for until := time.Now().Add(time.Duration(p.Hold) * time.Millisecond); time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(beat):
		}
		if stream.greet(p.Name) != nil {
			return
		}
	}
}

func (p *party) serve(ctx context.Context) {
	// A successor accepts from the same queue, so that a restart loses no connection.
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		fail(err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	var connections sync.WaitGroup
	for {
		plain, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				connections.Add(1)
				p.accept(ctx, &connections, plain)
			}
			break
		}
		if err != nil {
			fail(err)
		}
		connections.Add(1)
		p.accept(ctx, &connections, plain)
	}
	connections.Wait()
}

// accept takes what is to be presented now and serves in the background.
func (p *party) accept(ctx context.Context, connections *sync.WaitGroup, plain net.Conn) {
	err, had := p.read(), p.state
	go func() {
		defer connections.Done()
		defer plain.Close()
		port := plain.RemoteAddr().(*net.TCPAddr).Port
		if err != nil {
			p.write("", port, err, had)
			return
		}
		p.answer(ctx, plain, port, had)
	}()
}

func (p *party) answer(ctx context.Context, plain net.Conn, port int, had state) {
	stream := tls.Server(plain, &tls.Config{
		Certificates: []tls.Certificate{*had.certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    had.roots,
		MinVersion:   tls.VersionTLS12,
		// Each handshake is a whole one.
		SessionTicketsDisabled: true,
	})
	connection := &connection{stream, bufio.NewReader(stream)}
	name, err := connection.welcome()
	p.write(name, port, err, had)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	for err == nil {
		_, err = connection.welcome()
	}
	stream.Close()
}

// welcome answers a line; who the agent is.
func (c *connection) welcome() (string, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if err := c.Handshake(); err != nil {
		return "", err
	}
	// As the relay server derives it: the one DNS name.
	names := c.ConnectionState().PeerCertificates[0].DNSNames
	if len(names) != 1 {
		return "", fmt.Errorf("an agent is called %v", names)
	}
	said, err := c.lines.ReadString('\n')
	if err != nil {
		return names[0], err
	}
	if said != fmt.Sprintf("hello %s\n", names[0]) {
		return names[0], fmt.Errorf("%s says %q", names[0], said)
	}
	_, err = fmt.Fprintf(c, "welcome %s\n", names[0])
	return names[0], err
}
