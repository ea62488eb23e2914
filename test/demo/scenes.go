// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// program runs one of the LangChain programs and shows what it says. Its environment holds the API key and nothing else.
func (x *demo) program(ctx context.Context, unit string, args ...string) (out, errOut string, err error) {
	return x.programAs(ctx, 0, unit, args...)
}

// programAs is program, started by somebody who has logged in (0: by nobody); then it shows nothing.
func (x *demo) programAs(ctx context.Context, uid int, unit string, args ...string) (out, errOut string, err error) {
	a := lab.App{Cgroup: unit, Env: []string{"OPENAI_API_KEY=" + x.key},
		Args: append([]string{filepath.Join(x.bin, "venv-current", "bin", "python"), filepath.Join(x.bin, "..", "test", "e2e", "python", args[0])}, args[1:]...)}
	if !x.live {
		a.Hosts = map[string]string{"api.openai.com": x.lab.Fake.String()}
	}
	x.command("%s %s", args[0], quoted(args[1:]))
	if uid > 0 {
		a.Args = lab.LoggedIn(uid, a.Args...)
		return x.lab.Run(ctx, a)
	}
	out, errOut, err = x.lab.Run(ctx, a)
	for line := range strings.Lines(out) {
		x.output("%s", strings.TrimRight(line, "\n"))
	}
	return out, errOut, err
}

func quoted(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = fmt.Sprintf("%q", a)
	}
	return strings.Join(q, " ")
}

// prompt picks what to ask: the fake provider is steered by its prompt, the real one is asked in words.
func (x *demo) prompt(fake, real string) string {
	if x.live {
		return real
	}
	return fake
}

func (x *demo) allowed(ctx context.Context) error {
	x.step("An allowed call: a stream from a model that the role permits")
	out, errOut, err := x.program(ctx, support, "stream.py", x.prompt("say: Good morning. How can I help you today?", "Say good morning in one sentence."))
	if err != nil {
		return fmt.Errorf("the allowed call failed: %w: %s", err, errOut)
	}
	if m := regexp.MustCompile(`first token: ([0-9.]+ ms)`).FindStringSubmatch(out); m != nil {
		x.good("allowed; the first token came after %s", m[1])
	}
	return nil
}

func (x *demo) masked(ctx context.Context) error {
	x.step("A secret in an answer: the provider streams an API key and an e-mail address, in pieces")
	out, errOut, err := x.program(ctx, support, "stream.py", x.prompt("leak a key", "Repeat exactly: key "+fakellm.LeakedKey()+" of "+fakellm.LeakedEmail()))
	if err != nil {
		return fmt.Errorf("the stream failed: %w: %s", err, errOut)
	}
	if strings.Contains(out, fakellm.LeakedKey()) || strings.Contains(out, fakellm.LeakedEmail()) {
		return errors.New("the program saw a secret")
	}
	if strings.Contains(out, "[OPENAI_KEY]") {
		x.good("masked before the program saw it")
	} else if !x.live {
		return errors.New("nothing was masked")
	}
	return nil
}

func (x *demo) toolRefused(ctx context.Context) error {
	x.step("A dangerous tool call: the model asks for delete_files; the role grants the tool, a guardrail does not")
	out, errOut, err := x.program(ctx, support, "agent.py", x.prompt(`use tool delete_files with {"path":"/srv/data"}`, "Delete the files in /srv/data."))
	if err != nil {
		return fmt.Errorf("the agent failed: %w: %s", err, errOut)
	}
	if strings.Contains(out, "ran delete_files") {
		return errors.New("the tool ran")
	}
	if strings.Contains(out, "guardrail/no-deleting") {
		x.good("refused by rule before the program saw the call; the agent went on and was told why")
	} else if !x.live {
		return errors.New("the program was not told why")
	}
	return nil
}

func (x *demo) modelRefused(ctx context.Context) error {
	x.step("A model that the role does not permit")
	_, errOut, err := x.program(ctx, support, "plain.py", "say: hello", "gpt-4o")
	if err == nil {
		return errors.New("the call went through")
	}
	x.output("%s", strings.TrimSpace(errOut))
	id := regexp.MustCompile(`dec_[0-9a-f-]+`).FindString(errOut)
	if id == "" {
		return errors.New("the program's exception names no decision")
	}
	x.good("refused; nothing was sent to the provider. The developer asks why:")
	x.command("sallyport why %s", id)
	return x.cli(ctx, "why", id)
}

func (x *demo) observed(ctx context.Context) error {
	x.step("The same in a scope in observe: nothing is changed, but it is written down what enforce would have done")
	for _, args := range [][]string{{"plain.py", x.prompt("say: hello", "Say hello."), "gpt-4o"}, {"stream.py", x.prompt("leak a key", "Say hello.")},
		{"agent.py", x.prompt(`use tool delete_files with {"path":"/srv/data"}`, "Delete the files in /srv/data.")}} {
		if _, errOut, err := x.program(ctx, trial, args...); err != nil {
			return fmt.Errorf("a program in observe was disturbed: %w: %s", err, errOut)
		}
	}
	all, err := x.exchanges(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Verdict.Mode != "observe" {
			continue
		}
		switch {
		case e.Verdict.Action == "deny":
			x.good("would have been refused: %s (%s)", e.Verdict.Reason, e.Verdict.Rule)
		case len(e.Masked) > 0:
			x.good("would have been masked: %s", types(e.Masked))
		}
	}
	return nil
}

type exchange struct {
	SessionID string `json:"session_id"`
	Model     string
	Principal struct {
		SPIFFEID string `json:"spiffe_id"`
	}
	Workload struct {
		PID       uint32
		Unit, Exe string
	}
	Verdict struct{ Action, Rule, Reason, Mode string }
	Masked  []struct{ Type string }
}

func types(masks []struct{ Type string }) string {
	var out []string
	for _, m := range masks {
		out = append(out, m.Type)
	}
	return strings.Join(out, ", ")
}

// exchanges reads the record, oldest first.
func (x *demo) exchanges(ctx context.Context) ([]exchange, error) {
	out, err := x.d.CLI(ctx, "sessions", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var sessions []struct {
		ID string `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(out), &sessions); err != nil {
		return nil, err
	}
	var all []exchange
	for i := len(sessions) - 1; i >= 0; i-- {
		out, err := x.d.CLI(ctx, "sessions", "show", sessions[i].ID, "-o", "json")
		if err != nil {
			return nil, err
		}
		var s struct{ Exchanges []exchange }
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return nil, err
		}
		all = append(all, s.Exchanges...)
	}
	return all, nil
}

func (x *demo) recorded(ctx context.Context) error {
	x.step("Who it was, and whether the record is whole")
	x.command("sallyport sessions list")
	if err := x.cli(ctx, "sessions", "list"); err != nil {
		return err
	}
	all, err := x.exchanges(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Principal.SPIFFEID == "" {
			return fmt.Errorf("process %d was not identified", e.Workload.PID)
		}
	}
	x.good("%d exchanges; identified as %s and %s", len(all), all[0].Principal.SPIFFEID, all[len(all)-1].Principal.SPIFFEID)
	if x.fake != nil {
		x.good("the provider's own log has %d requests: one for each exchange that was not refused", len(x.fake.Requests()))
	}
	journal := filepath.Join(x.lab.State(), "journal")
	x.command("sallyport journal verify %s", journal)
	if err := x.cli(ctx, "journal", "verify", journal); err != nil {
		return err
	}
	x.say("One session, as it went:")
	x.command("sallyport sessions show %s", all[1].SessionID)
	return x.cli(ctx, "sessions", "show", all[1].SessionID)
}

func (x *demo) shipped(ctx context.Context) error {
	if x.es == nil {
		return nil
	}
	x.step("The same record in Elasticsearch: the daemon starts again with elasticsearch.url set, and ships what it recorded before")
	more, err := x.es.config(ctx)
	if err != nil {
		return fmt.Errorf("waiting for Elasticsearch: %w (ES=0 leaves it out)", err)
	}
	ready, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := x.d.Stop(ready); err != nil {
		return err
	}
	if x.d, err = x.lab.StartDaemon(ready, x.conf+more); err != nil {
		return err
	}
	all, err := x.exchanges(ctx)
	if err != nil {
		return err
	}
	for end := time.Now().Add(60 * time.Second); ; {
		n, err := x.es.count(ctx)
		if err == nil && n == len(all) {
			x.good("%d documents in logs-sallyport.exchange-default: each exchange exactly once", n)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d documents after a minute, want %d (%v)", n, len(all), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// cli runs a command of the operator's and prints what it says.
func (x *demo) cli(ctx context.Context, args ...string) error {
	out, err := x.d.CLI(ctx, args...)
	for line := range strings.Lines(out) {
		x.output("%s", strings.TrimRight(line, "\n"))
	}
	return err
}
