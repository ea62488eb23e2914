// SPDX-License-Identifier: Apache-2.0

package document

import (
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// otherFields are those that exchanges do not have.
func otherFields() []Field {
	return []Field{
		{"sallyport.content.part", long, contents, "Number of the document among those of the exchange, from 1.", func(s *source) any { return int64(s.part.number) }},
		{"sallyport.content.parts", long, contents, "How many documents the exchange has.", func(s *source) any { return int64(s.parts) }},
		{"sallyport.content.bytes", long, contents, "Bytes of text in this document.", func(s *source) any { return int64(s.part.bytes) }},
		{"sallyport.content.request", long, contents, "How many of `sallyport.messages`, over all documents of the exchange, are of the request; those behind are the reply.", func(s *source) any { return int64(s.whole.here) }},
		{"sallyport.content.earlier", keyword, contents, "The exchange of this session whose documents, with those that they name in turn, have what is left out here, because that was asked before word for word; absent if nothing is.", func(s *source) any { return s.whole.earlier }},
		{"sallyport.content.repeats", long, contents, "How many messages are left out: the first ones of the conversation, instructions and tools not counted.", func(s *source) any { return nonzero(int64(s.whole.repeats)) }},
		{"sallyport.content.same_frame", boolean, contents, "Instructions and offered tools are left out; they are those of the earlier exchange.", func(s *source) any {
			if !s.whole.sameFrame {
				return nil
			}
			return true
		}},
		{"sallyport.content.digest", keyword, contents, "SHA-256 of the request as it is put together again; see elasticsearch.md.", func(s *source) any { return s.whole.digest }},
		{"sallyport.text.prompt", text, contents, "What was said to the model: prompts, instructions, input of embeddings. What was said before in the session is in the documents of the exchange that said it first.", func(s *source) any { return s.part.texts[textPrompt] }},
		{"sallyport.text.response", text, contents, "What the model answered.", func(s *source) any { return s.part.texts[textResponse] }},
		{"sallyport.text.tool_offer", text, contents, "Descriptions of the tools that were offered.", func(s *source) any { return s.part.texts[textOffer] }},
		{"sallyport.text.tool_arguments", text, contents, "Names and values in the arguments of tool calls.", func(s *source) any { return s.part.texts[textArguments] }},
		{"sallyport.text.tool_result", text, contents, "Results of tools that were sent to the model.", func(s *source) any { return s.part.texts[textResult] }},
		{"sallyport.messages", opaque, contents, "What is in this document, in order: `kind`, `name`, `id`, `index`, and `text` or `args` as they were; `piece` of `pieces` if one message is cut. Not indexed.", func(s *source) any { return s.part.messages }},

		{"event.action", keyword, decisions, "`decision`, `approval` or `elevation`.", func(s *source) any { return s.rec.Kind }},
		{"sallyport.decision.id", keyword, decisions, "ID of the decision.", func(s *source) any {
			switch {
			case s.decision != nil:
				return s.decision.ID
			case s.approval.Asked != nil:
				return s.approval.Asked.Decision
			}
			return nil
		}},
		{"gen_ai.tool.name", keyword, decisions, "Name of the tool.", func(s *source) any { return s.tool() }},
		{"user.id", keyword, decisions, "User ID of the process, or of who decided.", func(s *source) any { return s.actor() }},
		{"sallyport.approval.state", keyword, decisions, "State of the approval or elevation after it; `snapshot` for a record that only repeats.", func(s *source) any { return s.asked(func(a *pipeline.Approval) any { return state(a) }) }},
		{"sallyport.approval.kind", keyword, decisions, "What is asked: `toolCall`, `request`, `response`, `elevation`.", func(s *source) any { return s.question(func(q *pipeline.ApprovalAsked) any { return q.Of }) }},
		{"sallyport.approval.approvers", keyword, decisions, "Groups that may decide.", func(s *source) any {
			return s.question(func(q *pipeline.ApprovalAsked) any { return q.Settings.Approvers })
		}},
		{"sallyport.approval.minimum", long, decisions, "How many people have to approve.", func(s *source) any {
			return s.question(func(q *pipeline.ApprovalAsked) any { return nonzero(int64(q.Settings.Minimum)) })
		}},
		{"sallyport.approval.requester", keyword, decisions, "Who asks for an elevation.", func(s *source) any {
			return s.question(func(q *pipeline.ApprovalAsked) any {
				if q.Requester == nil {
					return nil
				}
				return q.Requester.User
			})
		}},
		{"sallyport.approval.role", keyword, decisions, "The role that is asked for.", func(s *source) any { return s.question(func(q *pipeline.ApprovalAsked) any { return q.Role }) }},
		{"sallyport.approval.voter", keyword, decisions, "Who decided.", func(s *source) any { return s.vote(func(v *pipeline.ApprovalVote) any { return v.By.User }) }},
		{"sallyport.approval.vote", keyword, decisions, "`approve` or `deny`.", func(s *source) any {
			return s.vote(func(v *pipeline.ApprovalVote) any {
				if v.Approve {
					return "approve"
				}
				return "deny"
			})
		}},
		{"sallyport.approval.vote_scope", keyword, decisions, "How far it reaches: `once` or `session`.", func(s *source) any { return s.vote(func(v *pipeline.ApprovalVote) any { return v.Scope }) }},
		{"sallyport.approval.late", boolean, decisions, "Nobody waited for it any more.", func(s *source) any { return s.vote(func(v *pipeline.ApprovalVote) any { return v.Late }) }},
		{"sallyport.approval.for_s", long, decisions, "For how many seconds it was given, or asked.", func(s *source) any {
			if v := s.vote(func(v *pipeline.ApprovalVote) any { return nonzero(int64(v.For / time.Second)) }); v != nil {
				return v
			}
			return s.question(func(q *pipeline.ApprovalAsked) any { return nonzero(int64(q.For / time.Second)) })
		}},
		{"sallyport.approval.use", keyword, decisions, "The exchange that used it.", func(s *source) any {
			return s.asked(func(a *pipeline.Approval) any {
				if a.Used == nil {
					return nil
				}
				return a.Used.Exchange
			})
		}},

		{"event.action", keyword, flows, "What became of the connection: `missed`, `passed`, `refused`, `untrusted`, `older`, `cut`; or `gap`.", func(s *source) any {
			if s.gap != nil {
				return pipeline.KindGap
			}
			return s.flow.Disposition
		}},
		{"event.reason", keyword, flows, "Why, for people.", func(s *source) any {
			if s.gap != nil {
				return s.gap.Reason
			}
			return s.flow.Reason
		}},
		{"sallyport.flow.disposition", keyword, flows, "What became of the connection.", ofFlow(func(f *pipeline.Flow) any { return f.Disposition })},
		{"sallyport.flow.count", long, flows, "How many connections this stands for.", ofFlow(func(f *pipeline.Flow) any { return max(f.Count, 1) })},
		{"sallyport.flow.bytes_up", long, flows, "Bytes to the server.", ofFlow(func(f *pipeline.Flow) any { return nonzero(f.BytesUp) })},
		{"sallyport.flow.bytes_down", long, flows, "Bytes from the server.", ofFlow(func(f *pipeline.Flow) any { return nonzero(f.BytesDown) })},
		{"tls.client.server_name", keyword, flows, "The name that the client asked for.", func(s *source) any { return s.sni() }},
		{"destination.address", keyword, flows, "Where it went, or would have gone.", ofFlow(func(f *pipeline.Flow) any { return f.Dest })},
		{"sallyport.older.action", keyword, flows, "Of a connection that was there before its scope: what the scope wants, `cut` or `list`.", ofOlder(func(o *pipeline.Older) any { return o.Action })},
		{"sallyport.older.ended", keyword, flows, "How it ended.", ofOlder(func(o *pipeline.Older) any { return o.Ended })},
		{"sallyport.older.how", keyword, flows, "How it was cut.", ofOlder(func(o *pipeline.Older) any { return o.How })},
		{"sallyport.older.source", keyword, flows, "Who listed it: `kernel` or `proc`.", ofOlder(func(o *pipeline.Older) any { return o.Source })},
		{"sallyport.older.waited_ms", long, flows, "Milliseconds from when it was found until it ended.", ofOlder(func(o *pipeline.Older) any { return nonzero(o.WaitedMS) })},
		{"sallyport.gap.bytes", long, flows, "Bytes that may be missing.", ofGap(func(g *pipeline.Gap) any { return nonzero(g.Bytes) })},
		{"sallyport.gap.count", long, flows, "Things that may be missing.", ofGap(func(g *pipeline.Gap) any { return nonzero(g.Count) })},

		{"event.action", keyword, admins, "What was done, such as `policy`, `record.erase`, `session.read`.", func(s *source) any { return s.action.name(s.rec.Kind) }},
		{"event.reason", keyword, admins, "Why, for people.", func(s *source) any { return s.action.Reason }},
		{"user.id", keyword, admins, "User ID of who did it.", func(s *source) any { return s.action.uid() }},
		{"sallyport.admin.target", keyword, admins, "To what it was done.", func(s *source) any { return s.action.target() }},
		{"sallyport.admin.subject", keyword, admins, "Whose records it is about: a session or a principal.", func(s *source) any { return unique(s.action.Session, s.action.Principal) }},
		{"sallyport.admin.detail", opaque, admins, "The record as JSON, in a string, as far as it fits into 64 KiB. Not indexed.", func(s *source) any { return s.action.detail }},

		{"event.action", keyword, agents, "`open`, `checkpoint`, or the kind of a record that this version does not know.", func(s *source) any { return s.rec.Kind }},
		{"sallyport.checkpoint.reason", keyword, agents, "Why it was written.", ofCheckpoint(func(c *journal.Checkpoint) any { return c.Reason })},
		{"sallyport.anchor.boot", keyword, agents, "Boot ID of the host.", ofCheckpoint(func(c *journal.Checkpoint) any { return c.Boot })},
		{"sallyport.anchor.generation", long, agents, "Generation of the writer.", ofCheckpoint(func(c *journal.Checkpoint) any { return int64(c.Generation) })},
		{"sallyport.anchor.sequence", long, agents, "Number of the last record that it covers.", ofCheckpoint(func(c *journal.Checkpoint) any { return int64(c.Sequence) })},
		{"sallyport.anchor.head", keyword, agents, "Hash of that record.", ofCheckpoint(func(c *journal.Checkpoint) any { return c.Head.String() })},
		{"sallyport.anchor.journal", keyword, agents, "Names the journal for good.", ofSigned(func(s *journal.Signature) any { return s.Journal })},
		{"sallyport.anchor.epoch", long, agents, "Number of the signing key, from 0.", ofSigned(func(s *journal.Signature) any { return int64(s.Epoch) })},
		{"sallyport.anchor.time", keyword, agents, "When it was signed: as signed, so a keyword.", ofSigned(func(s *journal.Signature) any { return s.Time.UTC().Format(time.RFC3339Nano) })},
		{"sallyport.anchor.key", keyword, agents, "Public key of the epoch.", ofSigned(func(s *journal.Signature) any { return s.Key })},
		{"sallyport.anchor.next", keyword, agents, "That of the following epoch.", ofSigned(func(s *journal.Signature) any { return s.Next })},
		{"sallyport.anchor.signature", keyword, agents, "The signature.", ofSigned(func(s *journal.Signature) any { return s.Value })},
	}
}

func ofFlow(get func(*pipeline.Flow) any) func(*source) any {
	return func(s *source) any {
		if s.flow == nil {
			return nil
		}
		return get(s.flow)
	}
}

func ofOlder(get func(*pipeline.Older) any) func(*source) any {
	return func(s *source) any {
		if s.flow == nil || s.flow.Older == nil {
			return nil
		}
		return get(s.flow.Older)
	}
}

func ofGap(get func(*pipeline.Gap) any) func(*source) any {
	return func(s *source) any {
		if s.gap == nil {
			return nil
		}
		return get(s.gap)
	}
}

func ofCheckpoint(get func(*journal.Checkpoint) any) func(*source) any {
	return func(s *source) any {
		if s.checkpoint == nil {
			return nil
		}
		return get(s.checkpoint)
	}
}

func ofSigned(get func(*journal.Signature) any) func(*source) any {
	return ofCheckpoint(func(c *journal.Checkpoint) any {
		if c.Signed == nil {
			return nil
		}
		return get(c.Signed)
	})
}

func (s *source) asked(get func(*pipeline.Approval) any) any {
	if s.approval == nil {
		return nil
	}
	return get(s.approval)
}

func (s *source) question(get func(*pipeline.ApprovalAsked) any) any {
	if s.approval == nil || s.approval.Asked == nil {
		return nil
	}
	return get(s.approval.Asked)
}

func (s *source) vote(get func(*pipeline.ApprovalVote) any) any {
	if s.approval == nil || s.approval.Voted == nil {
		return nil
	}
	return get(s.approval.Voted)
}

func state(a *pipeline.Approval) string {
	if a.ID == "" || len(a.Votes) > 0 || len(a.Uses) > 0 {
		return "snapshot"
	}
	return a.State
}

// tool is the name of the tool that a decision or an approval is about.
func (s *source) tool() string {
	switch {
	case s.decision != nil && s.decision.Step != nil:
		return s.decision.Step.Name
	case s.approval != nil && s.approval.Asked != nil && s.approval.Asked.Step != nil:
		return s.approval.Asked.Step.Name
	}
	return ""
}

// actor is the user ID of who called, or decided.
func (s *source) actor() string {
	switch {
	case s.decision != nil:
		return strconv.FormatUint(uint64(s.decision.UID), 10)
	case s.approval != nil && s.approval.Voted != nil && s.approval.Voted.By.UID != pipeline.NoUID:
		return strconv.FormatUint(uint64(s.approval.Voted.By.UID), 10)
	}
	return ""
}
