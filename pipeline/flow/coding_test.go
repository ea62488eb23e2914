// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// codings are the content codings that a reply may have.
var codings = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriterLevel(w, 5) },
	"zstd": func(w io.Writer) io.WriteCloser {
		e, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		return e
	},
}

func encode(t *testing.T, coding, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := codings[coding](&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// split cuts a reply into pieces, as it may arrive.
func split(s string, n int) (out []string) {
	for ; len(s) > n; s = s[n:] {
		out = append(out, s[:n])
	}
	return append(out, s)
}

// A coded reply is inspected like any other, and leaves without its coding.
func TestCodings(t *testing.T) {
	for coding := range codings {
		for name, c := range map[string]struct{ kind, in, want string }{
			"whole":  {"application/json", completion("key " + secret), completion("key " + with)},
			"stream": {"text/event-stream", text(0, "key "+secret) + delta(0, "{}", "stop") + done, text(0, "key "+with) + delta(0, "{}", "stop") + done},
		} {
			t.Run(coding+", "+name, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, plain).reply(200, c.kind, split(encode(t, coding, c.in), 7)...)
				r.up.Head.Set("Content-Encoding", coding)
				if got := r.must(); got != c.want {
					t.Errorf("got %q", got)
				}
				if h := r.client.Reply; h.Get("Content-Encoding") != "" {
					t.Errorf("head %+v", h)
				}
			})
			t.Run(coding+", "+name+", observed", func(t *testing.T) {
				coded := encode(t, coding, c.in)
				r := newRig(t, pipeline.ModeObserve, plain).reply(200, c.kind, split(coded, 7)...)
				r.up.Head.Set("Content-Encoding", coding)
				if got := r.must(); got != coded {
					t.Errorf("got %q", got)
				}
				if o := r.outcome(); len(o.Masks) == 0 || strings.Contains(o.Text, secret) {
					t.Errorf("outcome %+v", o)
				}
			})
		}
	}
}

// What does not unpack to one reply, or to far too much, is not released in enforce and does no harm in observe.
func TestCodingsThatLie(t *testing.T) {
	zeros := completion(strings.Repeat("0", 20<<20))
	comments := strings.Repeat(": "+strings.Repeat("0", 1<<16)+"\n", 20<<4)
	for coding := range codings {
		good := encode(t, coding, completion("the answer"))
		for name, c := range map[string]struct{ kind, body string }{
			"bomb":             {"application/json", encode(t, coding, zeros)},
			"bomb in a stream": {"text/event-stream", encode(t, coding, comments+text(0, "the answer")+done)},
			"cut":              {"application/json", good[:len(good)-6]},
			"bytes behind":     {"application/json", good + "{}"},
			"another coding":   {"application/json", completion("the answer")},
			"nothing":          {"application/json", ""},
		} {
			t.Run(coding+", "+name, func(t *testing.T) {
				r := newRig(t, pipeline.ModeEnforce, plain).reply(200, c.kind, split(c.body, 4096)...)
				r.up.Head.Set("Content-Encoding", coding)
				_ = r.serve() // an error once the stream has begun
				got := string(r.client.Got)
				if strings.Contains(got, "the answer") || !strings.Contains(got, "sallyport_not_inspected") {
					t.Errorf("released %.300q", got)
				}
				if len(got) > 4<<20 {
					t.Errorf("%d bytes were unpacked from %d", len(got), len(c.body))
				}
				if o := r.outcome(); o.Verdict.Action != pipeline.Deny {
					t.Errorf("outcome %+v", o)
				}
			})
			t.Run(coding+", "+name+", observed", func(t *testing.T) {
				r := newRig(t, pipeline.ModeObserve, plain).reply(200, c.kind, split(c.body, 4096)...)
				r.up.Head.Set("Content-Encoding", coding)
				if got := r.must(); got != c.body {
					t.Errorf("got %.300q", got)
				}
				if o := r.outcome(); o.Verdict.Action != pipeline.Deny || o.Enforced {
					t.Errorf("outcome %+v", o)
				}
			})
		}
	}
}
