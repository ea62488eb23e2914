// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// sealers makes sealers that only hide what they are given, and remembers them.
type sealers struct {
	all    []*hider
	fails  string // "begin", "piece", "key" or "close" panic; "no key" is an error
	before func() // called before each piece
}

type hider struct {
	of       *sealers
	exchange string
	n        int
	keys     int
	ended    bool
	closed   bool
}

func (s *sealers) begin(exchange string) flow.Sealer {
	s.panics("begin")
	h := &hider{of: s, exchange: exchange}
	s.all = append(s.all, h)
	return h
}

func (s *sealers) panics(at string) {
	if s.fails == at {
		panic(secret + " in a panic")
	}
}

func (h *hider) Key() ([]byte, error) {
	h.of.panics("key")
	if h.keys++; h.of.fails == "no key" {
		return nil, errors.New("no recipient takes it")
	}
	return json.Marshal(h.exchange)
}

func (h *hider) Piece(dst, plain []byte, last bool) []byte {
	if h.of.before != nil {
		h.of.before()
	}
	if h.ended || h.closed {
		panic("a piece after the end")
	}
	if h.n > 0 {
		h.of.panics("piece")
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.n))
	h.n++
	if h.ended = last; last {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	for _, c := range plain {
		dst = append(dst, ^c)
	}
	return dst
}

func (h *hider) Close() {
	h.closed = true
	h.of.panics("close")
}

// original puts the pieces on record together: whole says that the last of them is the last of the reply, and key that they can be read.
func (r *rig) original() (b []byte, whole, key bool) {
	r.t.Helper()
	outcome := false
	n := 0
	for _, e := range r.log.Entries {
		if e.Kind == pipeline.KindOutcome {
			outcome = true
		}
		if e.Kind != pipeline.KindOriginal {
			continue
		}
		var p pipeline.Original
		if err := json.Unmarshal(e.JSON, &p); err != nil {
			r.t.Fatal(err)
		}
		switch {
		case outcome:
			r.t.Error("a piece follows the outcome")
		case whole || p.Seq != n || int(binary.LittleEndian.Uint32(p.Data)) != n:
			r.t.Errorf("piece %d is in the place of %d", p.Seq, n)
		case key && p.Key != nil:
			r.t.Error("a second key")
		case p.Bytes != len(p.Data)-5 || p.Bytes > 64<<10:
			r.t.Errorf("%d bytes of %d", p.Bytes, len(p.Data))
		}
		n++
		key, whole = key || p.Key != nil, p.Data[4] == 1
		for _, c := range p.Data[5:] {
			b = append(b, ^c)
		}
	}
	return b, whole, key
}

// longReply is a stream of about so many bytes in which the last word is masked, or none.
func longReply(size int, last string) string {
	var b strings.Builder
	for b.Len() < size {
		b.WriteString(text(0, "word "))
	}
	return b.String() + text(0, last) + stopped
}

// unseen checks that the journal and the log of failures have a value nowhere.
func (r *rig) unseen(value string) {
	r.t.Helper()
	for _, e := range r.log.Entries {
		if bytes.Contains(e.JSON, []byte(value)) {
			r.t.Errorf("%s: it is on record", e.Kind)
		}
	}
	if strings.Contains(strings.Join(r.notes, " "), value) {
		r.t.Errorf("it is in a notice: %q", r.notes)
	}
}

// The original of a reply is what the provider sent, if something in it was masked. Nothing else changes.
func TestReplyOriginal(t *testing.T) {
	long, masks := longReply(300<<10, secret), true
	for _, c := range []struct {
		name  string
		kind  string
		reply string
		kept  bool
		noise bool   // pieces are recorded without a key
		cut   string // of the original
	}{
		{"stream", "text/event-stream", text(0, "key "+secret[:9]) + text(0, secret[9:]+" ok") + stopped, masks, false, ""},
		{"stream, arguments", "text/event-stream", argsEvent(true, `{"a":"`+secret) + argsEvent(false, `"}`) + called, masks, false, ""},
		{"stream of many pieces", "text/event-stream", long, masks, false, ""},
		{"stream with the mask first", "text/event-stream", text(0, secret+" ") + long, masks, false, ""},
		{"stream with the mask after what is held", "text/event-stream", longReply(2<<20, secret), masks, false, ""},
		{"stream with nothing masked", "text/event-stream", text(0, "hi") + stopped, false, false, ""},
		{"long stream with nothing masked", "text/event-stream", longReply(300<<10, "end"), false, false, ""},
		{"longer stream with nothing masked", "text/event-stream", longReply(2<<20, "end"), false, true, ""},
		{"comment", "text/event-stream", ": " + secret + "\n\n" + text(0, "hi") + stopped, masks, false, ""},
		{"whole", "application/json", completion("key " + secret), masks, false, ""},
		{"whole of many pieces", "application/json", completion(strings.Repeat("words ", 40<<10) + secret), masks, false, ""},
		{"whole with nothing masked", "application/json", completion("hi"), false, false, ""},
		{"error", "application/json", `{"error":{"message":"no ` + secret + `"}}`, masks, false, ""},
		{"error in words", "text/plain", "no " + secret, masks, false, ""},
		{"refused for what it holds", "text/event-stream", text(0, "it is "+endsAll) + stopped, masks, false, pipeline.KeptNotRead},
		{"whole, refused for what it holds", "application/json", completion("it is " + endsAll), masks, false, ""},
	} {
		for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
			for _, coding := range []string{"", "gzip"} {
				t.Run(c.name+"/"+mode.String()+"/"+coding, func(t *testing.T) {
					run := func(begin func(string) flow.Sealer) (*rig, bool) {
						request, status, sent := plain, 200, c.reply
						if c.kind == "text/event-stream" {
							request = asked
						} else if strings.HasPrefix(c.name, "error") {
							status = 400
						}
						if coding != "" {
							sent = encode(t, coding, sent)
						}
						r := newRig(t, mode, request).reply(status, c.kind, split(sent, 30_000)...)
						if coding != "" {
							r.up.Head.Set("Content-Encoding", coding)
						}
						r.opts.Masker, r.opts.Originals = strict{Masker: r.opts.Masker.(fakes.Masker)}, begin
						return r, r.serve() == nil
					}
					s := &sealers{}
					r, ok := run(s.begin)
					without, wok := run(nil)
					if a, b := unnamed(string(r.client.Got)), unnamed(string(without.client.Got)); a != b || ok != wok {
						t.Errorf("the application gets %q, without originals %q", a, b)
					}
					if b, _, _ := without.original(); b != nil || without.outcome().Original != nil || strings.Contains(strings.Join(without.log.Kinds(), " "), pipeline.KindOriginal) {
						t.Error("it is kept though nobody wants it")
					}
					r.unseen(secret)
					r.unseen(endsAll)
					b, whole, key := r.original()
					out := r.outcome()
					switch {
					case !c.kept && (key || out.Original != nil || c.noise != (len(b) > 0)):
						t.Errorf("%d bytes are on record, key %t, %+v", len(b), key, out.Original)
					case c.kept && (string(b) != c.reply || !whole || !key || out.Original == nil):
						t.Errorf("%d bytes are on record of %d, whole %t, key %t, %+v", len(b), len(c.reply), whole, key, out.Original)
					case c.kept && (out.Original.Bytes != int64(len(b)) || out.Original.Cut != c.cut && coding == "" || // else the end came with the rest
						coding != "" && out.Original.Cut != "" || out.OriginalMissing != ""):
						t.Errorf("%+v %s", out.Original, out.OriginalMissing)
					}
					for _, h := range s.all {
						if !h.closed || h.exchange != r.meta.Exchange || h.keys > 1 || !c.kept && h.keys > 0 {
							t.Errorf("%+v", h)
						}
					}
					if want := c.kept || c.kind == "text/event-stream"; (len(s.all) == 1) != want || len(s.all) > 1 {
						t.Errorf("%d were begun", len(s.all))
					}
				})
			}
		}
	}
}

// A reply that ends early, or is longer than what is kept of one: there is what came, and it is said what is not there.
func TestReplyOriginalCut(t *testing.T) {
	pieces := split(text(0, "key "+secret+" and ")+longReply(300<<10, "end"), 10_000)
	all := strings.Join(pieces, "")
	for _, c := range []struct {
		name   string
		change func(*rig)
		bytes  int    // that are kept; 0: all
		cut    string // of the original
		by     string // who cut the reply
	}{
		{"by the provider", func(r *rig) { r.up.Pieces, r.up.End = r.up.Pieces[:15], errors.New("connection reset") }, 150_000, "", "upstream"},
		{"by the provider in the first event", func(r *rig) { r.up.Pieces, r.up.End = r.up.Pieces[:1], errors.New("connection reset") }, 10_000, "", "upstream"},
		{"by the application", func(r *rig) { r.client.WriteErr, r.client.Accept = errors.New("broken pipe"), 99_000 }, 100_000, "", "client"},
		{"by a limit", func(r *rig) { r.opts.ReplyLimit = 123_456 }, 123_456, pipeline.KeptLimit, ""},
		{"by a limit that is as long", func(r *rig) { r.opts.ReplyLimit = int64(len(all)) }, 0, "", ""},
		{"by us", func(r *rig) { r.up.Pieces[20] = []byte("data: {no JSON}\n\n") }, 200_000 + len("data: {no JSON}\n\n"), pipeline.KeptNotRead, "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &sealers{}
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", pieces...)
			r.opts.Originals = s.begin
			c.change(r)
			if err := r.serve(); (err == nil) != (c.by == "") {
				t.Error(err)
			}
			if c.bytes == 0 {
				c.bytes = len(all)
			}
			sent := string(bytes.Join(r.up.Pieces, nil))[:c.bytes]
			b, whole, key := r.original()
			out := r.outcome()
			if string(b) != sent || !whole || !key || out.Original == nil || out.Original.Bytes != int64(c.bytes) || out.Original.Cut != c.cut || out.Cut != c.by {
				t.Errorf("%d bytes are on record, want %d; whole %t, key %t, %+v, cut by %q", len(b), c.bytes, whole, key, out.Original, out.Cut)
			}
		})
	}
}

// What is not looked at in an observing scope is not kept, and that is said. The reply passes.
func TestReplyOriginalUnread(t *testing.T) {
	s := &sealers{}
	first, rest := text(0, "key "+secret+" ")+"data: {no JSON}\n\n", text(0, "more "+secret)+stopped
	r := newRig(t, pipeline.ModeObserve, asked).reply(200, "text/event-stream", first, rest)
	r.opts.Originals = s.begin
	if got := r.must(); got != first+rest {
		t.Errorf("got %q", got)
	}
	b, _, _ := r.original()
	if out := r.outcome(); string(b) != first || out.Original == nil || out.Original.Cut != pipeline.KeptNotRead {
		t.Errorf("%q %+v", b, out.Original)
	}
}

// Whatever fails about an original: the reply is masked and passes, and the record says what is missing and why.
func TestReplyOriginalFails(t *testing.T) {
	stream := split(text(0, "key "+secret+" ")+longReply(300<<10, "end"), 10_000)
	for _, c := range []struct {
		name    string
		fails   string
		refuse  int // the piece that the journal refuses, from 1
		pieces  int // that are kept
		missing string
		cut     string
	}{
		{"it cannot begin", "begin", 0, 0, "original: panic", ""},
		{"no key", "no key", 0, 0, "no recipient takes it", ""},
		{"a panic about the key", "key", 0, 0, "original: panic", ""},
		{"a panic about a piece", "piece", 0, 1, "", pipeline.KeptNotSealed},
		{"a panic at the end", "close", 0, 5, "", ""},
		{"the journal refuses the first piece", "", 1, 0, "the journal refused it", ""},
		{"the journal refuses a piece", "", 3, 2, "", pipeline.KeptNotRecorded},
		{"the journal refuses the last piece", "", 5, 4, "", pipeline.KeptNotRecorded},
	} {
		for _, mode := range []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve} {
			for _, whole := range []bool{false, true} {
				t.Run(c.name+"/"+mode.String()+map[bool]string{true: "/whole"}[whole], func(t *testing.T) {
					s := &sealers{fails: c.fails}
					r := newRig(t, mode, asked).reply(200, "text/event-stream", stream...)
					if whole {
						r = newRig(t, mode, plain).reply(200, "application/json", completion("key "+secret+strings.Repeat(" word", len(strings.Join(stream, ""))/5)))
					}
					sent := string(bytes.Join(r.up.Pieces, nil))
					r.opts.Originals = s.begin
					n := 0
					r.log.Fail = func(rec pipeline.Record) error {
						if rec.Kind == pipeline.KindOriginal {
							if n++; n == c.refuse {
								return errors.New("the journal is full")
							} else if c.refuse > 0 && n > c.refuse {
								t.Error("a piece follows one that was refused")
							}
						}
						return nil
					}
					want := sent
					if mode == pipeline.ModeEnforce {
						want = strings.Replace(sent, secret, with, 1)
					}
					if got := r.must(); got != want {
						t.Errorf("the application gets %d bytes, want %d", len(got), len(want))
					}
					r.unseen(secret)
					out := r.outcome()
					if kept := out.Original; (kept == nil) != (c.pieces == 0) || kept != nil && (kept.Pieces != c.pieces || kept.Cut != c.cut) {
						t.Errorf("%+v", kept)
					}
					if !strings.Contains(out.OriginalMissing, c.missing) || (c.missing == "") != (out.OriginalMissing == "") || len(out.Masks) != 1 {
						t.Errorf("missing: %q, masks %+v", out.OriginalMissing, out.Masks)
					}
					if len(r.notes) == 0 {
						t.Error("nobody is told")
					}
					b, _, key := r.original()
					if !strings.HasPrefix(sent, string(b)) || key != (c.pieces > 0) {
						t.Errorf("%d bytes, key %t", len(b), key)
					}
					for _, h := range s.all {
						if !h.closed {
							t.Error("the key stays")
						}
					}
				})
			}
		}
	}
}

// Until something is masked little is held; once something was, nothing is: each piece is on record when the next is sealed.
func TestReplyOriginalHeld(t *testing.T) {
	for _, c := range []struct {
		name  string
		reply string
		held  int
	}{
		{"masked at first", text(0, secret+" ") + longReply(2<<20, "end"), 1},
		{"not masked", longReply(3<<20, "end"), 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &sealers{}
			r := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", split(c.reply, 50_000)...)
			r.opts.Originals = s.begin
			most := 0
			s.before = func() { most = max(most, s.all[0].n-len(r.log.Of(pipeline.KindOriginal))) }
			r.must()
			if most == 0 && c.held > 1 || most > c.held {
				t.Errorf("up to %d pieces were held, want %d", most, c.held)
			}
		})
	}
}
