// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
)

const maskPolicy = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support-eu}
spec: {rules: [{endpoints: ["*"], models: ["*"], operations: ["*"], tools: ["*"]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: app}
spec: {role: support-eu, subjects: [{unit: app.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: project}
spec: {on: [response], match: {regex: '(?i)\bbadger-[0-9]{1,4}\b'}, action: mask, with: "[CODE NAME]"}
`

// maskDaemon has masking and a policy.
func maskDaemon(t testing.TB, rules string, edit func(*config.Mask)) *daemon {
	t.Helper()
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Policy.Dir, cfg.Mask.KeyFile, cfg.Mask.Names = filepath.Join(dir, "policy.d"), filepath.Join(dir, "mask.key"), false
	edit(&cfg.Mask)
	if err := errors.Join(os.Mkdir(cfg.Policy.Dir, 0o755), os.WriteFile(filepath.Join(cfg.Policy.Dir, "p.yaml"), []byte(rules), 0o644)); err != nil {
		t.Fatal(err)
	}
	d := &daemon{cfg: cfg}
	if err := d.openMasking(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.openPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// run masks a text byte by byte.
func run(t *testing.T, w flow.Rewriter, text string) (string, []pipeline.Mask, error) {
	t.Helper()
	var out []byte
	var err error
	for i := range len(text) {
		if out, err = w.Write(out, []byte{text[i]}); err != nil {
			return string(out), w.Masks(), err
		}
	}
	out, err = w.Flush(out)
	return string(out), w.Masks(), err
}

func TestMasking(t *testing.T) {
	d := maskDaemon(t, maskPolicy, func(c *config.Mask) {
		c.Rules = []config.MaskRule{{Name: "employee-id", Type: "EMPLOYEE_ID", Pattern: "E[0-9]{6}", Word: true},
			{Name: "launch-code", Type: "LAUNCH_CODE", Pattern: "LC-[0-9]{8}", Word: true, Secret: true, Action: "deny"}}
		c.Actions = []config.MaskAction{{Types: []string{"EMPLOYEE_ID"}, Roles: []string{"support-*"}, Action: "last_four"},
			{Types: []string{"EMPLOYEE_ID"}, Carriers: []string{"prompt"}, Action: "pseudonym"}}
		c.Allow = []string{"E000001"}
	})
	app := &pipeline.Meta{Session: "ses_1", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 1, Unit: "app.service"}}
	other := &pipeline.Meta{Session: "ses_2", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 1, Unit: "other.service"}}
	watched := &pipeline.Meta{Session: "ses_1", Mode: pipeline.ModeObserve, Workload: other.Workload}
	const text = "ask E123456 or E000001 about Badger-7"
	for _, c := range []struct {
		name string
		w    flow.Rewriter
		text string
		want string
	}{
		{"a role", d.masking.Stream("text", app, nil), text, "ask [EMPLOYEE_ID:6] or E000001 about [CODE NAME]"},
		{"nobody's", d.masking.Stream("reasoning", other, nil), text, "ask [EMPLOYEE_ID] or E000001 about [CODE NAME]"},
		{"arguments", d.masking.Stream("args", other, nil), text, "ask [EMPLOYEE_ID] or E000001 about Badger-7"},
		{"a request on record", d.masking.Request("prompt", other, nil, false), text, "ask [EMPLOYEE_ID] or E000001 about Badger-7"},
		{"what ends a reply, on record", d.masking.Request("prompt", other, nil, false), "use LC-12345678 now", "use [LAUNCH_CODE] now"},
		{"what ends a reply, watched", d.masking.Stream("text", watched, nil), "use LC-12345678 now", "use [LAUNCH_CODE] now"},
	} {
		if got, masks, err := run(t, c.w, c.text); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, %+v", c.name, got, err, masks)
		}
	}
	got, masks, err := run(t, d.masking.Request("prompt", app, nil, true), text)
	if err != nil || !strings.HasPrefix(got, "ask [EMPLOYEE_ID_") && !strings.HasPrefix(got, "ask [EMPLOYEE_ID:") || len(masks) != 1 || masks[0].Rule != "employee-id" || masks[0].Fingerprint == "" {
		t.Errorf("sent: %q %+v %v", got, masks, err)
	}
	if w := d.masking.Request("input", app, nil, true); w != nil {
		t.Error("embeddings are masked though nobody wants it")
	}
	_, masks, err = run(t, d.masking.Stream("text", app, nil), "about Badger-7")
	if err != nil || len(masks) != 1 || masks[0].Rule != "guardrail/project" || masks[0].Type != "PROJECT" || masks[0].Why == "" {
		t.Errorf("%+v %v", masks, err)
	}
	out, _, err := run(t, d.masking.Stream("text", app, nil), "use LC-12345678 now")
	var no pipeline.MaskRefused
	if !errors.As(err, &no) || strings.Contains(out, "LC-") {
		t.Fatalf("%q, %v", out, err)
	}
	if m := no.Refused(); m.Type != "LAUNCH_CODE" || m.Rule != "launch-code" || m.Carrier != "text" || strings.Contains(err.Error(), "1234") {
		t.Errorf("%+v, %v", m, err)
	}
}

// A new policy brings its guardrails with it, and one whose guardrails cannot mask replies does not come in force.
func TestMaskingFollowsPolicy(t *testing.T) {
	d := maskDaemon(t, maskPolicy, func(*config.Mask) {})
	file := filepath.Join(d.cfg.Policy.Dir, "p.yaml")
	app := &pipeline.Meta{Mode: pipeline.ModeEnforce}
	put := func(text string) error {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, set, err := d.policy.read()
		if err == nil {
			d.policy.Swap(set)
		}
		return err
	}
	if err := put(strings.Replace(maskPolicy, "badger", "otter", 1)); err != nil {
		t.Fatal(err)
	}
	if got, _, err := run(t, d.masking.Stream("text", app, nil), "Badger-7 and Otter-8"); got != "Badger-7 and [CODE NAME]" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := put(strings.Replace(maskPolicy, "{1,4}", "+", 1)); err == nil || !strings.Contains(err.Error(), "write {0,64} for * and {1,64} for +") {
		t.Error(err)
	}
	if got, _, err := run(t, d.masking.Stream("text", app, nil), "Badger-7 and Otter-8"); got != "Badger-7 and [CODE NAME]" || err != nil {
		t.Errorf("after a policy that was refused: %q %v", got, err)
	}
}

func TestMaskingRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*config.Mask)
		want string
	}{
		{"rule without bound", func(c *config.Mask) { c.Rules = []config.MaskRule{{Name: "a", Type: "A", Pattern: "a+"}} }, "mask: rules[0] a: pattern: a repeat has no maximum"},
		{"row", func(c *config.Mask) { c.Actions = []config.MaskAction{{Carriers: []string{"txt"}, Action: "tag"}} }, `actions[0]: carrier "txt"`},
		{"no action", func(c *config.Mask) { c.Actions = []config.MaskAction{{}} }, "actions[0]: it has no action"},
		{"type that nothing finds", func(c *config.Mask) { c.Actions = []config.MaskAction{{Types: []string{"EMIAL"}, Action: "tag"}} }, "no rule finds type EMIAL"},
		{"allow", func(c *config.Mask) { c.Allow = []string{"*"} }, "allow[0]"},
	} {
		cfg := config.Default()
		c.edit(&cfg.Mask)
		var usage *UsageError
		if err := Check(cfg); !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestBrokenMasking: where there is no masker, nothing is released.
func TestBrokenMasking(t *testing.T) {
	why := errors.New("no masker")
	for _, text := range []string{"", "some text"} {
		got, masks, err := run(t, broken{why}, text)
		if got != "" || len(masks) > 0 || !errors.Is(err, why) {
			t.Errorf("%q: %q %v %v", text, got, masks, err)
		}
	}
}
