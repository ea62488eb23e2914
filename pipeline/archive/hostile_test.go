// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestHostileQueries: whatever is asked for is answered, or refused in words.
func TestHostileQueries(t *testing.T) {
	r := newRig(t)
	r.put(300, func(i int, in *pipeline.Intent, out *pipeline.Outcome) {
		in.Principal.User = strings.Repeat("a", 200) + fmt.Sprint(i)
		in.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: strings.Repeat("alpha beta near and or not ", 40) + fmt.Sprint("n", i)}}
	})
	const cannot = "the query cannot be read: "
	for _, c := range []struct{ name, query, want string }{
		{"very long", strings.Repeat("x", maxQuery+1), cannot + "it is longer than 8192 bytes"},
		{"a word as long as a query", strings.Repeat("x", maxQuery), ""},
		{"10,000 conditions", strings.Repeat("a ", 10_000), cannot + "it is longer than 8192 bytes"},
		{"as many conditions as fit", strings.Repeat("a ", maxQuery/2), cannot + "it has more than 64 conditions"},
		{"conditions of one letter", strings.Repeat("a* ", maxTerms), "300"},
		{"exclusions of one letter", strings.Repeat("-a* ", maxTerms), "0"},
		{"a phrase as long as a query", `"` + strings.Repeat("alpha ", maxQuery/6-1) + `"`, cannot + "a phrase has more than 256 words"},
		{"a phrase as long as one may be", `"` + strings.Repeat("alpha ", maxPhrase) + `"`, "0"},
		{"operators of the index", `NEAR(alpha beta)`, "0"},
		{"operators between words", `alpha AND NOT OR beta`, "300"},
		{"columns of the index", `"fields : x" -"} OR {fields}: fall"`, "0"},
		{"unbalanced quotes", `alpha "beta`, cannot + `a " has no other end`},
		{"an escaped quote at the end", `alpha "beta\"`, cannot + `a " has no other end`},
		{"nothing but signs", `- -- ---`, cannot},
		{"a pattern that goes back and forth", "principal:" + strings.Repeat("*a", 300) + "*b", "0"},
		{"a pattern of stars", "principal:" + strings.Repeat("*", 5000), "300"},
		{"brackets in a pattern", "principal:[a-z]*[^*?", "0"},
		{"the beginning of time", "since:0001-01-01", "300"},
		{"an age of more than all time", "since:65535d", "300"},
		{"an age that is no number", "since:99999999999999999999d", cannot + `"99999999999999999999d" is no time`},
		{"the end of time", "until:9999-12-31", "300"},
		{"a number that is none", "tokens:>99999999999999999999", cannot + "tokens:>99999999999999999999: want a number"},
		{"the largest number", "tokens:<=9223372036854775807", "300"},
		{"the smallest number", "tokens:>=-9223372036854775808", "300"},
		{"a control character", "alpha\x00beta", "300"},
		{"no text at all", "alpha\xff\xfe", "300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := r.find(c.query)
			if !strings.HasPrefix(got, "the ") {
				n := len(strings.Fields(got))
				if q, err := Parse(c.query, r.base); err == nil && n == 100 { // a page
					p, err := r.a.Search(t.Context(), q, 0, 1000)
					if err != nil {
						t.Fatal(err)
					}
					n = len(p.Hits)
				}
				got = fmt.Sprint(n)
			}
			if !strings.HasPrefix(got, c.want) || c.want == "" && got != "0" {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEndlessQueries: a query that does not end by itself is ended. Meanwhile exchanges are added, and the state is told; more queries than run
// at a time are told that others do.
func TestEndlessQueries(t *testing.T) {
	r := newRig(t)
	r.put(1, func(int, *pipeline.Intent, *pipeline.Outcome) {})
	ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	running, done := make(chan struct{}, queries), make(chan error, queries)
	for range queries {
		go func() {
			done <- r.a.within(ctx, 2*time.Second, func(ctx context.Context) error {
				running <- struct{}{}
				var n int
				return r.a.read.Load().QueryRowContext(ctx, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c, exchanges").Scan(&n)
			})
		}()
	}
	for range queries {
		<-running
	}
	r.put(3, func(int, *pipeline.Intent, *pipeline.Outcome) {})
	s, err := r.a.Stats(ctx)
	select {
	case err := <-done:
		t.Fatalf("a query ended before there was anything to see: %v", err)
	default:
	}
	if err != nil || s.Exchanges != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	r.a.o.Deadline = time.Millisecond
	if got := r.find("x"); got != ErrBusy.Error() {
		t.Errorf("found %q", got)
	}
	r.a.o.Deadline = 3 * time.Second
	for range queries {
		if err := <-done; !errors.Is(err, ErrDeadline) {
			t.Errorf("it ended with %v", err)
		}
	}
	if got := r.find(""); got != "4 3 2 1" {
		t.Errorf("afterwards: %q", got)
	}
}
