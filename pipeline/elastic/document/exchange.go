// SPDX-License-Identifier: Apache-2.0

package document

import (
	"cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// exchangeFields are those of exchanges, of which other streams have some.
func exchangeFields() []Field {
	return []Field{
		{"event.outcome", keyword, exchanges, "`success` for a complete reply with a status below 400, `unknown` without a status, else `failure`.", func(s *source) any {
			switch {
			case s.Status == 0:
				return "unknown"
			case s.Status < 400 && s.Cut == "":
				return "success"
			}
			return "failure"
		}},
		{"event.start", date, exchanges, "When the request arrived.", func(s *source) any { return s.Time }},
		{"event.end", date, exchanges, "When the outcome was recorded.", func(s *source) any { return s.Ended }},
		{"event.duration", long, exchanges, "How long the exchange took, in nanoseconds.", func(s *source) any { return s.DurationMS * 1_000_000 }},
		{"user.name", keyword, exchanges | contents | decisions | flows | admins, "The person or service account, if known.", func(s *source) any { return s.Principal.User }},
		{"process.pid", long, exchanges | flows | admins, "Process ID of the thread group.", func(s *source) any { return nonzero(int64(s.Workload.PID)) }},
		{"process.name", keyword, exchanges | flows | admins, "Command name.", func(s *source) any { return s.Workload.Comm }},
		{"process.executable", keyword, exchanges | flows, "Path of the executable.", func(s *source) any { return s.Workload.Exe }},
		{"container.id", keyword, exchanges | flows, "Container ID.", func(s *source) any { return s.Workload.Container }},
		{"orchestrator.type", keyword, exchanges | flows, "`kubernetes` for a pod.", func(s *source) any { return s.pod("kubernetes") }},
		{"orchestrator.namespace", keyword, exchanges | flows, "Namespace of the pod.", func(s *source) any { return s.Workload.Namespace }},
		{"orchestrator.resource.type", keyword, exchanges | flows, "`pod` for a pod.", func(s *source) any { return s.pod("pod") }},
		{"orchestrator.resource.id", keyword, exchanges | flows, "UID of the pod.", func(s *source) any { return s.Workload.Pod }},
		{"server.domain", keyword, exchanges, "Host name of the provider.", func(s *source) any { return s.Exchange.Host }},
		{"server.port", long, exchanges, "Port of the provider.", func(s *source) any { return nonzero(int64(s.Port)) }},
		{"http.request.method", keyword, exchanges, "HTTP method.", func(s *source) any { return s.Request.Method }},
		{"http.request.body.bytes", long, exchanges, "Size of the request body.", func(s *source) any { return s.Request.Bytes }},
		{"http.response.status_code", long, exchanges, "Status that the application got; absent if it got none.", func(s *source) any { return nonzero(int64(s.Status)) }},
		{"http.response.body.bytes", long, exchanges, "Bytes of the reply that were released to the application.", func(s *source) any { return s.Response.Bytes }},
		{"url.path", keyword, exchanges, "Path of the request.", func(s *source) any { return path(s.Request.Target) }},
		{"user_agent.original", keyword, exchanges, "User-Agent of the application.", func(s *source) any { return s.Request.UserAgent }},
		{"gen_ai.provider.name", keyword, exchanges | contents, "Wire protocol of the endpoint, which names the provider.", func(s *source) any { return s.Protocol }},
		{"gen_ai.operation.name", keyword, exchanges | contents | decisions, "The operation.", func(s *source) any { return s.Operation }},
		{"gen_ai.request.model", keyword, exchanges | contents | decisions, "The model that was asked for.", func(s *source) any { return s.Model }},
		{"gen_ai.response.id", keyword, exchanges, "The provider's ID of the reply.", func(s *source) any { return s.Response.ID }},
		{"gen_ai.response.model", keyword, exchanges | contents, "The model that answered.", func(s *source) any { return s.Response.Model }},
		{"gen_ai.response.finish_reasons", keyword, exchanges, "Why the reply ended, by choice.", func(s *source) any { return s.Response.Finish }},
		{"gen_ai.usage.input_tokens", long, exchanges, "Tokens of the prompt, as the provider counted.", func(s *source) any { return count(s.Usage.InputTokens) }},
		{"gen_ai.usage.output_tokens", long, exchanges, "Tokens of the reply, as the provider counted.", func(s *source) any { return count(s.Usage.OutputTokens) }},
		{"gen_ai.usage.cache_read.input_tokens", long, exchanges, "Tokens of the prompt that came from the provider's cache.", func(s *source) any { return count(s.Usage.CachedTokens) }},
		{"gen_ai.tool.name", keyword, exchanges | contents, "Names of the tools that the reply called, refused ones included.", func(s *source) any {
			return s.tools(func(t *journal.Tool) string { return t.Name })
		}},
		{"gen_ai.tool.call.id", keyword, exchanges, "IDs of these calls.", func(s *source) any {
			return s.tools(func(t *journal.Tool) string { return t.ID })
		}},
		{"sallyport.exchange.parent", keyword, exchanges | contents, "The exchange of this session that this one goes on from: the turn before.", func(s *source) any { return s.Parent }},
		{"sallyport.flow.id", keyword, exchanges | contents | flows, "The connection.", func(s *source) any { return s.FlowID }},
		{"sallyport.scope", keyword, exchanges | contents | decisions | flows, "The scope that named the workload.", func(s *source) any { return s.Scope }},
		{"sallyport.endpoint", keyword, exchanges | contents | decisions, "Name of the endpoint in the configuration.", func(s *source) any { return s.Endpoint }},
		{"sallyport.stream", boolean, exchanges, "The reply was asked for as a stream.", func(s *source) any { return s.Stream }},
		{"sallyport.mode", keyword, exchanges | decisions | flows, "Mode of the scope: `observe` or `enforce`.", func(s *source) any { return s.Verdict.Mode }},
		{"sallyport.enforced", boolean, exchanges | decisions, "The verdict took effect.", func(s *source) any {
			if s.approval != nil {
				return nil
			}
			return s.Verdict.Enforced
		}},
		{"sallyport.verdict.action", keyword, exchanges | contents | decisions, "`allow`, `alert`, `transform`, `hold` or `deny`: the most severe verdict.", func(s *source) any { return s.Verdict.Action }},
		{"sallyport.verdict.stage", keyword, exchanges | decisions, "What it was about: `call` or the kind of a step.", func(s *source) any { return s.Verdict.Stage }},
		{"sallyport.verdict.rule", keyword, exchanges | decisions, "The rule, with its kind.", func(s *source) any { return s.Verdict.Rule }},
		{"sallyport.verdict.decision", keyword, exchanges, "ID of the decision, for `sallyport why`.", func(s *source) any { return s.Verdict.Decision }},
		{"sallyport.decision.id", keyword, exchanges, "IDs of all decisions of the exchange.", func(s *source) any {
			var out []string
			for i := range s.Decisions {
				out = append(out, s.Decisions[i].ID)
			}
			return out
		}},
		{"sallyport.approval.id", keyword, exchanges | decisions, "What people were asked about the exchange, if something of it was held.", func(s *source) any { return s.Verdict.Approval }},
		{"sallyport.elevation.id", keyword, exchanges | decisions, "The grant without which it would have been denied.", func(s *source) any { return s.Verdict.Elevation }},
		{"sallyport.hold_ms", long, exchanges, "Milliseconds spent waiting for people.", func(s *source) any { return nonzero(s.HoldMS) }},
		{"sallyport.reply_of", keyword, exchanges, "The exchange whose reply this is: it had been kept while people decided.", func(s *source) any { return s.ReplyOf }},
		{"sallyport.cut_reason", keyword, exchanges, "What happened when the reply was cut, for people.", func(s *source) any { return s.Response.CutReason }},
		{"sallyport.cut", keyword, exchanges, "Why the reply did not end by itself: `client`, `upstream`, `agent`, `error`.", func(s *source) any { return s.Cut }},
		{"sallyport.uninspected", keyword, exchanges, "Why the contents are not known.", func(s *source) any { return s.Uninspected }},
		{"sallyport.principal.spiffe_id", keyword, exchanges | contents | decisions | flows, "SPIFFE ID of the workload.", func(s *source) any { return s.Principal.SPIFFEID }},
		{"sallyport.principal.source", keyword, exchanges | contents | flows, "How the SPIFFE ID came about.", func(s *source) any { return s.Principal.Source }},
		{"sallyport.workload.start", long, exchanges | flows, "Start of the process in nanoseconds since boot; with the process ID it names one process.", func(s *source) any { return nonzero(int64(s.Workload.Start)) }},
		{"sallyport.workload.unit", keyword, exchanges | flows, "systemd unit.", func(s *source) any { return s.Workload.Unit }},
		{"sallyport.workload.found", keyword, exchanges | flows, "How it was recognised as a LangChain program, if not by opening a package's file.", func(s *source) any { return s.Workload.Found }},
		{"sallyport.workload.cgroup", keyword, exchanges | flows, "Path of the control group.", func(s *source) any { return s.Workload.Cgroup }},
		{"sallyport.workload.login_uid", keyword, exchanges | flows, "Audit login user ID; absent outside a login session.", func(s *source) any { return s.uid(s.Workload.LoginUID) }},
		{"sallyport.workload.service_account", keyword, exchanges | flows, "Service account of the pod.", func(s *source) any { return s.Workload.ServiceAccount }},
		{"sallyport.credential.fingerprint", keyword, exchanges, "Keyed fingerprint of the credential that the application sent.", func(s *source) any { return s.Request.Credential }},
		{"sallyport.request.sha256", keyword, exchanges, "SHA-256 of the body that was sent upstream.", func(s *source) any { return s.Request.SHA256 }},
		{"sallyport.mask.count", long, exchanges, "Masked spans.", func(s *source) any { return int64(len(s.Masked)) }},
		{"sallyport.mask.type", keyword, exchanges, "Types of the masked values.", func(s *source) any { return s.masks(func(m *pipeline.Mask) string { return m.Type }) }},
		{"sallyport.step.offered", keyword, exchanges, "Names of the tools that the request offered.", func(s *source) any { return s.steps(pipeline.StepToolOffer) }},
		{"sallyport.step.refused", keyword, exchanges, "Names of the tools whose call was denied.", func(s *source) any {
			return s.tools(func(t *journal.Tool) string {
				if t.Action != pipeline.Deny.String() {
					return ""
				}
				return t.Name
			})
		}},
		{"sallyport.first_release_ms", long, exchanges, "Milliseconds from the request to the first released bytes of the reply.", func(s *source) any { return nonzero(s.FirstMS) }},
		{"sallyport.overhead_us", long, exchanges, "Microseconds that Sallyport itself took.", func(s *source) any { return s.OverheadUS }},
		{"sallyport.mask.rule", keyword, exchanges, "Names of the rules that found them.", func(s *source) any { return s.masks(func(m *pipeline.Mask) string { return m.Rule }) }},
		{"sallyport.mask.action", keyword, exchanges, "What stands in their place: `tag`, `last_four`, `pseudonym`, or `with` of a guardrail.", func(s *source) any {
			return s.masks(func(m *pipeline.Mask) string { return cmp.Or(m.Action, "tag") })
		}},
		{"sallyport.mask.fingerprint", keyword, exchanges, "Keyed fingerprints of the values: equal ones are of equal values.", func(s *source) any { return s.masks(func(m *pipeline.Mask) string { return m.Fingerprint }) }},
		{"sallyport.content.state", keyword, exchanges, "Why the contents are not there: `erased`, `no_key`, `omitted`; absent if they are.", func(s *source) any { return s.Content }},
	}
}
