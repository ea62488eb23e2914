// SPDX-License-Identifier: Apache-2.0

package es

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed start-es
var script []byte

//go:embed GapPlugin.java
var plugin []byte

// Server is one running node. Its data stay in the folder: a later Start there has them again.
type Server struct {
	URL      string
	CA       []byte // PEM
	CAFile   string
	User     string
	Password string
	Dir      string
	Port     int

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of the process; valid once exited is closed
	client *http.Client
}

// startTimeout allows for a slow download and a busy machine.
const startTimeout = 6 * time.Minute

// Start starts a node with TLS and authentication whose state is in dir. port 0 takes a free one. It returns once the
// node answers.
func Start(ctx context.Context, dir string, port int) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	// The plugin is built once for each content of its file, wherever that lies.
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "start-es"), script, 0o755),
		os.WriteFile(filepath.Join(bin, "GapPlugin.java"), plugin, 0o644)); err != nil {
		return nil, err
	}
	s := &Server{User: "admin", Dir: dir, Port: port, CAFile: filepath.Join(dir, "config", "ca.pem"), exited: make(chan struct{})}
	s.cmd = exec.Command(filepath.Join(bin, "start-es"), "--secure", dir, strconv.Itoa(port))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM} // a group of its own, to be killed as one
	var stderr bytes.Buffer
	s.cmd.Stderr = &stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Elasticsearch: %w", err)
	}
	url := make(chan string, 1)
	go func() {
		defer close(s.exited)
		line, _ := bufio.NewReader(out).ReadString('\n')
		url <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, out)
		s.err = s.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case s.URL = <-url:
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("waiting for Elasticsearch (log in %s/logs): %w", dir, ctx.Err()), s.Kill())
	}
	if s.URL == "" {
		<-s.exited
		return nil, fmt.Errorf("starting Elasticsearch: %w: %s", s.err, strings.TrimSpace(stderr.String()))
	}
	if err := s.connect(); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

func (s *Server) connect() error {
	var err error
	if s.CA, err = os.ReadFile(s.CAFile); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(s.Dir, "config", "password"))
	if err != nil {
		return err
	}
	s.Password = strings.TrimSpace(string(password))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Stop ends the node in order and waits for it.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the node and its launcher as a crash would, and waits until they are gone.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) error {
	select {
	case <-s.exited:
		return nil
	default:
	}
	target := s.cmd.Process.Pid
	if sig == syscall.SIGKILL {
		target = -target
	}
	if err := syscall.Kill(target, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending Elasticsearch: %w", err)
	}
	select {
	case <-s.exited:
	case <-time.After(time.Minute):
		return errors.Join(errors.New("ending Elasticsearch: it does not end"), syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL))
	}
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	return nil
}

// Do sends a request as the administrator. body is encoded as JSON unless it is nil; the answer is decoded into v unless
// that is nil. A status that is not 2xx is an error.
func (s *Server) Do(ctx context.Context, method, path string, body, v any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, in)
	if err != nil {
		return err
	}
	req.SetBasicAuth(s.User, s.Password)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, raw)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// ShipperKey makes an API key that may create documents. With templates it may also make the index templates, and look for
// documents.
func (s *Server) ShipperKey(ctx context.Context, templates bool) (string, error) {
	cluster, indices := []string{"monitor"}, []string{"create_doc", "auto_configure"}
	if templates {
		cluster = append(cluster, "manage_index_templates", "manage_ilm")
		indices = append(indices, "read", "view_index_metadata")
	}
	var answer struct {
		Encoded string `json:"encoded"`
	}
	err := s.Do(ctx, http.MethodPost, "/_security/api_key", map[string]any{"name": "sallyport", "role_descriptors": map[string]any{
		"shipper": map[string]any{"cluster": cluster, "indices": []any{map[string]any{
			"names": []string{"logs-sallyport.*"}, "privileges": indices}}}}}, &answer)
	return answer.Encoded, err
}
