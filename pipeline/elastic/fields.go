// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// ECSVersion is the version of the Elastic Common Schema that the names follow.
const ECSVersion = "9.4.0"

// noLogin is the audit login uid of a process outside any login session.
const noLogin = ^uint32(0)

// Origin is what all documents of one agent have in common.
type Origin struct {
	Host      string
	Version   string
	Namespace string
}

// source is what a document is made from.
type source struct {
	*journal.Exchange
	Origin
}

// Field is one field of an exchange document.
type Field struct {
	Name string // dotted
	Type string // of the mapping
	Doc  string // a sentence
	get  func(*source) any
}

// Fields lists all fields in the order of their names. A field without a value is left out of a document.
func Fields() []Field {
	out := slices.Clone(table)
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// The mapping types in use: those that every distribution has.
const (
	keyword = "keyword"
	text    = "text"
	date    = "date"
	long    = "long"
	boolean = "boolean"
)

// table is the one place where fields are defined.
var table = []Field{
	{"@timestamp", date, "When the request arrived.", func(s *source) any { return s.Time }},
	{"message", text, "The exchange in one line.", func(s *source) any { return message(s) }},
	{"ecs.version", keyword, "Version of the Elastic Common Schema.", func(*source) any { return ECSVersion }},
	{"data_stream.type", keyword, "`logs`.", func(*source) any { return "logs" }},
	{"data_stream.dataset", keyword, "`sallyport.exchange`.", func(*source) any { return dataset }},
	{"data_stream.namespace", keyword, "The tenant.", func(s *source) any { return s.Namespace }},
	{"agent.type", keyword, "`sallyport`.", func(*source) any { return "sallyport" }},
	{"agent.version", keyword, "Version of Sallyport.", func(s *source) any { return s.Version }},
	{"host.name", keyword, "The host that the workload ran on.", func(s *source) any { return s.Origin.Host }},

	{"event.kind", keyword, "`alert` if something was denied, or would have been in enforce; else `event`.", func(s *source) any {
		if s.denied() {
			return "alert"
		}
		return "event"
	}},
	{"event.module", keyword, "`sallyport`.", func(*source) any { return "sallyport" }},
	{"event.dataset", keyword, "`sallyport.exchange`.", func(*source) any { return dataset }},
	{"event.category", keyword, "`api`.", func(*source) any { return []string{"api"} }},
	{"event.type", keyword, "`access`, and `denied` or `allowed` for what was enforced.", func(s *source) any {
		if s.denied() && s.Verdict.Enforced {
			return []string{"access", "denied"}
		}
		return []string{"access", "allowed"}
	}},
	{"event.action", keyword, "The operation: `chat`, `embeddings`; empty if it is not known.", func(s *source) any { return s.Operation }},
	{"event.outcome", keyword, "`success` for a complete reply with a status below 400, `unknown` without a status, else `failure`.", func(s *source) any {
		switch {
		case s.Status == 0:
			return "unknown"
		case s.Status < 400 && s.Cut == "":
			return "success"
		}
		return "failure"
	}},
	{"event.id", keyword, "The exchange ID.", func(s *source) any { return s.ExchangeID }},
	{"event.hash", keyword, "Hash of the outcome's record in the journal; also the ID of the document.", func(s *source) any { return s.Record.Hash.String() }},
	{"event.start", date, "When the request arrived.", func(s *source) any { return s.Time }},
	{"event.end", date, "When the outcome was recorded.", func(s *source) any { return s.Ended }},
	{"event.duration", long, "How long the exchange took, in nanoseconds.", func(s *source) any { return s.DurationMS * 1_000_000 }},
	{"event.reason", keyword, "The reason of the verdict, for people.", func(s *source) any { return s.Verdict.Reason }},

	{"user.id", keyword, "User ID of the process.", func(s *source) any { return s.uid(s.Workload.UID) }},
	{"user.name", keyword, "The person or service account, if known.", func(s *source) any { return s.Principal.User }},
	{"process.pid", long, "Process ID of the thread group.", func(s *source) any { return nonzero(int64(s.Workload.PID)) }},
	{"process.name", keyword, "Command name.", func(s *source) any { return s.Workload.Comm }},
	{"process.executable", keyword, "Path of the executable.", func(s *source) any { return s.Workload.Exe }},
	{"container.id", keyword, "Container ID.", func(s *source) any { return s.Workload.Container }},
	{"orchestrator.type", keyword, "`kubernetes` for a pod.", func(s *source) any { return s.pod("kubernetes") }},
	{"orchestrator.namespace", keyword, "Namespace of the pod.", func(s *source) any { return s.Workload.Namespace }},
	{"orchestrator.resource.type", keyword, "`pod` for a pod.", func(s *source) any { return s.pod("pod") }},
	{"orchestrator.resource.id", keyword, "UID of the pod.", func(s *source) any { return s.Workload.Pod }},
	{"server.domain", keyword, "Host name of the provider.", func(s *source) any { return s.Exchange.Host }},
	{"server.port", long, "Port of the provider.", func(s *source) any { return nonzero(int64(s.Port)) }},
	{"http.request.method", keyword, "HTTP method.", func(s *source) any { return s.Request.Method }},
	{"http.request.body.bytes", long, "Size of the request body.", func(s *source) any { return s.Request.Bytes }},
	{"http.response.status_code", long, "Status that the application got; absent if it got none.", func(s *source) any { return nonzero(int64(s.Status)) }},
	{"http.response.body.bytes", long, "Bytes of the reply that were released to the application.", func(s *source) any { return s.Response.Bytes }},
	{"url.path", keyword, "Path of the request.", func(s *source) any { return path(s.Request.Target) }},
	{"user_agent.original", keyword, "User-Agent of the application.", func(s *source) any { return s.Request.UserAgent }},
	{"related.user", keyword, "All names and IDs of users.", func(s *source) any {
		return unique(s.Principal.User, s.uid(s.Workload.UID), s.uid(s.Workload.LoginUID))
	}},
	{"related.hosts", keyword, "All host names.", func(s *source) any { return unique(s.Exchange.Host, s.Origin.Host) }},
	{"rule.name", keyword, "Name of the rule that gave the verdict.", func(s *source) any { _, name := s.rule(); return name }},
	{"rule.ruleset", keyword, "Its kind: `role`, `guardrail` or `builtin`.", func(s *source) any { kind, _ := s.rule(); return kind }},
	{"rule.version", keyword, "Version of the policy that decided.", func(s *source) any { return s.Policy }},

	{"gen_ai.provider.name", keyword, "Wire protocol of the endpoint, which names the provider.", func(s *source) any { return s.Protocol }},
	{"gen_ai.operation.name", keyword, "The operation.", func(s *source) any { return s.Operation }},
	{"gen_ai.request.model", keyword, "The model that was asked for.", func(s *source) any { return s.Model }},
	{"gen_ai.response.id", keyword, "The provider's ID of the reply.", func(s *source) any { return s.Response.ID }},
	{"gen_ai.response.model", keyword, "The model that answered.", func(s *source) any { return s.Response.Model }},
	{"gen_ai.response.finish_reasons", keyword, "Why the reply ended, by choice.", func(s *source) any { return s.Response.Finish }},
	{"gen_ai.usage.input_tokens", long, "Tokens of the prompt, as the provider counted.", func(s *source) any { return count(s.Usage.InputTokens) }},
	{"gen_ai.usage.output_tokens", long, "Tokens of the reply, as the provider counted.", func(s *source) any { return count(s.Usage.OutputTokens) }},
	{"gen_ai.usage.cache_read.input_tokens", long, "Tokens of the prompt that came from the provider's cache.", func(s *source) any { return count(s.Usage.CachedTokens) }},
	{"gen_ai.tool.name", keyword, "Names of the tools that the reply called, refused ones included.", func(s *source) any {
		return s.tools(func(t *journal.Tool) string { return t.Name })
	}},
	{"gen_ai.tool.call.id", keyword, "IDs of these calls.", func(s *source) any {
		return s.tools(func(t *journal.Tool) string { return t.ID })
	}},
	{"gen_ai.conversation.id", keyword, "The session ID.", func(s *source) any { return s.SessionID }},

	{"sallyport.session.id", keyword, "The session.", func(s *source) any { return s.SessionID }},
	{"sallyport.exchange.id", keyword, "The exchange.", func(s *source) any { return s.ExchangeID }},
	{"sallyport.exchange.parent", keyword, "The exchange of this session that this one goes on from: the turn before.", func(s *source) any { return s.Parent }},
	{"sallyport.flow.id", keyword, "The connection.", func(s *source) any { return s.FlowID }},
	{"sallyport.scope", keyword, "The scope that named the workload.", func(s *source) any { return s.Scope }},
	{"sallyport.endpoint", keyword, "Name of the endpoint in the configuration.", func(s *source) any { return s.Endpoint }},
	{"sallyport.stream", boolean, "The reply was asked for as a stream.", func(s *source) any { return s.Stream }},
	{"sallyport.mode", keyword, "Mode of the scope: `observe` or `enforce`.", func(s *source) any { return s.Verdict.Mode }},
	{"sallyport.enforced", boolean, "The verdict took effect.", func(s *source) any { return s.Verdict.Enforced }},
	{"sallyport.verdict.action", keyword, "`allow`, `alert`, `transform`, `hold` or `deny`: the most severe verdict.", func(s *source) any { return s.Verdict.Action }},
	{"sallyport.verdict.stage", keyword, "What it was about: `call` or the kind of a step.", func(s *source) any { return s.Verdict.Stage }},
	{"sallyport.verdict.rule", keyword, "The rule, with its kind.", func(s *source) any { return s.Verdict.Rule }},
	{"sallyport.verdict.decision", keyword, "ID of the decision, for `sallyport why`.", func(s *source) any { return s.Verdict.Decision }},
	{"sallyport.decision.id", keyword, "IDs of all decisions of the exchange.", func(s *source) any {
		var out []string
		for i := range s.Decisions {
			out = append(out, s.Decisions[i].ID)
		}
		return out
	}},
	{"sallyport.approval.id", keyword, "What people were asked about the exchange, if something of it was held.", func(s *source) any { return s.Verdict.Approval }},
	{"sallyport.elevation.id", keyword, "The grant without which it would have been denied.", func(s *source) any { return s.Verdict.Elevation }},
	{"sallyport.hold_ms", long, "Milliseconds spent waiting for people.", func(s *source) any { return nonzero(s.HoldMS) }},
	{"sallyport.reply_of", keyword, "The exchange whose reply this is: it had been kept while people decided.", func(s *source) any { return s.ReplyOf }},
	{"sallyport.cut_reason", keyword, "What happened when the reply was cut, for people.", func(s *source) any { return s.Response.CutReason }},
	{"sallyport.cut", keyword, "Why the reply did not end by itself: `client`, `upstream`, `agent`, `error`.", func(s *source) any { return s.Cut }},
	{"sallyport.uninspected", keyword, "Why the contents are not known.", func(s *source) any { return s.Uninspected }},
	{"sallyport.principal.spiffe_id", keyword, "SPIFFE ID of the workload.", func(s *source) any { return s.Principal.SPIFFEID }},
	{"sallyport.principal.source", keyword, "How the SPIFFE ID came about.", func(s *source) any { return s.Principal.Source }},
	{"sallyport.workload.start", long, "Start of the process in nanoseconds since boot; with the process ID it names one process.", func(s *source) any { return nonzero(int64(s.Workload.Start)) }},
	{"sallyport.workload.unit", keyword, "systemd unit.", func(s *source) any { return s.Workload.Unit }},
	{"sallyport.workload.found", keyword, "How it was recognised as a LangChain program, if not by opening a package's file.", func(s *source) any { return s.Workload.Found }},
	{"sallyport.workload.cgroup", keyword, "Path of the control group.", func(s *source) any { return s.Workload.Cgroup }},
	{"sallyport.workload.login_uid", keyword, "Audit login user ID; absent outside a login session.", func(s *source) any { return s.uid(s.Workload.LoginUID) }},
	{"sallyport.workload.service_account", keyword, "Service account of the pod.", func(s *source) any { return s.Workload.ServiceAccount }},
	{"sallyport.credential.fingerprint", keyword, "Keyed fingerprint of the credential that the application sent.", func(s *source) any { return s.Request.Credential }},
	{"sallyport.request.sha256", keyword, "SHA-256 of the body that was sent upstream.", func(s *source) any { return s.Request.SHA256 }},
	{"sallyport.mask.count", long, "Masked spans.", func(s *source) any { return int64(len(s.Masked)) }},
	{"sallyport.mask.type", keyword, "Types of the masked values.", func(s *source) any {
		return s.masks(func(m *pipeline.Mask) string { return m.Type })
	}},
	{"sallyport.mask.rule", keyword, "Names of the rules that found them.", func(s *source) any {
		return s.masks(func(m *pipeline.Mask) string { return m.Rule })
	}},
	{"sallyport.mask.action", keyword, "What stands in their place: `tag`, `last_four`, `pseudonym`, or `with` of a guardrail.", func(s *source) any {
		return s.masks(func(m *pipeline.Mask) string { return cmp.Or(m.Action, "tag") })
	}},
	{"sallyport.mask.fingerprint", keyword, "Keyed fingerprints of the values: equal ones are of equal values.", func(s *source) any {
		return s.masks(func(m *pipeline.Mask) string { return m.Fingerprint })
	}},
	{"sallyport.step.offered", keyword, "Names of the tools that the request offered.", func(s *source) any { return s.steps(pipeline.StepToolOffer) }},
	{"sallyport.step.refused", keyword, "Names of the tools whose call was denied.", func(s *source) any {
		return s.tools(func(t *journal.Tool) string {
			if t.Action != pipeline.Deny.String() {
				return ""
			}
			return t.Name
		})
	}},
	{"sallyport.record.segment", long, "Segment of the journal that holds the outcome.", func(s *source) any { return int64(s.Record.Segment) }},
	{"sallyport.record.offset", long, "Offset of the outcome in it.", func(s *source) any { return int64(s.Record.Offset) }},
	{"sallyport.first_release_ms", long, "Milliseconds from the request to the first released bytes of the reply.", func(s *source) any { return nonzero(s.FirstMS) }},
	{"sallyport.overhead_us", long, "Microseconds that Sallyport itself took.", func(s *source) any { return s.OverheadUS }},
}

func (s *source) denied() bool { return s.Verdict.Action == pipeline.Deny.String() }

// rule splits "guardrail/NAME".
func (s *source) rule() (kind, name string) {
	kind, name, ok := strings.Cut(s.Verdict.Rule, "/")
	if !ok {
		return "", kind
	}
	return kind, name
}

func (s *source) uid(n uint32) string {
	if s.Workload.PID == 0 || n == noLogin {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

func (s *source) pod(word string) string {
	if s.Workload.Pod == "" {
		return ""
	}
	return word
}

func (s *source) tools(of func(*journal.Tool) string) []string {
	var out []string
	for i := range s.Tools {
		out = append(out, of(&s.Tools[i]))
	}
	return unique(out...)
}

func (s *source) steps(kind string) []string {
	var out []string
	for i := range s.Steps {
		if s.Steps[i].Kind == kind {
			out = append(out, s.Steps[i].Name)
		}
	}
	return unique(out...)
}

func (s *source) masks(f func(*pipeline.Mask) string) []string {
	var out []string
	for i := range s.Masked {
		out = append(out, f(&s.Masked[i]))
	}
	return unique(out...)
}

func message(s *source) string {
	var b strings.Builder
	for _, w := range []string{s.Principal.SPIFFEID, s.Operation, s.Model, "at", s.Endpoint + ":", s.Verdict.Action} {
		if w == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	if s.Verdict.Rule != "" {
		b.WriteString(" by " + s.Verdict.Rule)
	}
	if s.denied() && !s.Verdict.Enforced {
		b.WriteString(" (not enforced)")
	}
	if s.Cut != "" {
		b.WriteString(", cut: " + s.Cut)
	}
	return b.String()
}

// path leaves out the query, whose values the record does not have either.
func path(target string) string {
	if u, err := url.Parse(target); err == nil && u.Path != "" {
		return u.Path
	}
	p, _, _ := strings.Cut(target, "?")
	return p
}

func nonzero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func count(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

// unique drops empty strings and repetitions and keeps the order.
func unique(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
