// SPDX-License-Identifier: Apache-2.0

package manage_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

// Both forms of contents are what a record makes, and a record that claims what its parent did not say is found.
func TestVerifyForms(t *testing.T) {
	for name, c := range map[string]struct {
		whole []bool // one run of the shipper after each turn
		lie   bool   // the last turn says that its parent has what it has not
		want  map[string]int
	}{
		"new":       {whole: []bool{false, false, false}},
		"whole":     {whole: []bool{true, true, true}},
		"mixed":     {whole: []bool{false, true, false}},
		"a lie":     {whole: []bool{false, false, false}, lie: true, want: map[string]int{manage.Broken: 1}},
		"no matter": {whole: []bool{true, true, true}, lie: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for n, whole := range c.whole {
				if last := n == len(c.whole)-1; c.lie && last {
					in := &pipeline.Intent{Parent: fmt.Sprintf("exc_ses_a_%d", n-1), Repeats: n, Call: pipeline.Call{Operation: "chat"}}
					for i := range n + 1 {
						in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: fmt.Sprintf("another question %d", i)})
					}
					r.append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_a", Exchange: "exc_lie", Body: in})
					r.append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_a", Exchange: "exc_lie", Body: &pipeline.Outcome{Status: 200}})
				} else {
					r.turn("ses_a", "ada", n)
				}
				r.ship("h1", "v1", whole)
			}
			rep, err := r.verify(nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil {
				c.want = map[string]int{}
			}
			if diff := cmp.Diff(c.want, rep.Counts); diff != "" || rep.OK != (len(c.want) == 0) {
				t.Errorf("OK %v (-want +got):\n%s%+v", rep.OK, diff, rep.Problems)
			}
		})
	}
}

// What was not shipped yet is no failure, unless all is said to be shipped; nor is it what makes a stranger ours.
func TestVerifyPending(t *testing.T) {
	r := newRig(t)
	r.turn("ses_a", "ada", 0)
	r.ship("h1", "v1", false)
	shipped, err := elastic.Shipped(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	r.turn("ses_a", "ada", 1)
	rep, err := r.verify(func(o *manage.VerifyOptions) { o.Shipped = shipped })
	if err != nil || !rep.OK || rep.Pending != 1 {
		t.Errorf("%+v %v", rep, err)
	}
	if rep, err = r.verify(nil); err != nil || rep.OK || rep.Counts[manage.Missing] != 2 {
		t.Errorf("%+v %v", rep, err)
	}
}

// A server that cannot, or may not, show all of it gives no report.
func TestVerifyRefused(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(*fakees.Server)
		want    string
	}{
		"may not read contents": {func(f *fakees.Server) { f.Deny = []string{"/logs-sallyport.content-default/_*"} }, "content-default for documents: Elasticsearch answered 403"},
		"may not list a stream": {func(f *fakees.Server) { f.Deny = []string{"/logs-sallyport.flow-default/_pit"} }, "flow-default for documents: Elasticsearch answered 403"},
		"a shard fails": {func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "_search") {
					return false
				}
				_, _ = w.Write([]byte(`{"timed_out":false,"_shards":{"total":2,"failed":1},"hits":{"total":{"value":0},"hits":[]}}`))
				return true
			}
		}, "1 of 2 shards failed"},
		"it takes too long": {func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/_search" {
					return false
				}
				_, _ = w.Write([]byte(`{"timed_out":true,"_shards":{"total":2,"failed":0},"hits":{"hits":[]}}`))
				return true
			}
		}, "not all could be searched"},
		"a closed index": {func(f *fakees.Server) {
			f.OnRequest = func(w http.ResponseWriter, r *http.Request) bool {
				closed := strings.HasSuffix(r.URL.Path, "_pit") && r.URL.Query().Get("ignore_unavailable") != "true"
				if closed {
					fakees.Refuse(w, http.StatusBadRequest, "index_closed_exception", "closed")
				}
				return closed
			}
		}, "index_closed_exception"},
		"not Elasticsearch": {func(f *fakees.Server) { f.Foreign = true }, "not Elasticsearch"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.turn("ses_a", "ada", 0)
			r.ship("h1", "v1", false)
			r.f.Set(func() { c.trouble(r.f) })
			rep, err := r.verify(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("report %+v, error %v, want %q", rep, err, c.want)
			}
		})
	}
}
