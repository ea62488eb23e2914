// SPDX-License-Identifier: Apache-2.0

package kibana

// The queries that several boards share.
const (
	denials = "event.kind:alert"
	held    = "sallyport.approval.id:*"
	granted = "sallyport.elevation.id:*"
	masked  = "sallyport.mask.count:>0"
	unseen  = "sallyport.uninspected:* OR sallyport.cut:*"

	// In the stream of decisions.
	votes  = "event.action:approval AND sallyport.approval.vote:*"
	grants = "event.action:elevation"
	// In the stream of flows.
	outside = "sallyport.flow.disposition:*"
	gaps    = "event.action:gap"
	// In the stream of agents.
	starts = "event.action:open"
)

// The labels that several panels share.
const (
	principalLabel = "Principal"
	modelLabel     = "Model"
	ruleLabel      = "Rule"
	scopeLabel     = "Scope"
	unitLabel      = "Unit"
	hostLabel      = "Host"
	exchangesLabel = "Exchanges"
)

func principal(size int) bucket { return by("sallyport.principal.spiffe_id", principalLabel, size) }
func model(size int) bucket     { return by("gen_ai.request.model", modelLabel, size) }
func rule(size int) bucket      { return by("sallyport.verdict.rule", ruleLabel, size) }
func scope(size int) bucket     { return by("sallyport.scope", scopeLabel, size) }

func searches() []savedSearch {
	return []savedSearch{
		list("sallyport-search-exchanges", "Sallyport: exchanges", "sallyport.principal.spiffe_id", "gen_ai.request.model",
			"sallyport.verdict.action", "sallyport.verdict.rule", "gen_ai.tool.name", "event.outcome", "sallyport.session.id"),
		list("sallyport-search-denials", "Sallyport: denied, or would have been", "sallyport.principal.spiffe_id", "sallyport.enforced",
			"sallyport.verdict.stage", "sallyport.verdict.rule", "event.reason", "sallyport.step.refused", "sallyport.verdict.decision").where(denials),
		list("sallyport-search-held", "Sallyport: people were asked", "sallyport.principal.spiffe_id", "sallyport.approval.id",
			"sallyport.verdict.action", "sallyport.hold_ms", "gen_ai.tool.name", "sallyport.session.id").where(held),
		list("sallyport-search-masked", "Sallyport: masked", "sallyport.principal.spiffe_id", "gen_ai.request.model",
			"sallyport.mask.type", "sallyport.mask.count", "sallyport.session.id").where(masked),
		list("sallyport-search-unseen", "Sallyport: not inspected, or cut", "sallyport.scope", "sallyport.workload.unit", "server.domain",
			"sallyport.uninspected", "sallyport.cut", "sallyport.cut_reason").where(unseen),
		list("sallyport-search-usage", "Sallyport: usage", "sallyport.principal.spiffe_id", "gen_ai.request.model", "gen_ai.usage.input_tokens",
			"gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.output_tokens", "sallyport.credential.fingerprint"),
		list("sallyport-search-contents", "Sallyport: contents", "sallyport.principal.spiffe_id", "gen_ai.request.model", "sallyport.text.prompt",
			"sallyport.text.response", "sallyport.text.tool_arguments", "sallyport.session.id", "sallyport.exchange.id", "sallyport.content.earlier").on(Content),
		list("sallyport-search-decisions", "Sallyport: decisions", "event.action", "sallyport.verdict.action", "sallyport.verdict.rule", "event.reason",
			"sallyport.principal.spiffe_id", "gen_ai.tool.name", "sallyport.exchange.id").on(Decision),
		list("sallyport-search-flows", "Sallyport: connections without an exchange, and gaps", "event.action", "sallyport.scope", "sallyport.workload.unit",
			"tls.client.server_name", "destination.address", "event.reason").on(Flow),
		list("sallyport-search-admin", "Sallyport: what administrators did", "event.action", "related.user", "sallyport.admin.target",
			"sallyport.admin.subject", "event.reason").on(Admin),
		list("sallyport-search-agents", "Sallyport: starts and checkpoints", "host.name", "event.action", "agent.version", "sallyport.checkpoint.reason",
			"sallyport.anchor.generation", "sallyport.anchor.sequence", "sallyport.anchor.head").on(Agent),
		list("sallyport-search-all", "Sallyport: everything", "data_stream.dataset", "message", "host.name").on(All),
	}
}

func boards() []board {
	return []board{activity(), denied(), approvals(), masks(), coverage(), usage(), administration()}
}

func activity() board {
	return board{"sallyport-activity", "Sallyport: activity", "Who asks which model for what, how often, how fast, and what came of it.", []panel{
		show(number, "sallyport-activity-figures", "Exchanges, sessions, principals, models").shows(count(exchangesLabel),
			different("sallyport.session.id", "Sessions"), different("sallyport.principal.spiffe_id", "Principals"), different("gen_ai.request.model", "Models")).sized(48, 6),
		show(bars, "sallyport-activity-verdicts", "Exchanges by verdict").shows(count(exchangesLabel)).of(overTime(), by("sallyport.verdict.action", "Verdict", 5)).sized(24, 12),
		show(bars, "sallyport-activity-outcomes", "Exchanges by outcome").shows(count(exchangesLabel)).of(overTime(), by("event.outcome", "Outcome", 3)).sized(24, 12),
		show(ranks, "sallyport-activity-principals", "Most active principals").shows(count(exchangesLabel)).of(principal(15)).sized(16, 14),
		show(ranks, "sallyport-activity-models", "Models").shows(count(exchangesLabel)).of(model(15)).sized(16, 14),
		show(ranks, "sallyport-activity-tools", "Tools that replies call").shows(count(exchangesLabel)).of(by("gen_ai.tool.name", "Tool", 15)).sized(16, 14),
		show(bars, "sallyport-activity-first", "Milliseconds to the first released bytes").shows(percentile("sallyport.first_release_ms", "ms")).of(overTime()).sized(24, 12),
		show(bars, "sallyport-activity-overhead", "Microseconds that Sallyport took").shows(percentile("sallyport.overhead_us", "µs")).of(overTime()).sized(24, 12),
		show(table, "sallyport-activity-endpoints", "Endpoints and what they answered").shows(count(exchangesLabel)).
			of(by("sallyport.endpoint", "Endpoint", 10), by("gen_ai.operation.name", "Operation", 5), by("http.response.status_code", "Status", 10)).sized(48, 12),
	}, "sallyport-search-exchanges"}
}

func denied() board {
	return board{"sallyport-denials", "Sallyport: denials", "What was denied, and in observe mode what would have been.", []panel{
		show(number, "sallyport-denials-figures", "Denials").where(denials).shows(count("Denials"),
			different("sallyport.principal.spiffe_id", "Principals"), different("sallyport.verdict.rule", "Rules")).sized(48, 6),
		show(bars, "sallyport-denials-time", "Denials by whether they took effect").where(denials).shows(count("Denials")).of(overTime(), by("sallyport.enforced", "Enforced", 2)).sized(24, 12),
		show(bars, "sallyport-denials-stages", "Denials by what was denied").where(denials).shows(count("Denials")).of(overTime(), by("sallyport.verdict.stage", "Stage", 8)).sized(24, 12),
		show(ranks, "sallyport-denials-rules", "Rules that deny").where(denials).shows(count("Denials")).of(rule(15)).sized(16, 14),
		show(ranks, "sallyport-denials-principals", "Principals that are denied").where(denials).shows(count("Denials")).of(principal(15)).sized(16, 14),
		show(ranks, "sallyport-denials-tools", "Tools whose calls are denied").where(denials).shows(count("Denials")).of(by("sallyport.step.refused", "Tool", 15)).sized(16, 14),
		show(bars, "sallyport-denials-decisions", "Decisions by verdict").on(Decision).where("event.action:decision").shows(count("Decisions")).
			of(overTime(), by("sallyport.verdict.action", "Verdict", 5)).sized(48, 12),
		show(table, "sallyport-denials-reasons", "Reasons").where(denials).shows(count("Denials"), latest(timeField, "Last")).
			of(rule(20), by("event.reason", "Reason", 5), by("rule.version", "Policy", 3)).sized(48, 14),
	}, "sallyport-search-denials"}
}

func approvals() board {
	return board{"sallyport-approvals", "Sallyport: approvals", "What people were asked, how long programs waited, and what ran under a grant.", []panel{
		show(number, "sallyport-approvals-figures", "Held for people").where(held).shows(count(exchangesLabel),
			different("sallyport.approval.id", "Questions"), percentile("sallyport.hold_ms", "Wait, ms")).sized(48, 6),
		show(bars, "sallyport-approvals-time", "Held, by verdict").where(held).shows(count(exchangesLabel)).of(overTime(), by("sallyport.verdict.action", "Verdict", 5)).sized(24, 12),
		show(bars, "sallyport-approvals-wait", "Milliseconds of waiting").where(held).shows(percentile("sallyport.hold_ms", "ms")).of(overTime()).sized(24, 12),
		show(ranks, "sallyport-approvals-principals", "Principals that wait").where(held).shows(count(exchangesLabel)).of(principal(15)).sized(16, 14),
		show(ranks, "sallyport-approvals-tools", "Tools that people are asked about").where(held).shows(count(exchangesLabel)).of(by("gen_ai.tool.name", "Tool", 15)).sized(16, 14),
		show(ranks, "sallyport-approvals-rules", "Rules that ask").where(held).shows(count(exchangesLabel)).of(rule(15)).sized(16, 14),
		show(table, "sallyport-approvals-grants", "Grants in use").where(granted).shows(count(exchangesLabel), latest(timeField, "Last")).
			of(by("sallyport.elevation.id", "Grant", 20), principal(5)).sized(24, 12),
		show(table, "sallyport-approvals-elevations", "Elevations").on(Decision).where(grants).shows(count("Records"), latest(timeField, "Last")).
			of(by("sallyport.approval.role", "Role", 20), by("sallyport.approval.requester", "Asked for by", 10), by("sallyport.approval.state", "State", 5)).sized(24, 12),
		show(bars, "sallyport-approvals-votes", "Answers of people").on(Decision).where(votes).shows(count("Answers")).
			of(overTime(), by("sallyport.approval.vote", "Answer", 2)).sized(24, 12),
		show(table, "sallyport-approvals-people", "Who decides").on(Decision).where(votes).shows(count("Answers"), latest(timeField, "Last")).
			of(by("sallyport.approval.voter", "Person", 20), by("sallyport.approval.vote", "Answer", 2), by("sallyport.approval.vote_scope", "For", 2)).sized(24, 12),
	}, "sallyport-search-held"}
}

func masks() board {
	return board{"sallyport-masks", "Sallyport: masks", "Secrets and personal data that were masked.", []panel{
		show(number, "sallyport-masks-figures", "Masked").where(masked).shows(sum("sallyport.mask.count", "Values"), count(exchangesLabel),
			different("sallyport.principal.spiffe_id", "Principals")).sized(48, 6),
		show(bars, "sallyport-masks-types", "Exchanges by type of what was masked").where(masked).shows(count(exchangesLabel)).of(overTime(), by("sallyport.mask.type", "Type", 12)).sized(24, 14),
		show(bars, "sallyport-masks-values", "Masked values").where(masked).shows(sum("sallyport.mask.count", "Values")).of(overTime(), by("sallyport.endpoint", "Endpoint", 5)).sized(24, 14),
		show(ranks, "sallyport-masks-principals", "Principals that are shown masks").where(masked).shows(sum("sallyport.mask.count", "Values")).of(principal(15)).sized(24, 14),
		show(table, "sallyport-masks-table", "Types by model").where(masked).shows(count(exchangesLabel), latest(timeField, "Last")).
			of(by("sallyport.mask.type", "Type", 25), model(5)).sized(24, 14),
	}, "sallyport-search-masked"}
}

func coverage() board {
	return board{"sallyport-coverage", "Sallyport: coverage", "What is enforced, what is only observed, and what could not be inspected.", []panel{
		show(number, "sallyport-coverage-figures", "Hosts, scopes, units, providers").shows(different("host.name", "Hosts"), different("sallyport.scope", "Scopes"),
			different("sallyport.workload.unit", "Units"), different("server.domain", "Providers")).sized(48, 6),
		show(bars, "sallyport-coverage-modes", "Exchanges by mode").shows(count(exchangesLabel)).of(overTime(), by("sallyport.mode", "Mode", 2)).sized(24, 12),
		show(bars, "sallyport-coverage-unseen", "Contents that are not known").where(unseen).shows(count(exchangesLabel)).of(overTime(), by("sallyport.uninspected", "Why", 8)).sized(24, 12),
		show(ranks, "sallyport-coverage-cuts", "Replies that were cut").where(unseen).shows(count(exchangesLabel)).of(by("sallyport.cut", "By", 4)).sized(16, 12),
		show(ranks, "sallyport-coverage-found", "How programs were recognised").shows(count(exchangesLabel)).of(by("sallyport.workload.found", "How", 10)).sized(16, 12),
		show(ranks, "sallyport-coverage-identity", "Where identities come from").shows(count(exchangesLabel)).of(by("sallyport.principal.source", "Source", 8)).sized(16, 12),
		show(bars, "sallyport-coverage-flows", "Connections without an exchange").on(Flow).where(outside).shows(sum("sallyport.flow.count", "Connections")).
			of(overTime(), by("sallyport.flow.disposition", "What became of it", 8)).sized(24, 12),
		show(table, "sallyport-coverage-outside", "Where they go, and whose they are").on(Flow).where(outside).shows(sum("sallyport.flow.count", "Connections"), latest(timeField, "Last")).
			of(by("sallyport.flow.disposition", "What became of it", 8), by("tls.client.server_name", "Server", 15), by("sallyport.workload.unit", unitLabel, 5)).sized(24, 12),
		show(bars, "sallyport-coverage-gaps", "Gaps: things that may be missing").on(Flow).where(gaps).shows(sum("sallyport.gap.count", "Things")).
			of(overTime(), by("host.name", hostLabel, 10)).sized(48, 10),
		show(table, "sallyport-coverage-scopes", "Scopes and their programs").shows(count(exchangesLabel), latest(timeField, "Last")).
			of(scope(20), by("sallyport.mode", "Mode", 2), by("sallyport.workload.unit", unitLabel, 10)).sized(24, 14),
		show(table, "sallyport-coverage-agents", "Agents").shows(count(exchangesLabel), latest(timeField, "Last")).
			of(by("host.name", hostLabel, 50), by("agent.version", "Version", 3)).sized(24, 14),
	}, "sallyport-search-unseen"}
}

func usage() board {
	in, cached, out := sum("gen_ai.usage.input_tokens", "Input tokens"), sum("gen_ai.usage.cache_read.input_tokens", "of them cached"), sum("gen_ai.usage.output_tokens", "Output tokens")
	return board{"sallyport-usage", "Sallyport: usage", "Tokens by principal and model, as the providers counted. What they cost: sallyport usage, which knows prices.", []panel{
		show(number, "sallyport-usage-figures", "Tokens").shows(in, cached, out, count(exchangesLabel)).sized(48, 6),
		show(bars, "sallyport-usage-input", "Input tokens by model").shows(in).of(overTime(), model(8)).sized(24, 12),
		show(bars, "sallyport-usage-output", "Output tokens by model").shows(out).of(overTime(), model(8)).sized(24, 12),
		show(ranks, "sallyport-usage-principals", "Output tokens by principal").shows(out).of(principal(15)).sized(24, 14),
		show(ranks, "sallyport-usage-tenants", "Output tokens by tenant").shows(out).of(by("data_stream.namespace", "Tenant", 15)).sized(24, 14),
		show(table, "sallyport-usage-table", "Principals and models").shows(in, cached, out, count(exchangesLabel)).of(principal(50), model(10)).sized(48, 16),
		show(table, "sallyport-usage-keys", "Provider keys and how many workloads use them").shows(different("sallyport.principal.spiffe_id", "Principals"),
			different("host.name", "Hosts"), count(exchangesLabel)).of(by("sallyport.credential.fingerprint", "Key", 25)).sized(48, 12),
	}, "sallyport-search-usage"}
}

func administration() board {
	return board{"sallyport-administration", "Sallyport: administration", "What administrators did, changes of policy and configuration, starts of agents and checkpoints of their journals.", []panel{
		show(number, "sallyport-administration-figures", "Actions").on(Admin).shows(count("Actions"), different("related.user", "Users"), different("host.name", "Hosts")).sized(48, 6),
		show(bars, "sallyport-administration-time", "Actions over time").on(Admin).shows(count("Actions")).of(overTime(), by("event.action", "Action", 12)).sized(24, 12),
		show(table, "sallyport-administration-users", "Who does what").on(Admin).shows(count("Actions"), latest(timeField, "Last")).
			of(by("related.user", "User", 20), by("event.action", "Action", 20)).sized(24, 12),
		show(bars, "sallyport-administration-starts", "Starts of agents").on(Agent).where(starts).shows(count("Starts")).of(overTime(), by("host.name", hostLabel, 15)).sized(24, 12),
		show(table, "sallyport-administration-agents", "Agents and their last records").on(Agent).shows(count("Records"), latest(timeField, "Last")).
			of(by("host.name", hostLabel, 50), by("event.action", "Record", 5)).sized(24, 12),
	}, "sallyport-search-admin"}
}
