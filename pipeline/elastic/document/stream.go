// SPDX-License-Identifier: Apache-2.0

package document

import "github.com/sallyport-dev/sallyport/pipeline"

// Stream is one data stream, for each namespace.
type Stream struct {
	Name   string // the last part of its dataset
	Class  string // which lifecycle policy it is under: "metadata", "content", "admin"
	Doc    string // what it holds: a sentence
	member set
}

// set is a set of streams.
type set uint8

const (
	exchanges set = 1 << iota
	contents
	decisions
	flows
	admins
	agents
	all = exchanges | contents | decisions | flows | admins | agents
)

// The names of the streams.
const (
	Exchange = "exchange"
	Content  = "content"
	Decision = "decision"
	Flow     = "flow"
	Admin    = "admin"
	Agent    = "agent"
)

// Streams lists all of them.
func Streams() []Stream {
	return []Stream{
		{Exchange, ClassMetadata, "One document for each exchange that has ended: who asked what of whom, what was decided, what it took. No prompt, reply or tool argument.", exchanges},
		{Content, ClassContent, "What was said in an exchange, masked: prompts, replies, arguments and results of tools. A long exchange has several documents.", contents},
		{Decision, ClassMetadata, "Decisions, and what became of approvals and elevations, without the contents that they are about.", decisions},
		{Flow, ClassMetadata, "Connections that carried no recorded exchange, and gaps: where something may be missing.", flows},
		{Admin, ClassAdmin, "What administrators did, and changes of policy and configuration.", admins},
		{Agent, ClassAdmin, "Starts of the agent and checkpoints of the journal. Signed checkpoints are anchors.", agents},
	}
}

// Dataset is the name without type and namespace.
func (s *Stream) Dataset() string { return "sallyport." + s.Name }

// Template is the name of its index template.
func (s *Stream) Template() string { return "logs-" + s.Dataset() }

// Index is the name of the data stream.
func (s *Stream) Index(namespace string) string { return s.Template() + "-" + namespace }

// Index is the name of a data stream; name is one of the constants.
func Index(name, namespace string) string { return "logs-sallyport." + name + "-" + namespace }

// Pattern matches the data streams of a namespace.
func Pattern(namespace string) string { return "logs-sallyport.*-" + namespace }

// Route says which record goes where: the stream of a kind. "": it makes no document of its own, as it is part of that of its
// exchange, which is made when the outcome comes; that makes the documents of contents as well. Originals are in none. A kind that is not known goes to the
// agent's stream, without its body.
func Route(kind string) string {
	switch kind {
	case pipeline.KindIntent, pipeline.KindEvent, pipeline.KindOriginal:
		return ""
	case pipeline.KindOutcome:
		return Exchange
	case pipeline.KindDecision, pipeline.KindApproval, pipeline.KindElevation:
		return Decision
	case pipeline.KindFlow, pipeline.KindGap:
		return Flow
	case pipeline.KindAdmin, pipeline.KindPolicy, pipeline.KindConfig:
		return Admin
	}
	return Agent // journal.KindOpen, pipeline.KindCheckpoint
}
