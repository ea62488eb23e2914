// SPDX-License-Identifier: Apache-2.0

// Package llm is what providers' protocols have in common: a Codec reads requests and replies of one operation into
// the words of package pipeline and tells where in the bytes each text and tool call stands, so that what must change
// is spliced and the rest stays as it was. Codecs live in one folder per provider; a Registry finds them.
package llm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// ErrNotInspected is wrapped by errors that mean: this cannot be understood surely, so it is not inspected.
var ErrNotInspected = errors.New("not inspected")

// NotInspected makes an error that wraps ErrNotInspected and says why.
func NotInspected(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNotInspected}, args...)...)
}

// Codec understands one operation of one provider's protocol. It holds no state and may be used by many goroutines.
// What it cannot understand surely is an error that wraps ErrNotInspected.
type Codec interface {
	// Request decodes a whole request body into r. What r holds may point into body, strings too: they change if it does.
	Request(body []byte, r *Request) error
	// Reply decodes a whole JSON reply of success into c.
	Reply(body []byte, c *Chunk) error
	// Event decodes the data of one stream event into c.
	Event(name, data []byte, c *Chunk) error
	// Framing tells how a stream of replies is cut into events.
	Framing() Framing
	// AppendText appends a framed stream event, or several, that adds text to a choice, in a block of that number where the
	// protocol numbers blocks. like is the data of an event of the same stream, from which its identity is taken; it may be nil.
	AppendText(dst []byte, like []byte, choice, block int, text string) []byte
	// AppendBlock appends the JSON of the same block, whole: an element of the array Choice.Calls where Choice.Blocks is set. Codecs
	// that never set it append nothing.
	AppendBlock(dst []byte, block int, text string) []byte
	// AppendPing appends a framed stream event that the provider's clients parse, and that adds nothing: it keeps them from
	// giving up while something is held. like is as in AppendText.
	AppendPing(dst []byte, like []byte) []byte
	// Stop is the JSON of the finish reason of a message that ended by itself.
	Stop() string
	Failer
}

// Framing is how a stream is cut into events.
type Framing uint8

// The framings.
const (
	SSE    Framing = iota // server-sent events
	NDJSON                // a JSON value a line
)

// Failer writes errors in a provider's own form.
type Failer interface {
	// AppendFailure appends the body (JSON) of an error reply.
	AppendFailure(dst []byte, f Failure) []byte
	// AppendFailureEvent appends a framed stream event that the provider's clients take for an error.
	AppendFailureEvent(dst []byte, f Failure) []byte
}

// Failure is an error for the application.
type Failure struct {
	Code    string // "sallyport_denied" and the like
	Message string // one line, for people
}

// Text is one string of a request that may hold something to be masked.
type Text struct {
	At    Span   // of the JSON string, quotes included
	Value []byte // decoded
	Key   []byte // of the member that it is, or is in, where that may tell what it is
	Step  int    // index in Call.Steps, or -1
	Args  bool   // arguments of a tool call, themselves JSON
	Raw   bool   // At is a JSON value that stands there as it is, not as a JSON string; with Args only
	Name  bool   // it is the key of a member itself
	Word  bool   // it steers the call, as the name of a tool does: it is masked on record only, and only if it is a secret
}

// Offer is one tool that a request offers to the model, as it stands in the body. Offers are in the order of the body.
type Offer struct {
	Step int  // index in Call.Steps of the offer
	At   Span // of the element
	List int  // index in Request.Lists of the array that it is an element of
}

// List is an array of offers in a request's body.
type List struct {
	Key int  // offset of the member's key
	At  Span // of the member that holds the array, with one comma if there is one
	Of  Span // of the array
}

// Request is a decoded request. Texts are in the order of the body.
type Request struct {
	Call   pipeline.Call
	Texts  []Text
	Offers []Offer
	Lists  []List
	// Choice is the member that tells the model which tool to use ("tool_choice" and the like), with one comma if there is one; empty if
	// absent. Chosen is the one tool that it demands, "" if it demands none by name. It makes no sense once that tool, or
	// every tool, is out of the offer.
	Choice Span
	Chosen string
	// MaxTokens is the most tokens that the request lets the model write; 0 if it does not say.
	MaxTokens int64
}

// Reset empties a request for reuse. Call.Steps is not reused, as others may keep it.
func (r *Request) Reset() {
	clear(r.Texts)
	*r = Request{Texts: r.Texts[:0], Offers: r.Offers[:0], Lists: r.Lists[:0]}
}

// Piece is some text of a reply. In a stream, the pieces with the same choice and lane, one after the other, are one
// text.
type Piece struct {
	Choice int    // -1: of no choice
	Lane   string // "content", "refusal", … or a path
	At     Span   // of the JSON string, quotes included
	Text   []byte // decoded; valid as long as the data and the chunk
	// Carrier is what the text is, one of pipeline.Carriers; "" is that of metadata.
	Carrier string
	Key     []byte // of the member that it is, or is in, where that may tell what it is; valid like Text
	Name    bool   // it is the key of a member itself
	Whole   bool   // a text by itself, also in a stream
	Answer  bool   // part of what the model says to the application: policy looks at it, and the outcome keeps it
	// Repeat: it says again, whole, what the pieces of this choice and lane said, after them. It is masked as they were and not
	// counted. If there were none, it is the text itself. With Answer, a text that differs from the pieces is refused.
	Repeat bool
}

// Word is one of the provider's own words, or an ID, that looks like one. It is no text: it is masked only if it is a secret.
type Word struct {
	At   Span   // of the JSON string, quotes included
	Text []byte // decoded; valid as long as the data and the chunk
}

// End says that a text of a stream ends with an event, though its choice goes on.
type End struct {
	Choice int
	Lane   string
}

// ToolPiece is a tool call, or a piece of one.
type ToolPiece struct {
	Choice int
	Index  int // place among the calls of the choice, or number of the block; -1 for the single call of an older form
	ID     string
	Name   string
	Args   []byte // decoded; valid as long as the data and the chunk
	ArgsAt Span   // of the JSON string, quotes included; empty if there is none
	At     Span   // of the element in the array of calls; the whole value for the older form
	Raw    bool   // ArgsAt is a JSON value that stands there as it is, not as a JSON string

	Complete   bool // no further piece of the call comes; without anything else in it, it may also be the end of a block that is no call
	Repeat     bool // the call again, whole, after its pieces; other words than theirs are refused
	ByProvider bool // the provider has run it already: it cannot be taken back, so a reply in which it is refused is refused
	Event      bool // the whole event is about this call alone: it goes if the call goes
}

// Place is the number that a block, or item, of an answer has in an event. Where a tool call that was a block is removed, the
// numbers of those behind it move up. Blocks must begin in the order of their numbers, as far as they are tool calls.
type Place struct {
	Choice int
	Number int
	At     Span // of the JSON number
}

// Choice is what a reply, or an event, says about one of the alternative answers. An event that has pieces, calls, ends or places
// of a choice names the choice too: it waits for the events before it that do.
type Choice struct {
	Index    int
	Finish   string // "" if it goes on
	FinishAt Span   // of the value; empty if absent
	Tokens   Span   // of token numbers, if they are there and not null: they repeat the text, and come with its end
	Content  Span   // of the value of the message's text, null included; empty if absent
	Calls    Span   // of the array of tool calls; empty if absent
	CallsAt  Span   // of the member that holds it, with one comma if there is one
	CallsKey int    // offset of the member's key
	Other    bool   // the message or delta says more than its tool calls
	Blocks   bool   // Calls is the array of all blocks of the answer, of which tool calls are some; CallsAt and CallsKey are not used
}

// Chunk is a decoded reply, or event of one.
type Chunk struct {
	ID, Model string
	Done      bool // the end of the stream
	Error     bool // the provider reports an error
	HasUsage  bool
	Usage     pipeline.Usage
	Pieces    []Piece
	Words     []Word // those that are more than plain letters
	Tools     []ToolPiece
	Choices   []Choice
	Ends      []End
	Places    []Place
	Probs     []Prob     // tokens of all lists
	Lists     []ProbList // of log probabilities
	Scanner   Scanner    // for the codec
	words     [8]string
	nextWord  int
}

// Word returns text as a string; words that a stream repeats in each event are made only once.
func (c *Chunk) Word(text []byte) string {
	for _, w := range c.words {
		if w == string(text) {
			return w
		}
	}
	w := string(text)
	c.words[c.nextWord%len(c.words)] = w
	c.nextWord++
	return w
}

// Reset empties a chunk for reuse.
func (c *Chunk) Reset() {
	clear(c.Pieces)
	clear(c.Words)
	clear(c.Tools)
	clear(c.Probs)
	*c = Chunk{Pieces: c.Pieces[:0], Words: c.Words[:0], Tools: c.Tools[:0], Choices: c.Choices[:0], Ends: c.Ends[:0], Places: c.Places[:0], Probs: c.Probs[:0],
		Lists: c.Lists[:0], Scanner: c.Scanner, words: c.words, nextWord: c.nextWord}
	c.Scanner.data = nil
}

// Strings makes a piece of every string of a JSON text, for replies that no codec knows, such as errors.
func (c *Chunk) Strings(body []byte) error {
	if err := c.Scanner.Reset(body); err != nil {
		return err
	}
	if err := c.Aside(pipeline.CarrierError); err != nil {
		return err
	}
	return c.Scanner.End()
}

// MinText is the length in bytes below which a string that is whole can hold nothing to be masked.
const MinText = 4

// MinSaid is the length in bytes below which a string beside what is said to the model is taken for a word of the protocol.
const MinSaid = 6

// Provider finds the codec of a request to one kind of endpoint.
type Provider interface {
	Failer
	// Codec fails with an error that wraps ErrNotInspected for requests that it does not know.
	Codec(e *pipeline.Endpoint, h *pipeline.Head) (Codec, error)
}

// Registry maps the protocol of an endpoint to its provider. It is a plain value; do not change it once in use.
type Registry map[string]Provider

// For finds the codec of a request. The error wraps ErrNotInspected.
func (r Registry) For(e *pipeline.Endpoint, h *pipeline.Head) (Codec, error) {
	p, ok := r[e.Protocol]
	if !ok {
		return nil, NotInspected("the protocol of endpoint %s (%s) is not decoded", e.Name, e.Protocol)
	}
	for i := range h.Fields { // a server may look at any of several
		if enc := h.Fields[i].Value; strings.EqualFold(h.Fields[i].Name, "Content-Encoding") && enc != "" && !strings.EqualFold(enc, "identity") {
			return nil, NotInspected("request in content coding %q", enc)
		}
	}
	return p.Codec(e, h)
}

// Failer gives the error forms of an endpoint's protocol, nil if the protocol is unknown.
func (r Registry) Failer(e *pipeline.Endpoint) Failer {
	if p, ok := r[e.Protocol]; ok {
		return p
	}
	return nil
}
