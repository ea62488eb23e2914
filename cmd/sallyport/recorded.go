// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

// recorded is where exchanges are read from.
type recorded struct {
	journal, sessions, since string
}

const recordedHelp = `Exchanges are read from the journal folder (--journal; needs root, not the daemon), from a file that
"sallyport sessions list -o json" or "sessions show -o json" wrote (--sessions), or else from the daemon, which gives the
newest 1000 sessions. --since takes an age (12h, 7d), a date, or an RFC 3339 time.`

func (r *recorded) flags(a *app, fs *flag.FlagSet) {
	socketFlag(a, fs)
	fs.StringVar(&r.journal, "journal", "", "read the journal in this `folder`, such as "+defaultJournal)
	fs.StringVar(&r.sessions, "sessions", "", "read sessions from this `file`, - for standard input")
	fs.StringVar(&r.since, "since", "", "exchanges since this `time`, or of this age")
}

// name says where the exchanges come from.
func (r *recorded) name() string {
	switch {
	case r.journal != "":
		return "the journal in " + r.journal
	case r.sessions != "":
		return "sessions in " + r.sessions
	}
	return "the daemon's record"
}

// each reads the exchanges, oldest first within a session or journal. What take is given is valid until it returns.
func (r *recorded) each(ctx context.Context, a *app, take func(*replay.Exchange)) error {
	since, err := parseSince(r.since, time.Now())
	if err != nil {
		return err
	}
	late := func(x *replay.Exchange) {
		if !x.Time.Before(since) {
			take(x)
		}
	}
	switch {
	case r.journal != "" && r.sessions != "":
		return wrong("takes --journal or --sessions, not both")
	case r.journal != "":
		return eachJournal(ctx, r.journal, since, late)
	case r.sessions != "":
		return eachSession(a, r.sessions, late)
	}
	c := a.client()
	defer c.Close()
	list, err := c.Sessions(ctx, adminapi.Query{Since: since, Limit: 1000, Exchanges: true})
	if errors.Is(err, adminapi.ErrNotRunning) {
		return fmt.Errorf("%w; to read the journal without it, use --journal %s", err, defaultJournal)
	}
	if err != nil {
		return err
	}
	for i := range list {
		giveSession(&list[i], late)
	}
	return nil
}

// eachJournal reads a journal folder, which may be written meanwhile. Exchanges that have not ended come last.
func eachJournal(ctx context.Context, dir string, since time.Time, take func(*replay.Exchange)) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	folder, loader := journal.NewFolder(), journal.NewLoader(dir)
	loader.SkipBody = true
	defer loader.Close()
	open := map[string]*journal.Refs{}
	give := func(ref *journal.Refs) error {
		p, err := loader.Load(ref)
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		x := &replay.Exchange{ID: p.Exchange, Session: p.Session, Time: p.Time, Intent: p.Intent, Outcome: p.Outcome}
		for _, d := range p.Decisions {
			x.Decisions = append(x.Decisions, d.Decision)
		}
		take(x)
		return nil
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the journal (sallyport journal verify says more): %w", err)
		}
		ref := folder.Add(e)
		switch {
		case e.Kind == pipeline.KindIntent && !e.Time.Before(since):
			open[e.Exchange] = &journal.Refs{Session: e.Session, Exchange: e.Exchange, Intent: e.Position}
		case e.Kind == pipeline.KindDecision && open[e.Exchange] != nil:
			open[e.Exchange].Decisions = append(open[e.Exchange].Decisions, e.Position)
		case ref != nil:
			delete(open, e.Exchange)
			if ref.Intent == (pipeline.Position{}) || e.Time.Before(since) {
				continue // its request is not in the journal any more, or it is too old
			}
			if err := give(ref); err != nil {
				return err
			}
		}
	}
	rest := slices.SortedFunc(maps.Values(open), func(a, b *journal.Refs) int {
		return cmp.Or(cmp.Compare(a.Intent.Segment, b.Intent.Segment), cmp.Compare(a.Intent.Offset, b.Intent.Offset))
	})
	for _, ref := range rest {
		if err := give(ref); err != nil {
			return err
		}
	}
	return nil
}

// eachSession reads a listing of sessions, or a single one.
func eachSession(a *app, file string, take func(*replay.Exchange)) error {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("reading sessions: %w", err)
		}
		defer f.Close()
		in = f
	}
	dec := json.NewDecoder(in)
	for n := 0; ; n++ {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) && n > 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading sessions from %s: want what sallyport sessions list -o json writes: %w", file, err)
		}
		var list []adminapi.Session
		if raw[0] != '[' {
			raw = slices.Concat([]byte("["), raw, []byte("]"))
		}
		if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("reading sessions from %s: want what sallyport sessions list -o json writes: %w", file, err)
		}
		for i := range list {
			giveSession(&list[i], take)
		}
	}
}

func giveSession(s *adminapi.Session, take func(*replay.Exchange)) {
	for i := range s.Exchanges {
		take(fromAPI(&s.Exchanges[i]))
	}
}

// fromAPI turns an exchange of the API back into records, as far as policy looks at them.
func fromAPI(x *adminapi.Exchange) *replay.Exchange {
	w, p := &x.Workload, &x.Principal
	in := &pipeline.Intent{Flow: x.FlowID, Scope: x.Scope, Policy: x.Policy, Uninspected: x.Uninspected, Masks: x.Masked,
		Workload: pipeline.Workload{PID: w.PID, Start: w.Start, Comm: w.Comm, Exe: w.Exe, Cgroup: w.Cgroup, Unit: w.Unit, Container: w.Container, Pod: w.Pod,
			Namespace: w.Namespace, ServiceAccount: w.ServiceAccount, UID: w.UID, LoginUID: w.LoginUID, Labels: w.Labels},
		Principal: pipeline.Principal{SPIFFEID: p.SPIFFEID, Source: p.Source, User: p.User, Groups: p.Groups},
		Endpoint:  pipeline.Endpoint{Name: x.Endpoint, Host: x.Host, Protocol: x.Protocol, Port: x.Port},
		Call:      pipeline.Call{Operation: x.Operation, Model: x.Model, Stream: x.Stream, Steps: x.Steps}}
	_ = in.Mode.UnmarshalText([]byte(x.Verdict.Mode)) // of another version: off, which is not observe and so stops at a refusal
	out := &replay.Exchange{ID: x.ExchangeID, Session: x.SessionID, Time: x.Time, Intent: in}
	action := func(s string) (a pipeline.Action) {
		if a.UnmarshalText([]byte(s)) != nil {
			return pipeline.Deny
		}
		return a
	}
	if !x.Open {
		out.Outcome = &pipeline.Outcome{Status: x.Response.Status, Enforced: x.Verdict.Enforced, Decision: x.Verdict.Decision,
			Verdict: pipeline.Verdict{Action: action(x.Verdict.Action), Stage: x.Verdict.Stage, Rule: x.Verdict.Rule, Elevation: x.Verdict.Elevation}}
		for _, t := range x.Tools {
			out.Outcome.Tools = append(out.Outcome.Tools, pipeline.Step{Kind: pipeline.StepToolCall, Name: t.Name, ID: t.ID, Index: t.Index, Args: t.Args})
		}
	}
	for i := range x.Decisions {
		d := &x.Decisions[i]
		out.Decisions = append(out.Decisions, pipeline.Decision{ID: d.ID, Mode: in.Mode, Enforced: d.Enforced, Step: d.Step, Policy: d.Policy,
			Verdict: pipeline.Verdict{Action: action(d.Action), Stage: d.Stage, Rule: d.Rule, Reason: d.Reason, Code: d.Code, Elevation: d.Elevation, Matched: d.Matched, Removed: d.Removed}})
	}
	return out
}
