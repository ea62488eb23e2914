// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func policyExplainCommand() command {
	return command{
		name: "policy explain", short: "what the rules say about a call, and why",
		long: `Describes a call by flags and asks the daemon's policy about it or, with --dir, the documents of a folder. The call itself is
decided first, then the prompt (--text), the result of the first --tool (--result), each --tool twice: offered to the model, and
called by it with --args; then the answer (--response). Limits are taken to have room; elevations count only with the daemon.
Exit status 1 if anything would not be allowed.

  sallyport policy explain --dir policy.d --unit support.service --endpoint openai --model gpt-4o --tool bash`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			dir := fs.String("dir", "", "ask the documents of this `folder` instead of the daemon")
			var d described
			d.flags(fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				requests, err := d.requests()
				if err != nil {
					return err
				}
				ask, done, err := a.explainer(*dir)
				if err != nil {
					return err
				}
				defer done()
				var out []explained
				for _, r := range requests {
					e, err := ask(ctx, r)
					if err != nil {
						return err
					}
					out = append(out, explained{Step: r.Step, Explanation: e})
				}
				return a.showExplained(out)
			}
		},
	}
}

// explained is one answer.
type explained struct {
	Step *pipeline.Step `json:"step,omitempty"` // absent: the call itself
	adminapi.Explanation
}

type asker func(context.Context, adminapi.ExplainRequest) (adminapi.Explanation, error)

// explainer asks the folder or, if there is none, the daemon.
func (a *app) explainer(dir string) (ask asker, done func(), err error) {
	if dir != "" {
		ask, err = localPolicy(dir)
		return ask, func() {}, err
	}
	c := a.client()
	ask = func(ctx context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
		e, err := c.Explain(ctx, r)
		if errors.Is(err, adminapi.ErrNotRunning) {
			err = fmt.Errorf("%w; to ask the documents of a folder, use --dir", err)
		}
		return e, err
	}
	return ask, c.Close, nil
}

// many collects a flag that may be given several times.
type many []string

func (m *many) String() string     { return strings.Join(*m, ",") }
func (m *many) Set(s string) error { *m = append(*m, s); return nil }

// described is a call as the flags describe it.
type described struct {
	r      adminapi.ExplainRequest
	uid    uint
	groups many
	labels many
	tools  many
	args   string
	text   string

	result, response string
}

func (d *described) flags(fs *flag.FlagSet) {
	w, p, e, c := &d.r.Workload, &d.r.Principal, &d.r.Endpoint, &d.r.Call
	d.r.Mode = pipeline.ModeEnforce
	fs.TextVar(&d.r.Mode, "mode", pipeline.ModeEnforce, "`mode` of the scope: observe or enforce")
	fs.StringVar(&w.Unit, "unit", "", "systemd `unit` that calls")
	fs.StringVar(&w.Pod, "pod", "", "`pod` that calls")
	fs.StringVar(&w.Namespace, "namespace", "", "its `namespace`")
	fs.StringVar(&w.ServiceAccount, "serviceaccount", "", "its service `account`")
	fs.Var(&d.labels, "label", "a `label` of the pod, NAME=VALUE; may be repeated")
	fs.UintVar(&d.uid, "uid", 65534, "`uid` of the process")
	fs.StringVar(&p.SPIFFEID, "spiffe", "", "its SPIFFE `id`")
	fs.StringVar(&p.User, "user", "", "the `person`")
	fs.Var(&d.groups, "group", "a `group` of the person; may be repeated")
	fs.StringVar(&e.Name, "endpoint", "", "`name` of the endpoint in the configuration")
	fs.StringVar(&c.Operation, "operation", pipeline.OpChat, "`operation`: chat, completions, embeddings, models or count_tokens")
	fs.Int64Var(&c.MaxTokens, "max-tokens", 0, "the most `tokens` that the request lets the model write; 0 = it does not say")
	fs.StringVar(&c.Model, "model", "", "`model` that is asked for")
	fs.Var(&d.tools, "tool", "a `tool`, offered and called; may be repeated")
	fs.StringVar(&d.args, "args", "{}", "`arguments` of the tool calls, JSON")
	fs.StringVar(&d.text, "text", "", "`text` of the prompt")
	fs.StringVar(&d.result, "result", "", "`text` of a tool's result in the request")
	fs.StringVar(&d.response, "response", "", "`text` of the answer")
}

// requests asks about the call first, then about each step, in the order in which they happen.
func (d *described) requests() ([]adminapi.ExplainRequest, error) {
	r := d.r
	if r.Endpoint.Name == "" {
		return nil, wrong("needs --endpoint, the name of an endpoint in the configuration")
	}
	if d.uid > 1<<32-2 {
		return nil, wrong("--uid %d is no uid", d.uid)
	}
	r.Workload.UID, r.Workload.LoginUID = uint32(d.uid), uint32(d.uid)
	r.Principal.Groups = d.groups
	for _, l := range d.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, wrong("--label %q: want NAME=VALUE", l)
		}
		if r.Workload.Labels == nil {
			r.Workload.Labels = map[string]string{}
		}
		r.Workload.Labels[k] = v
	}
	if !json.Valid([]byte(d.args)) {
		return nil, wrong("--args is not JSON")
	}
	var steps []pipeline.Step
	if d.text != "" {
		steps = append(steps, pipeline.Step{Kind: pipeline.StepPrompt, Text: d.text})
	}
	if d.result != "" {
		result := pipeline.Step{Kind: pipeline.StepToolResult, Text: d.result}
		if len(d.tools) > 0 {
			result.Name = d.tools[0]
		}
		steps = append(steps, result)
	}
	for i, t := range d.tools {
		steps = append(steps, pipeline.Step{Kind: pipeline.StepToolOffer, Name: t, Index: i})
	}
	r.Call.Steps = steps // what the request holds; the calls come with the reply
	for i, t := range d.tools {
		steps = append(steps, pipeline.Step{Kind: pipeline.StepToolCall, Name: t, Index: i, Args: json.RawMessage(d.args)})
	}
	if d.response != "" {
		steps = append(steps, pipeline.Step{Kind: pipeline.StepResponse, Text: d.response})
	}
	out := []adminapi.ExplainRequest{r}
	for i := range steps {
		next := r
		next.Step = &steps[i]
		out = append(out, next)
	}
	return out, nil
}

func (a *app) showExplained(out []explained) error {
	var refused error
	for _, e := range out {
		if e.Verdict.Action >= pipeline.Hold {
			refused = errNo
		}
	}
	if a.format == "json" {
		return errors.Join(a.printJSON(out), refused)
	}
	for i, e := range out {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		subject := "call"
		if e.Step != nil {
			subject = strings.TrimSpace(e.Step.Kind + " " + e.Step.Name)
		}
		v := e.Verdict
		verdict := v.Action.String()
		if v.Rule != "" {
			verdict += " by " + v.Rule
		}
		if v.Reason != "" {
			verdict += ": " + v.Reason
		}
		fmt.Fprintf(a.out, "%s: %s\n", clean(oneLine(subject)), a.paint(actionColour(v.Action.String()), clean(oneLine(verdict))))
		for _, t := range e.Trace {
			fmt.Fprintf(a.out, "  %s\n", clean(oneLine(t)))
		}
	}
	if len(out) > 0 {
		fmt.Fprintf(a.out, "\npolicy %s\n", clean(or(out[0].Policy, "unknown")))
	}
	return refused
}
