// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// The kinds of record in the journal.
const (
	KindFlow       = "flow"
	KindIntent     = "intent"
	KindEvent      = "event"
	KindOutcome    = "outcome"
	KindDecision   = "decision"
	KindApproval   = "approval"
	KindElevation  = "elevation"
	KindPolicy     = "policy"
	KindConfig     = "config"
	KindAdmin      = "admin"
	KindGap        = "gap"
	KindCheckpoint = "checkpoint"
	KindOriginal   = "original"
)

// Record is one entry of the journal. Body is one of the types below, by value or pointer; it is encoded as JSON.
type Record struct {
	// Awaited says that the writer lets nothing depend on the record before it is on disk: so it need not be in the file
	// before, and many go there in one write.
	Awaited  bool
	Kind     string
	Time     time.Time
	Session  string
	Exchange string
	Body     any
}

// Intent is written, and durable, before the first body byte goes upstream.
type Intent struct {
	Flow        string          `json:"flow,omitempty"`
	Scope       string          `json:"scope"`
	Mode        Mode            `json:"mode"`
	Workload    Workload        `json:"workload"`
	Principal   Principal       `json:"principal"`
	Endpoint    Endpoint        `json:"endpoint"`
	Method      string          `json:"method"`
	Target      string          `json:"target"` // query values are cut out
	UserAgent   string          `json:"user_agent,omitempty"`
	Credential  string          `json:"credential,omitempty"` // keyed fingerprint
	Call        Call            `json:"call"`                 // Steps hold masked text
	Body        json.RawMessage `json:"body,omitempty"`       // the request, masked; absent if it is not JSON
	BodyBytes   int64           `json:"body_bytes"`
	BodySHA256  string          `json:"body_sha256,omitempty"` // of the bytes sent upstream; see Digest
	Masks       []Mask          `json:"masks,omitempty"`
	Policy      string          `json:"policy,omitempty"` // version of the policy that decided
	Uninspected string          `json:"uninspected,omitempty"`
	Parent      string          `json:"parent,omitempty"` // the exchange that this one goes on from
	Chain       uint64          `json:"chain,omitempty"`  // see Meta
	Opening     uint64          `json:"opening,omitempty"`

	// What Parent's record has word for word: so many messages, from the first, and the instructions and tools. Who copies contents need
	// not copy these again. 0 and false if it has not, or it is not known.
	Repeats   int  `json:"repeats,omitempty"`
	SameFrame bool `json:"same_frame,omitempty"`

	// Original is the request as it came, if Body is not: a record that is told to keeps it sealed to auditors, and no record keeps it
	// otherwise. Who reads the record gets SealedOriginal, or why it could not be sealed.
	Original        []byte          `json:"-"`
	SealedOriginal  json.RawMessage `json:"original,omitempty"`
	OriginalMissing string          `json:"original_missing,omitempty"`
}

// Digest is the SHA-256 of the bytes sent upstream, in hex, "" if it is not known. A record that holds these bytes as
// they are does not repeat their digest.
func (in *Intent) Digest() string {
	if in.BodySHA256 != "" || len(in.Body) == 0 || in.Uninspected != "" || len(in.Masks) > 0 || int64(len(in.Body)) != in.BodyBytes {
		return in.BodySHA256
	}
	sum := sha256.Sum256(in.Body)
	return hex.EncodeToString(sum[:])
}

// Decision is one verdict that changed something, or would have.
type Decision struct {
	ID       string  `json:"id"`
	Verdict  Verdict `json:"verdict"`
	Mode     Mode    `json:"mode"`
	Enforced bool    `json:"enforced"`
	Step     *Step   `json:"step,omitempty"` // with masked text and arguments
	Policy   string  `json:"policy,omitempty"`
	UID      uint32  `json:"uid"` // of the calling process: who may ask why
	Scope    string  `json:"scope,omitempty"`
	Model    string  `json:"model,omitempty"`
	Endpoint string  `json:"endpoint,omitempty"`
	SPIFFEID string  `json:"spiffe_id,omitempty"`
}

// Event is a piece of the reply, masked, as released to the application.
type Event struct {
	Seq   int    `json:"seq"`
	Bytes int    `json:"bytes"`
	Data  string `json:"data"`
}

// Pace is one release: when, in milliseconds after the intent, and how many bytes.
type Pace struct {
	At    int64 `json:"at"`
	Bytes int   `json:"bytes"`
}

// Usage is what the provider said it counted; nil where it said nothing.
type Usage struct {
	InputTokens  *int64 `json:"input_tokens,omitempty"`
	OutputTokens *int64 `json:"output_tokens,omitempty"`
	CachedTokens *int64 `json:"cached_tokens,omitempty"`
}

// Outcome closes an exchange.
type Outcome struct {
	Status         int      `json:"status"`
	Verdict        Verdict  `json:"verdict"` // the most severe one
	Decision       string   `json:"decision,omitempty"`
	Enforced       bool     `json:"enforced"`
	Cut            string   `json:"cut,omitempty"`        // why the reply did not end by itself: "client", "upstream", "agent", "error"
	CutReason      string   `json:"cut_reason,omitempty"` // what happened then, for people; no content
	ResponseID     string   `json:"response_id,omitempty"`
	ResponseModel  string   `json:"response_model,omitempty"`
	Finish         []string `json:"finish,omitempty"`
	Text           string   `json:"text,omitempty"`  // the masked text of the reply
	Tools          []Step   `json:"tools,omitempty"` // the tool calls of the reply, masked, refused ones included
	Masks          []Mask   `json:"masks,omitempty"`
	Usage          Usage    `json:"usage"`
	BytesReleased  int64    `json:"bytes_released"`
	DurationMS     int64    `json:"duration_ms"`
	FirstReleaseMS int64    `json:"first_release_ms,omitempty"`
	OverheadUS     int64    `json:"overhead_us"`        // time spent by us on the path, upstream waiting excluded
	HoldMS         int64    `json:"hold_ms,omitempty"`  // time spent waiting for people
	ReplyOf        string   `json:"reply_of,omitempty"` // the exchange whose reply this is: it had been kept, and the provider was not asked again
	Pace           []Pace   `json:"pace,omitempty"`

	Original        *Kept  `json:"original,omitempty"`         // what is kept of the reply as it came; its pieces are records of their own
	OriginalMissing string `json:"original_missing,omitempty"` // why nothing of it is kept, though something was masked
}

// Original is a piece of a reply as it came, sealed to auditors, who need all pieces. One of them has the key, sealed to them as
// well: the first that is recorded after something was masked. Without it nobody can ever read the others.
type Original struct {
	Seq   int             `json:"seq"`   // from 0
	Bytes int             `json:"bytes"` // of the reply, content coding removed
	Key   json.RawMessage `json:"key,omitempty"`
	Data  []byte          `json:"data,omitempty"`
}

// Kept says what is kept of a reply as it came.
type Kept struct {
	Pieces int    `json:"pieces"`
	Bytes  int64  `json:"bytes"`
	Cut    string `json:"cut,omitempty"` // why that is not all that came; "" if it is
}

// Why an original is not all of the reply that came.
const (
	KeptLimit       = "limit"        // as much is kept as the record takes of a reply
	KeptNotRecorded = "not_recorded" // the journal refused a piece
	KeptNotSealed   = "not_sealed"   // a piece could not be sealed
	KeptNotRead     = "not_read"     // the rest of the reply was not read, or passed without being inspected
)

// Why is an error in words for a record, of at most 300 bytes. Only for errors that hold no content.
func Why(err error) string {
	s := err.Error()
	return s[:min(len(s), 300)]
}

// Used is the usage of an exchange whose request had so many bytes. Where the provider did not say, it is estimated as one token
// for each four bytes of what was sent, and of what was answered; and also where the reply was cut, as the first word on it may be
// a number of tokens that the last would have corrected.
func (o *Outcome) Used(bodyBytes int64) Usage {
	u := o.Usage
	if o.unasked() {
		return u
	}
	if u.InputTokens == nil {
		in := bodyBytes / 4
		u.InputTokens = &in
	}
	if u.OutputTokens == nil || o.Cut != "" {
		n := int64(len(o.Text))
		for i := range o.Tools {
			n += int64(len(o.Tools[i].Args))
		}
		n /= 4
		if u.OutputTokens == nil || *u.OutputTokens < n {
			u.OutputTokens = &n
		}
	}
	return u
}

// Estimated tells of what Used gave whether it is, in part, an estimate: the provider left out what went in or what came out, or the
// reply was cut, so that what the provider had said by then was not its last word, also where it is what counts. Nothing that is
// counted as nothing is an estimate. Whoever shows usage marks it by this, and by nothing else.
func (o *Outcome) Estimated(used Usage) bool {
	counts := func(n *int64) bool { return n != nil && *n > 0 }
	if o.unasked() || !counts(used.InputTokens) && !counts(used.OutputTokens) {
		return false
	}
	return o.Usage.InputTokens == nil || o.Usage.OutputTokens == nil || o.Cut != ""
}

// unasked tells whether the provider was asked nothing in this exchange.
func (o *Outcome) unasked() bool {
	if o.ReplyOf != "" { // the exchange that the provider was asked in counts
		return true
	}
	return o.Status == 403 && o.ResponseID == "" && o.BytesReleased > 0 && o.Verdict.Action >= Hold // refused before it was sent
}

// Flow is a connection that carried no recorded exchange: missed, passed or refused.
type Flow struct {
	ID          string    `json:"id"`
	Disposition string    `json:"disposition"` // "missed", "passed", "refused", "untrusted", FlowOlder, FlowCut
	Reason      string    `json:"reason,omitempty"`
	Scope       string    `json:"scope,omitempty"`
	Mode        Mode      `json:"mode"`
	Workload    Workload  `json:"workload"`
	Principal   Principal `json:"principal"`
	SNI         string    `json:"sni,omitempty"`
	Dest        string    `json:"dest,omitempty"`
	BytesUp     int64     `json:"bytes_up,omitempty"`
	BytesDown   int64     `json:"bytes_down,omitempty"`
	Count       int64     `json:"count,omitempty"` // for misses, which are aggregated
	Older       *Older    `json:"older,omitempty"` // of FlowOlder and FlowCut
}

// Gap says that something may be missing.
type Gap struct {
	Reason string `json:"reason"`
	Bytes  int64  `json:"bytes,omitempty"`
	Count  int64  `json:"count,omitempty"`
}
