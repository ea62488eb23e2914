// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/test/es"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// exchangeStream is the data stream in which each exchange must stand exactly once.
const exchangeStream = "logs-sallyport.exchange-default"

// TestRecordIsComplete asks thousands of questions through the agent while agent and Elasticsearch are killed, answers of
// Elasticsearch are lost, and the data stream rolls over. In the end each exchange is in the index exactly once and in the
// journal, which verifies; the provider was asked nothing that is not there, and what is there as answered is what the
// provider was asked and the client got.
//
// RECORD_EXCHANGES says how many questions at least (5,000), RECORD_ROUNDS how often everything is hurt (once). With more than one
// round the network to Elasticsearch is cut, too, and the disk of the journal fills up.
func TestRecordIsComplete(t *testing.T) {
	r := newRecord(t, number("RECORD_EXCHANGES", 5000))
	rounds := number("RECORD_ROUNDS", 1)
	hurts := []struct {
		name string
		do   func()
	}{
		{"answers of Elasticsearch are lost, and the data stream rolls over", r.loseAnswers},
		{"Elasticsearch is killed, and the data stream rolls over", r.killServer},
		{"the agent is killed", r.killAgent},
	}
	if rounds > 1 {
		hurts = append(hurts, []struct {
			name string
			do   func()
		}{{"the network to Elasticsearch is cut", r.cutNetwork}, {"the disk is full", r.fillDisk}}...)
	}
	for i := range rounds * len(hurts) {
		h := hurts[i%len(hurts)]
		r.asked(r.w.fake.Asked() + 200)
		t.Logf("after %d questions: %s", r.w.fake.Asked(), h.name)
		h.do()
	}
	r.asked(r.w.fake.Asked() + 200)
	must(t, os.WriteFile(r.enough, nil, 0o644))
	failed := r.client()
	must(t, <-r.restarted)
	r.shipped()
	must(t, r.w.d.Stop(t.Context()))
	if log, err := exec.Command(filepath.Join(root(t), "build", "sallyport"), "journal", "verify", r.disk).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, log)
	}
	r.compare(failed)
}

// number is a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// record is the world of the test.
type record struct {
	t         *testing.T
	w         *world
	server    *es.Server
	wire      *wire
	disk      string // the journal's folder, a tmpfs
	questions int
	answered  string        // file that says which requests were answered
	enough    string        // file; when it is there, the client need not ask more than it was told to
	client    func() string // waits for the load to end, and says what failed meanwhile
	restarted chan error    // of the last start of Elasticsearch
}

// roomy is the size of the journal's disk when nobody fills it. Only what is used of it takes memory.
const roomy = "size=4g,mode=0700"

func newRecord(t *testing.T, questions int) *record {
	t.Helper()
	r := &record{t: t, w: newWorld(t, ""), questions: questions, restarted: make(chan error, 1)}
	r.restarted <- nil
	must(t, r.w.d.Stop(t.Context()))
	dir := t.TempDir()
	r.server = r.begin(dir, 0)
	t.Cleanup(func() { must(t, r.server.Stop()) })
	var err error
	r.wire, err = newWire(fmt.Sprintf("127.0.0.1:%d", r.server.Port))
	must(t, err)
	t.Cleanup(func() { must(t, r.wire.close()) })
	keyFile := filepath.Join(dir, "key")
	shipperKey(t, r.server, keyFile)
	r.disk = filepath.Join(r.w.lab.State(), "journal")
	search, err := filepath.Glob(filepath.Join(r.w.lab.State(), "archive.db*")) // it is of the journal that goes
	must(t, err)
	for _, old := range append(search, r.disk) {
		must(t, os.RemoveAll(old))
	}
	must(t, os.Mkdir(r.disk, 0o700))
	must(t, unix.Mount("full-disk", r.disk, "tmpfs", 0, roomy))
	t.Cleanup(func() { must(t, unix.Unmount(r.disk, unix.MNT_DETACH)) })
	r.w.conf += fmt.Sprintf("elasticsearch: {url: %q, api_key_file: %q, ca_file: %q}\n", "https://"+r.wire.addr(), keyFile, r.server.CAFile)
	r.w.start()
	r.load(dir)
	return r
}

func (r *record) begin(dir string, port int) *es.Server {
	r.t.Helper()
	s, err := es.Start(r.t.Context(), filepath.Join(dir, "es"), port)
	must(r.t, err)
	return s
}

// load starts the client.
func (r *record) load(dir string) {
	r.t.Helper()
	r.answered, r.enough = filepath.Join(dir, "answered"), filepath.Join(dir, "enough")
	theirs := filepath.Join(dir, "theirs.pem")
	must(r.t, os.WriteFile(theirs, r.w.fake.CA(), 0o644))
	self, err := os.Executable()
	must(r.t, err)
	args := []string{r.w.lab.Fake.String() + ":443", theirs + "," + filepath.Join(filepath.Dir(r.w.d.Socket), "roots.pem"),
		strconv.Itoa(r.questions), "16", r.answered, r.enough}
	cmd, cleanup, err := r.w.lab.Command(r.t.Context(), lab.App{Cgroup: enforced, Env: []string{loadEnv + "=" + strings.Join(args, "\n")},
		Args: []string{filepath.Join(root(r.t), "build", "sallyport"), "--socket", r.w.d.Socket, "run", "--", self}})
	must(r.t, err)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	must(r.t, r.w.lab.Start(enforced, cmd))
	r.client = func() string {
		r.t.Helper()
		defer cleanup()
		if err := cmd.Wait(); err != nil {
			r.t.Fatalf("the client: %v: %s", err, errOut.String())
		}
		return strings.TrimSpace(out.String())
	}
}

// until waits for a condition.
func (r *record) until(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(5 * time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("waited for 5 minutes: %s; the provider was asked %d times", what, r.w.fake.Asked())
		}
	}
}

func (r *record) asked(n int) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d questions", n), func() bool { return r.w.fake.Asked() >= n })
}

// rollover begins a new backing index, in which documents of the one before are not known.
func (r *record) rollover() {
	r.t.Helper()
	must(r.t, r.server.Do(r.t.Context(), http.MethodPost, "/"+exchangeStream+"/_rollover", nil, nil))
}

// loseAnswers lets documents arrive whose acknowledgement does not, and begins a new index before they are sent again.
func (r *record) loseAnswers() {
	r.t.Helper()
	must(r.t, <-r.restarted)
	r.restarted <- nil
	before, _ := r.wire.losses()
	lost := func() bool { n, _ := r.wire.losses(); return n > before }
	// Only a connection that works can lose an answer: of one that is made on a deaf wire nothing arrives at all.
	r.until("an answer that is lost", func() bool {
		r.wire.set(wireWhole)
		n := r.count()
		r.until("documents arrive", func() bool { return r.count() > n })
		r.wire.set(wireDeaf)
		for end := time.Now().Add(10 * time.Second); !lost() && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond) // as until looks; the wire has an event for each loss, but none for there being none
		}
		return lost()
	})
	r.rollover()
	r.wire.set(wireWhole)
}

// killServer kills Elasticsearch. It is back some time later, with another index.
func (r *record) killServer() {
	r.t.Helper()
	must(r.t, <-r.restarted)
	port, dir := r.server.Port, filepath.Dir(r.server.Dir)
	must(r.t, r.server.Kill())
	r.until("the port of Elasticsearch is free", func() bool { // its process ends after it was killed, in its own time
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	go func() {
		s, err := es.Start(r.t.Context(), filepath.Join(dir, "es"), port)
		if err == nil {
			r.server = s // read after restarted only
			err = s.Do(r.t.Context(), http.MethodPost, "/"+exchangeStream+"/_rollover", nil, nil)
		}
		r.restarted <- err
	}()
}

func (r *record) killAgent() {
	r.t.Helper()
	must(r.t, r.w.d.Kill())
	r.w.start()
}

// cutNetwork has Elasticsearch out of reach, without a word, until a thousand more questions were asked.
func (r *record) cutNetwork() {
	r.t.Helper()
	r.wire.set(wireCut)
	r.asked(r.w.fake.Asked() + 1000)
	r.wire.set(wireWhole)
}

// fillDisk leaves no room on the journal's disk, until nobody is let through any more.
func (r *record) fillDisk() {
	r.t.Helper()
	var fs unix.Statfs_t
	must(r.t, unix.Statfs(r.disk, &fs))
	used := (fs.Blocks - fs.Bfree) * uint64(fs.Bsize)
	must(r.t, unix.Mount("full-disk", r.disk, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d,mode=0700", used+64<<10)))
	n, since := r.w.fake.Asked(), time.Now()
	r.until("nobody is let through", func() bool {
		if now := r.w.fake.Asked(); now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	must(r.t, unix.Mount("full-disk", r.disk, "tmpfs", unix.MS_REMOUNT, roomy))
	r.asked(n + 100)
}

// shipped waits until the agent has nothing left to ship.
func (r *record) shipped() {
	r.t.Helper()
	var st struct {
		Elastic struct {
			State string
			Lag   int64
		}
	}
	r.until("all is shipped", func() bool {
		r.w.json(&st, "status", "-o", "json")
		return st.Elastic.State == "ok" && st.Elastic.Lag == 0
	})
}

func (r *record) count() int {
	var found struct{ Count int }
	if r.server.Do(r.t.Context(), http.MethodGet, "/"+exchangeStream+"/_count", nil, &found) != nil {
		return 0 // not there yet
	}
	return found.Count
}

// shipperKey writes a key with what the shipper needs to a file: making templates and policies, creating documents, and looking
// for those that are in doubt.
func shipperKey(t *testing.T, server *es.Server, file string) string {
	t.Helper()
	var answer struct{ Encoded string }
	must(t, server.Do(t.Context(), http.MethodPost, "/_security/api_key", map[string]any{"name": "sallyport", "role_descriptors": map[string]any{
		"shipper": map[string]any{"cluster": []string{"monitor", "manage_index_templates", "manage_ilm"}, "indices": []any{map[string]any{
			"names": []string{"logs-sallyport.*"}, "privileges": []string{"create_doc", "auto_configure", "read", "view_index_metadata"}}}}}}, &answer))
	must(t, os.WriteFile(file, []byte(answer.Encoded), 0o600))
	return answer.Encoded
}
