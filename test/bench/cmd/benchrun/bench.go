// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/load"
	"github.com/sallyport-dev/sallyport/test/bench/internal/nofile"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// bench is the fake provider and the results file that all paths share.
type bench struct {
	options
	mock    *exec.Cmd
	results *os.File
	certs   string
	missing map[string]bool  // paths already reported as not to be had
	right   map[string]int64 // right answers of a path in the running round
}

// openFiles is the limit that all paths run under, that of the daemon's systemd unit.
const openFiles = 65536

func newBench(ctx context.Context, o options) (*bench, error) {
	for _, p := range []*string{&o.bin, &o.dir, &o.out, &o.peers} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return nil, err
		}
		*p = abs
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	if err := nofile.Raise(openFiles); err != nil && strings.Contains(o.work, "idle-") {
		log.Printf("%v: idle-N goes as far as that; the daemon needs two files a connection", err)
	}
	f, err := os.Create(o.out)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, results: f, certs: filepath.Join(o.dir, "certs"), missing: map[string]bool{}, right: map[string]int64{}}
	b.mock, err = b.start(o.cpuLoad, "mock", "mockllm", "-addr", b.addr(0), "-out", b.certs, "-h1")
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := b.ready(ctx, b.addr(0), b.mock); err != nil {
		return nil, errors.Join(fmt.Errorf("mockllm: %w", err), b.Close())
	}
	return b, nil
}

func (b *bench) Close() error {
	stop(b.mock)
	return b.results.Close()
}

func (b *bench) addr(n int) string { return fmt.Sprintf("127.0.0.1:%d", b.port+n) }

// start runs a program of the bin folder, pinned to a CPU, in a process group of its own.
func (b *bench) start(cpu, name string, args ...string) (*exec.Cmd, error) {
	args[0] = filepath.Join(b.bin, args[0])
	c := exec.Command(args[0], args[1:]...)
	c.Env = []string{"HOME=/tmp"} // nothing of this shell's: SSL_CERT_FILE, GOMAXPROCS and the like would change results
	f, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c.Stdout, c.Stderr = f, f
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := pinned(cpu, c.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return c, nil
}

func stop(c *exec.Cmd) {
	if c == nil {
		return
	}
	done := make(chan struct{})
	go func() { c.Wait(); close(done) }()
	syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-done
	}
}

func (b *bench) ready(ctx context.Context, addr string, c *exec.Cmd) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return n.Close()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if st, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid)); err != nil || bytes.Contains(st, []byte(") Z ")) {
			return errors.New("it ended at once, see its log")
		}
	}
	return errors.New("it does not listen, see its log")
}

// path measures all workloads over one path.
func (b *bench) path(ctx context.Context, path string, round int) error {
	if !wanted(b.only, path) || b.missing[path] {
		return nil
	}
	b.right[path] = 0
	switch path {
	case "direct":
		return b.workloads(ctx, path, round, 0, b.plain(b.addr(0)))
	case "go-revproxy", "envoy":
		return b.peer(ctx, path, round)
	}
	return b.sallyport(ctx, path, round)
}

// peer measures one of the proxies that the load generator dials by hand.
func (b *bench) peer(ctx context.Context, path string, round int) error {
	dir := filepath.Join(b.dir, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"gorevproxy", "-addr", b.addr(1), "-upstream", "https://" + b.addr(0), "-certs", b.certs, "-log", filepath.Join(dir, "access.log")}
	if path == "envoy" {
		if _, err := os.Stat(filepath.Join(b.bin, "envoy")); err != nil {
			log.Printf("no envoy in %s: left out", b.bin)
			b.missing[path] = true
			return nil
		}
		raw, err := os.ReadFile(filepath.Join(b.peers, "envoy-tls.yaml"))
		if err != nil {
			return err
		}
		t, err := template.New("envoy").Parse(string(raw))
		if err != nil {
			return err
		}
		var conf bytes.Buffer
		if err := t.Execute(&conf, map[string]any{"Port": b.port + 1, "Mock": b.port, "Certs": b.certs, "Dir": dir}); err != nil {
			return err
		}
		file := filepath.Join(dir, "envoy.yaml")
		if err := os.WriteFile(file, conf.Bytes(), 0o644); err != nil {
			return err
		}
		args = []string{"envoy", "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"}
	}
	c, err := b.start(b.cpuPeer, path, args...)
	if err != nil {
		return err
	}
	defer stop(c)
	if err := b.ready(ctx, b.addr(1), c); err != nil {
		return err
	}
	return b.workloads(ctx, path, round, c.Process.Pid, b.plain(b.addr(1)))
}

// runner runs the load generator with the given arguments and returns its result line.
type runner func(ctx context.Context, args []string) ([]byte, error)

// plain dials addr by hand.
func (b *bench) plain(addr string) runner {
	return func(ctx context.Context, args []string) ([]byte, error) {
		var out bytes.Buffer
		args = append([]string{"-connect", addr, "-ca", filepath.Join(b.certs, "ca.pem")}, args...)
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "llmload"), args...)
		cmd.Env = []string{}
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := pinned(b.cpuLoad, cmd.Start); err != nil {
			return nil, err
		}
		err := cmd.Wait()
		return out.Bytes(), err
	}
}

const policy = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: bench}
spec: {rules: [{endpoints: ["*"], operations: ["*"], models: ["bench-*"], tools: ["*"]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: bench}
spec: {role: bench, subjects: [{uid: 0}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: shell}
spec: {on: [toolCall], match: {tools: ["*shell*", bash], regex: 'rm\s+-[a-z]*r'}, action: deny, message: Destructive shell commands are not allowed}
`

// sallyport measures the daemon with policy, masking and durable record on, through the kernel hook.
func (b *bench) sallyport(ctx context.Context, path string, round int) (err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", path, round))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "policy"), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "policy", "bench.yaml"), []byte(policy), 0o644); err != nil {
		return err
	}
	mode := map[string]string{"pass-through": "discover", "observe": "observe", "enforce": "enforce"}[path]
	l, err := lab.New(lab.Options{Name: "sallyport-bench", Dir: dir, Bin: b.bin, Net: 79})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	scope, err := l.Child("load")
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("ports: [443, 80]", fmt.Sprintf("ports: [%d]", b.port), "max_bytes: 1GiB", "max_bytes: 8GiB").Replace(l.BaseConfig()) + fmt.Sprintf(`
protect: [{name: bench, match: {cgroup: %q}, mode: %s}]
endpoints: [{name: bench, host: llm.bench.test, port: %d, protocol: openai, upstream_ca: %q}]
policy: {dir: %q}
proxy: {listen: "127.0.0.1:%d"}
`, scope, mode, b.port, filepath.Join(b.certs, "ca.pem"), filepath.Join(dir, "policy"), b.port+2)
	d, err := l.StartDaemon(ctx, conf)
	if err != nil {
		return err
	}
	if err := pin(ctx, b.cpuPeer, d.PID()); err != nil {
		return fmt.Errorf("pinning the daemon: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; the daemon said: %s", err, last(d.Log()))
			return
		}
		err = os.RemoveAll(dir) // the journal is some hundred MB
	}()
	if path == "enforce" && round == 0 {
		if err := b.rest(ctx, path, d.PID()); err != nil {
			return err
		}
	}
	cas := filepath.Join(dir, "cas.pem")
	if err := joinFiles(cas, filepath.Join(b.certs, "ca.pem"), filepath.Join(dir, "roots.pem")); err != nil {
		return err
	}
	run := func(ctx context.Context, args []string) ([]byte, error) {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "sallyport"), append([]string{"run", "--",
			filepath.Join(b.bin, "llmload"), "-connect", b.addr(0), "-ca", cas}, args...)...)
		cmd.Env = []string{"SALLYPORT_SOCKET=" + d.Socket}
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := pinned(b.cpuLoad, func() error { return l.Start("load", cmd) }); err != nil {
			return nil, err
		}
		err := cmd.Wait()
		return out.Bytes(), err
	}
	before, err := b.served(ctx)
	if err != nil {
		return err
	}
	if err := b.workloads(ctx, path, round, d.PID(), run); err != nil {
		return err
	}
	return b.books(ctx, path, round, d, l.State(), before)
}

// last is the end of a log, on one line.
func last(log string) string {
	log = strings.TrimSpace(log)
	return strings.ReplaceAll(log[max(0, len(log)-2000):], "\n", " | ")
}

func joinFiles(to string, from ...string) error {
	var all []byte
	for _, f := range from {
		p, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		all = append(append(all, p...), '\n')
	}
	return os.WriteFile(to, all, 0o644)
}

func (b *bench) workloads(ctx context.Context, path string, round, pid int, run runner) error {
	for _, w := range withIdle(strings.Split(b.work, ","), b.hold) {
		if !wanted(b.work, w.name) || w.apart && b.work == "" {
			continue
		}
		if w.name == soak {
			w.args = append(slices.Clone(w.args), "-n", fmt.Sprint(b.streams))
		}
		pids := fmt.Sprintf("mock=%d", b.mock.Process.Pid)
		if pid != 0 {
			pids += fmt.Sprintf(",peer=%d", pid)
		}
		args := append([]string{"-json", "-", "-label", fmt.Sprintf("%s|%s|%d", path, w.name, round), "-pids", pids,
			"-url", fmt.Sprintf("https://llm.bench.test:%d/v1/chat/completions", b.port)}, w.args...)
		out, err := run(ctx, args)
		if len(out) == 0 {
			return fmt.Errorf("%s gave no result: %w", w.name, err)
		}
		var r load.Result
		if err := json.Unmarshal(out, &r); err != nil {
			return fmt.Errorf("%s: reading the result: %w", w.name, err)
		}
		if err := b.put(line{Result: &r}); err != nil {
			return err
		}
		b.right[path] += r.OK
		fmt.Fprintf(os.Stderr, "round %d %-13s %-12s ok %-6d errors %d %v  p50 %.0f us  CPU %.0f us/exchange  load average %s\n",
			round+1, path, w.name, r.OK, r.Errors, r.ErrorKind, r.Latency.P50, r.Procs["peer"].CPUPerReq, r.LoadAvg)
		if w.name == soak && (r.Errors > 0 || r.OK < int64(b.streams)) {
			return fmt.Errorf("soak: %d of %d streams came as they were sent, errors %v", r.OK, b.streams, r.ErrorKind)
		}
	}
	return nil
}
