// SPDX-License-Identifier: Apache-2.0

// Command demo shows what Sallyport does: it starts a daemon that is attached to a cgroup of the demo's own, runs real,
// unmodified LangChain programs in it, and prints what happened to them. It cleans up after itself, also when it is
// interrupted. The rest of the host is not touched.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// The demo's two workloads. A cgroup that is named like a systemd unit gives the identity of that unit.
const (
	support = "langchain-support.service" // enforce
	trial   = "langchain-trial.service"   // observe
)

const policy = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support-bot}
spec:
  rules:
    - {endpoints: [openai], operations: [chat], models: ["gpt-4o-mini*"], tools: [search, delete_files]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: support-bot}
spec: {role: support-bot, subjects: [{unit: langchain-support.service}, {unit: langchain-trial.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-deleting}
spec: {on: [toolCall], match: {tools: ["delete_*"]}, action: deny, message: "Deleting is not allowed"}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: ask-first}
spec: {on: [toolCall], match: {tools: [search], regex: "(?i)payroll"}, action: hold, message: "Somebody has to look at it", approval: {groups: [www-data]}}
`

type options struct {
	bin, dir string
	es, live bool
}

// demo is the running world.
type demo struct {
	options
	*printer
	lab  *lab.Lab
	d    *lab.Daemon
	fake *fakellm.Server // nil if live
	es   *store          // nil if left out
	key  string
	conf string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "build", "folder with sallyportd, sallyport and the Python environment")
	flag.StringVar(&o.dir, "dir", "build/demo-run", "folder for the demo's state; emptied first, kept afterwards")
	flag.BoolVar(&o.es, "es", true, "start a real Elasticsearch and ship the record to it")
	flag.BoolVar(&o.live, "live", false, "use api.openai.com with the key in OPENAI_API_KEY")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	interrupted := ctx.Err() != nil
	stop()
	if interrupted {
		fmt.Fprintln(os.Stderr, "\ninterrupted; everything was taken away again")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	x := &demo{options: o, printer: newPrinter(os.Stdout), key: "sk-demo-not-a-key"}
	for _, p := range []*string{&x.bin, &x.dir} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if x.live {
		if x.key = os.Getenv("OPENAI_API_KEY"); x.key == "" {
			return errors.New("LIVE=1 needs a real key in OPENAI_API_KEY")
		}
	}
	if err := errors.Join(os.RemoveAll(x.dir), os.MkdirAll(x.dir, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	if x.options.es {
		x.step("Starting a real Elasticsearch in the background (the first time, it is fetched from Maven Central)")
		x.es = startStore(filepath.Join(x.dir, "elasticsearch"))
	}
	if err := x.start(ctx); err != nil {
		return err
	}
	for _, scene := range []func(context.Context) error{x.allowed, x.masked, x.toolRefused, x.held, x.modelRefused, x.observed, x.recorded, x.shipped} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start makes the cgroup and the namespace, the provider, and the daemon.
func (x *demo) start(ctx context.Context) (err error) {
	if x.lab, err = lab.New(lab.Options{Name: "sallyport-demo", Dir: x.dir, Bin: x.bin, Net: 77}); err != nil {
		return err
	}
	upstream := ""
	if !x.live {
		x.step("Starting a fake api.openai.com in a network namespace of its own")
		if x.fake, err = fakellm.New(fakellm.Options{Pace: 15 * time.Millisecond}); err != nil {
			return err
		}
		ln, err := x.lab.Listen(443)
		if err != nil {
			return err
		}
		go x.serve(ln)
		upstream = filepath.Join(x.dir, "provider-ca.pem")
		if err := os.WriteFile(upstream, x.fake.CA(), 0o644); err != nil {
			return err
		}
	}
	policies := filepath.Join(x.dir, "policy.d")
	if err := errors.Join(os.Mkdir(policies, 0o755), os.WriteFile(filepath.Join(policies, "support.yaml"), []byte(policy), 0o644)); err != nil {
		return err
	}
	for _, unit := range []string{support, trial} {
		if _, err := x.lab.Child(unit); err != nil {
			return err
		}
	}
	x.conf = x.lab.BaseConfig() + fmt.Sprintf(`
protect:
  - {name: support, match: {unit: %q}, mode: enforce}
  - {name: trial, match: {unit: %q}, mode: observe}
endpoints: [{name: openai, host: api.openai.com, port: 443, protocol: openai, upstream_ca: %q}]
identity: {trust_domain: demo.example, template: "unit/{unit}"}
policy: {dir: %q}
proxy: {listen: "127.0.0.1:15801"}
`, support, trial, upstream, policies)
	x.step("Starting sallyportd on the cgroup %s alone: the rest of this host is not touched", x.lab.Path)
	ready, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if x.d, err = x.lab.StartDaemon(ready, x.conf); err != nil {
		return err
	}
	x.say("ready: programs attached, self-test through a redirected connection passed")
	return nil
}

// serve runs the provider until close ends it.
func (x *demo) serve(ln net.Listener) {
	if err := x.fake.Serve(ln); err != nil && !errors.Is(err, net.ErrClosed) {
		fmt.Fprintln(os.Stderr, "demo: the fake provider ended:", err)
	}
}

// close takes everything away; the journal stays, for who wants to look.
func (x *demo) close() error {
	var err error
	if x.d != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		err = x.d.Stop(ctx)
		cancel()
	}
	if x.lab != nil {
		err = errors.Join(err, x.lab.Close())
	}
	if x.fake != nil {
		err = errors.Join(err, x.fake.Close())
	}
	if x.es != nil {
		err = errors.Join(err, x.es.stop())
	}
	return err
}
