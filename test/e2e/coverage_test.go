// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// client is one of LangChain's clients, in a program that is not changed.
type client struct {
	name   string // and version, for the table
	host   string
	stack  string // folder or file below build/ that it needs
	args   []string
	env    []string
	speaks string // the protocol of its endpoint, if it is decoded; "" = it is observed
	always bool   // in CI too
}

const key = "not-a-key"

func clients() []client {
	python := func(label, host, venv, kind string, env ...string) client {
		return client{name: label, host: host, stack: "venv-" + venv, env: env,
			args: []string{"build/venv-" + venv + "/bin/python", "test/e2e/python/client.py", kind}}
	}
	node := func(label, host, kind string, env ...string) client {
		return client{name: label, host: host, stack: "node-clients", env: env, args: []string{"node", "build/node-clients/client.mjs", kind}}
	}
	all := []client{
		python("langchain-openai", "api.openai.com", "current", "openai", "OPENAI_API_KEY="+key),
		python("langchain-openai 0.3", "api.openai.com", "0.3", "openai", "OPENAI_API_KEY="+key),
		python("langchain-anthropic", "api.anthropic.com", "providers", "anthropic", "ANTHROPIC_API_KEY="+key),
		python("langchain-anthropic 0.3", "api.anthropic.com", "anthropic-0.3", "anthropic", "ANTHROPIC_API_KEY="+key),
		python("langchain-google-genai", "generativelanguage.googleapis.com", "providers", "google-genai", "GOOGLE_API_KEY="+key),
		python("langchain-mistralai", "api.mistral.ai", "providers", "mistralai", "MISTRAL_API_KEY="+key),
		python("langchain-cohere", "api.cohere.com", "providers", "cohere", "COHERE_API_KEY="+key),
		python("langchain-aws", "bedrock-runtime.us-east-1.amazonaws.com", "providers", "aws", "AWS_ACCESS_KEY_ID="+key, "AWS_SECRET_ACCESS_KEY="+key),
		python("langchain-ollama", "ollama.example.com", "providers", "ollama"),
		node("@langchain/openai, Node", "api.openai.com", "openai", "OPENAI_API_KEY="+key),
		node("@langchain/anthropic, Node", "api.anthropic.com", "anthropic", "ANTHROPIC_API_KEY="+key),
		{name: "langchaingo", host: "api.openai.com", stack: "langchaingo", args: []string{"build/langchaingo"}, env: []string{"OPENAI_API_KEY=" + key}},
	}
	all[0].always, all[1].always = true, true
	for i := range all {
		switch all[i].host {
		case "api.openai.com", "api.mistral.ai":
			all[i].speaks = "openai"
		case "api.anthropic.com":
			all[i].speaks = "anthropic"
		case "ollama.example.com":
			all[i].speaks = "ollama"
		}
	}
	return all
}

// start is how a program comes to run: in the table, one column.
type start struct {
	name   string
	stage  string // it waits there until the daemon runs: "" = it starts after the daemon
	inside bool   // in a container: a root file system and a mount namespace of its own
	always bool
}

var starts = []start{
	{name: "after the agent", always: true},
	{name: "before, imported", stage: "imported", always: true},
	{name: "before, client built", stage: "built"},
	{name: "in a container", inside: true},
}

// TestCoverage runs real clients of all kinds, unmodified and with no more environment than their key, started after the
// agent, before it, and in containers. Each must have been seen whole, or refused with the reason and the mend. COVERAGE=FILE runs all of them
// and writes the table into the file; without it, four run.
func TestCoverage(t *testing.T) {
	file := os.Getenv("COVERAGE")
	var rows []string
	whole := file != ""
	for _, c := range clients() {
		if file == "" && !c.always {
			continue
		}
		row := "| " + c.name + " |"
		for _, s := range starts {
			if file == "" && !s.always {
				continue
			}
			t.Run(c.name+"/"+s.name, func(t *testing.T) {
				row += " " + coverageCell(t, c, s, file == "") + " |"
			})
		}
		rows = append(rows, row)
		whole = whole && strings.Count(row, "|") == len(starts)+2 // -run may have left some out
	}
	if whole && !t.Failed() {
		must(t, writeCoverage(filepath.Join(root(t), file), rows))
	}
}

// coverageCell runs one client and says what became of it.
func coverageCell(t *testing.T, c client, s start, ci bool) string {
	dir := root(t)
	if _, err := os.Stat(filepath.Join(dir, "build", c.stack)); err != nil {
		t.Fatalf("%v: run 'make coverage', which installs it", err)
	}
	w := coverageWorld(t, c)
	app := lab.App{Cgroup: enforced, Hosts: map[string]string{c.host: w.lab.Fake.String()}, Env: c.env, Root: s.inside}
	for i, a := range c.args {
		if i == 0 && a == "node" {
			a = "/usr/bin/env"
			app.Env = append(app.Env, "PATH="+os.Getenv("PATH"))
			app.Args = append(app.Args, a, "node")
			continue
		}
		if strings.Contains(a, "/") {
			a = filepath.Join(dir, a)
		}
		app.Args = append(app.Args, a)
	}
	var out, why string
	if s.stage == "" {
		stdout, stderr, err := w.lab.Run(t.Context(), app)
		if out = stdout; err != nil {
			why = stderr
		}
	} else {
		out, why = w.early(app, s.stage)
	}
	seen := 0
	for _, r := range w.fake.Requests() {
		if r.SNI == c.host {
			seen++
		}
	}
	refusals := w.refusals()
	proxied := 0
	for _, x := range w.exchanges() {
		if x.Response.Status == 200 {
			proxied++
		}
	}
	switch {
	case strings.TrimSpace(out) == fakellm.FixedAnswer && seen > 0 && proxied > 0:
		return "seen"
	case seen > 0:
		t.Errorf("the provider was asked %d times, %d on record: %q %q", seen, proxied, out, why)
	case why == "" || len(refusals) == 0:
		t.Errorf("not seen and not refused: %q %q", out, why)
	default:
		t.Logf("refused: %s; the program says: %s", refusals[0], why)
		if ci {
			t.Errorf("refused: %s", refusals[0])
		}
		return "refused: " + strings.ReplaceAll(refusals[0], filepath.Dir(w.d.Socket), "/run/sallyport")
	}
	return "**failed**"
}

// coverageWorld is a world whose provider stands in for all, with an endpoint for the client's.
func coverageWorld(t *testing.T, c client) *world {
	t.Helper()
	w := newWorldOfAll(t)
	switch {
	case c.host == "api.openai.com": // as it is
	case c.speaks != "":
		w.policy(strings.Replace(sdkPolicy, "endpoints: [provider]", `endpoints: ["*"]`, 1))
		w.conf = strings.NewReplacer("host: api.openai.com", "host: "+c.host, "protocol: openai", "protocol: "+c.speaks).Replace(w.conf)
	default: // what is not decoded is refused in enforce: it is observed here, without the leave to pass unread
		w.conf = strings.NewReplacer("host: api.openai.com", "host: "+c.host, "protocol: openai", "protocol: http",
			"name: support, match: {unit: \""+enforced+"\"}, mode: enforce", "name: support, match: {unit: \""+enforced+"\"}, mode: observe, untrusted: deny").Replace(w.conf)
	}
	w.start()
	return w
}

// early starts a program where no agent is, lets it come to a stage, starts the agent, and lets it go on.
func (w *world) early(app lab.App, stage string) (out, why string) {
	w.t.Helper()
	must(w.t, w.d.Stop(w.t.Context()))
	must(w.t, w.d.Uninstall(w.t.Context()))
	dir, err := os.MkdirTemp(filepath.Dir(w.d.Config), "early")
	must(w.t, err)
	file := filepath.Join(dir, "go")
	app.Args = append(app.Args, stage, file)
	cmd, cleanup, err := w.lab.Command(w.t.Context(), app)
	must(w.t, err)
	defer cleanup()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	must(w.t, w.lab.Start(enforced, cmd))
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file + ".here"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the program does not come to where it is %s: %s", stage, stderr.String())
		}
	}
	w.start()
	must(w.t, os.WriteFile(file, nil, 0o644))
	if err := cmd.Wait(); err != nil {
		return stdout.String(), stderr.String()
	}
	return stdout.String(), ""
}

// refusals are the reasons of connections that were refused, from the journal.
func (w *world) refusals() (out []string) {
	w.t.Helper()
	r, err := journal.OpenReader(filepath.Join(w.lab.State(), "journal"), pipeline.Position{})
	must(w.t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(w.t, err)
		var f pipeline.Flow
		if e.Kind == pipeline.KindFlow {
			must(w.t, e.Decode(&f))
			if f.Reason != "self-test" && (f.Disposition == "refused" || f.Disposition == "untrusted") {
				out = append(out, f.Reason)
			}
		}
	}
}

// The table stands between these lines.
const (
	tableBegin = "<!-- made by make coverage -->\n"
	tableEnd   = "<!-- end -->\n"
)

func writeCoverage(path string, rows []string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(raw), tableBegin)
	_, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table", path)
	}
	columns, line := "| program |", "|---|"
	for _, s := range starts {
		columns += " " + s.name + " |"
		line += "---|"
	}
	table := strings.Join(append([]string{columns, line}, rows...), "\n") + "\n"
	return os.WriteFile(path, []byte(head+tableBegin+table+tableEnd+tail), 0o644)
}
