// SPDX-License-Identifier: Apache-2.0

package document

import (
	"slices"
	"strings"
)

// ECSVersion is the version of the Elastic Common Schema that the names follow.
const ECSVersion = "9.4.0"

// Field is one field of the documents of some streams.
type Field struct {
	Name string // dotted
	Type string // of the mapping
	in   set
	Doc  string // a sentence
	get  func(*source) any
}

// The mapping types in use: those that every distribution has.
const (
	keyword = "keyword"
	text    = "text"
	date    = "date"
	long    = "long"
	boolean = "boolean"
	opaque  = "object" // of which nothing is indexed
)

// Fields lists the fields of a stream in the order of their names; those of an unknown one are none. A field without a value is left
// out of a document.
func Fields(stream string) []Field {
	var out []Field
	for _, s := range Streams() {
		if s.Name == stream {
			out = fieldsOf(&s)
		}
	}
	return out
}

func fieldsOf(s *Stream) (out []Field) {
	for _, f := range table() {
		if f.in&s.member != 0 {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// table is the one place where fields are defined. A name that has several rows has the same type in all.
func table() []Field { return slices.Concat(commonFields(), exchangeFields(), otherFields()) }

// commonFields are in the documents of all streams, or of most.
func commonFields() []Field {
	return []Field{
		{"@timestamp", date, all, "When it happened; of an exchange, when the request arrived.", func(s *source) any { return s.Time }},
		{"message", text, all, "The document in one line.", func(s *source) any { return s.message() }},
		{"ecs.version", keyword, all, "Version of the Elastic Common Schema.", func(*source) any { return ECSVersion }},
		{"data_stream.type", keyword, all, "`logs`.", func(*source) any { return "logs" }},
		{"data_stream.dataset", keyword, all, "`sallyport.` and the name of the stream.", func(s *source) any { return s.stream.Dataset() }},
		{"data_stream.namespace", keyword, all, "The tenant.", func(s *source) any { return s.Namespace }},
		{"agent.type", keyword, all, "`sallyport`.", func(*source) any { return "sallyport" }},
		{"agent.version", keyword, all, "Version of Sallyport.", func(s *source) any { return s.Version }},
		{"host.name", keyword, all, "The host that the agent runs on.", func(s *source) any { return s.Origin.Host }},

		{"event.kind", keyword, all, "`alert` if something was denied, or would have been in enforce, and for gaps; else `event`.", func(s *source) any {
			if s.denied() || s.gap != nil {
				return "alert"
			}
			return "event"
		}},
		{"event.module", keyword, all, "`sallyport`.", func(*source) any { return "sallyport" }},
		{"event.dataset", keyword, all, "`sallyport.` and the name of the stream.", func(s *source) any { return s.stream.Dataset() }},
		{"event.category", keyword, all, "`api`, `network`, `configuration` or `host`.", func(s *source) any {
			switch s.stream.Name {
			case Flow:
				return []string{"network"}
			case Admin:
				return []string{"configuration"}
			case Agent:
				return []string{"host"}
			}
			return []string{"api"}
		}},
		{"event.type", keyword, all, "`access`, `connection`, `change` or `info`, and `denied` or `allowed` for what was decided and enforced.", func(s *source) any { return s.types() }},
		{"event.id", keyword, all, "The ID of the exchange, decision or approval; else the hash of the record.", func(s *source) any { return s.id() }},
		{"event.hash", keyword, all, "Hash of the record in the journal (of an exchange and its contents: of the outcome); also the ID of the document, or the beginning of it.", func(s *source) any { return s.rec.Hash.String() }},
		{"related.user", keyword, all &^ agents, "All names and IDs of users.", func(s *source) any { return s.users() }},
		{"related.hosts", keyword, all, "All host names.", func(s *source) any { return unique(s.Exchange.Host, s.sni(), s.Origin.Host) }},

		{"sallyport.session.id", keyword, all, "The session.", func(s *source) any { return s.SessionID }},
		{"sallyport.exchange.id", keyword, all, "The exchange.", func(s *source) any { return s.ExchangeID }},
		{"sallyport.record.kind", keyword, all, "Kind of the record.", func(s *source) any { return s.rec.Kind }},
		{"sallyport.record.generation", long, all, "Generation of the writer: its starts, counted.", func(s *source) any { return int64(s.rec.Generation) }},
		{"sallyport.record.sequence", long, all, "Number of the record in its generation.", func(s *source) any { return int64(s.rec.Sequence) }},
		{"sallyport.record.segment", long, all, "Segment of the journal that holds the record.", func(s *source) any { return int64(s.rec.At.Segment) }},
		{"sallyport.record.offset", long, all, "Offset of the record in it.", func(s *source) any { return int64(s.rec.At.Offset) }},

		{"event.action", keyword, exchanges | contents, "The operation: `chat`, `embeddings`; absent if it is not known.", func(s *source) any { return s.Operation }},
		{"event.reason", keyword, exchanges | decisions, "The reason of the verdict, or what was noted on an approval, for people.", func(s *source) any { return s.Verdict.Reason }},
		{"user.id", keyword, exchanges | contents | flows, "User ID of the process.", func(s *source) any { return s.uid(s.Workload.UID) }},
		{"rule.name", keyword, exchanges | decisions, "Name of the rule that gave the verdict.", func(s *source) any { _, name := s.rule(); return name }},
		{"rule.ruleset", keyword, exchanges | decisions, "Its kind: `role`, `guardrail` or `builtin`.", func(s *source) any { kind, _ := s.rule(); return kind }},
		{"rule.version", keyword, exchanges | decisions, "Version of the policy that decided.", func(s *source) any { return s.Policy }},
		{"gen_ai.conversation.id", keyword, exchanges | contents, "The provider's thread or conversation, if the request names one; else the session.", func(s *source) any {
			if s.thread != "" {
				return s.thread
			}
			return s.SessionID
		}},
	}
}
