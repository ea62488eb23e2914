// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport/test/fakees"
)

// twice lists the IDs that are there more than once.
func twice(f *fakees.Server) (out []string) {
	seen := map[string]bool{}
	f.Set(func() {
		for _, h := range f.Order {
			if seen[h.ID] {
				out = append(out, h.ID)
			}
			seen[h.ID] = true
		}
	})
	return out
}

// Whatever happens to an answer, and wherever a rollover comes, each document is there once.
func TestDoubt(t *testing.T) {
	for name, trouble := range map[string]func(*fakees.Server){
		"answer lost, rollover": func(f *fakees.Server) {
			f.AfterBulk = func(n int, w http.ResponseWriter) bool {
				if n%3 == 1 {
					f.Roll()
					fakees.Drop(w)
				}
				return n%3 == 1
			}
		},
		"answer of a gateway, rollover": func(f *fakees.Server) {
			f.AfterBulk = func(n int, w http.ResponseWriter) bool {
				if n%3 == 1 {
					f.Roll()
					w.WriteHeader(http.StatusGatewayTimeout)
				}
				return n%3 == 1
			}
		},
		"answer cut, two rollovers": func(f *fakees.Server) {
			f.AfterBulk = func(n int, w http.ResponseWriter) bool {
				if n%2 == 1 {
					f.Roll()
					f.Roll()
					_, _ = w.Write([]byte(`{"items":[`))
				}
				return n%2 == 1
			}
		},
		"rollover alone": func(f *fakees.Server) {
			f.AfterBulk = func(int, http.ResponseWriter) bool { f.Roll(); return false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.o.BatchDocs = 16
			trouble(r.f)
			ids := r.exchanges("a", 60)
			r.start()
			ids = append(ids, r.exchanges("b", 20)...)
			r.shipped()
			if list := twice(r.f); len(list) > 0 {
				t.Errorf("%d documents are there twice", len(list))
			}
			r.want(ids...)
			if r.s.State().Blind || r.f.Conflicts > 0 {
				t.Errorf("%+v, %d conflicts", r.s.State(), r.f.Conflicts)
			}
		})
	}
}

// A process that is killed leaves a cursor that is behind: what it sent is not sent again, also if the data streams roll over before
// the next one starts. Without the right to look, it is; and all that is new is there too.
func TestDoubtAfterKill(t *testing.T) {
	for name, blind := range map[string]bool{"may look": false, "may not look": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.o.BatchDocs = 16
			r.f.NoRead = blind
			ids := r.exchanges("a", 20)
			r.start()
			r.shipped()
			r.stop()
			cursor := filepath.Join(r.dir, "journal", "elastic.cursor")
			behind, err := os.ReadFile(cursor)
			if err != nil {
				t.Fatal(err)
			}
			r.start()
			ids = append(ids, r.exchanges("b", 50)...)
			r.shipped()
			r.stop()
			if err := os.WriteFile(cursor, behind, 0o600); err != nil {
				t.Fatal(err)
			}
			r.f.Rollover()
			r.start()
			ids = append(ids, r.exchanges("c", 10)...)
			r.shipped()
			list := twice(r.f)
			if st := r.s.State(); st.Blind != blind || (len(list) > 0) != blind || st.Dead > 0 {
				t.Errorf("%d documents are there twice; %+v", len(list), st)
			}
			got := r.got()
			slices.Sort(got)
			slices.Sort(ids)
			if got = slices.Compact(got); !slices.Equal(got, ids) {
				t.Errorf("%d exchanges, want %d", len(got), len(ids))
			}
		})
	}
}
