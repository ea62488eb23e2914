// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const testSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func secret(t *testing.T) Secret {
	t.Helper()
	s, err := ParseSecret(testSecret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The expected value is what openssl dgst -mac HMAC makes of the same bytes.
func TestSign(t *testing.T) {
	if got, want := secret(t).sign("asked-apr_1", time.Unix(1767225600, 0), []byte(`{"a":1}`)), "v1,2ll94MKR718DBMxipwpXAdjVz/tiOkeE2KxgmHovTac="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSecret(t *testing.T) {
	for _, bad := range []string{"", "AAEC", "whsec_", "whsec_AAEC", "whsec_" + strings.Repeat("A", 88), "whsec_!!", strings.TrimPrefix(testSecret, prefix)} {
		if _, err := ParseSecret(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) && bad != "whsec_" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s := secret(t)
	raw, err := json.Marshal(map[string]any{"s": s})
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "s", s)
	for _, out := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%+v %#v %x %s", s, s, s, &s), string(raw), logged.String()} {
		if err != nil || !strings.Contains(out, hidden) || strings.Contains(out, "AAEC") || strings.Contains(out, "000102") {
			t.Errorf("printed as %q, %v", out, err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"https", Options{URL: "https://hooks.example.org/x", Secret: secret(t)}, ""},
		{"this host", Options{URL: "http://127.0.0.1:8080/", Secret: secret(t)}, ""},
		{"plain", Options{URL: "http://hooks.example.org/", Secret: secret(t)}, "https"},
		{"a name that begins like this host", Options{URL: "http://localhost.example.org/", Secret: secret(t)}, "https"},
		{"password", Options{URL: "https://u:p@hooks.example.org/", Secret: secret(t)}, "without user"},
		{"no secret", Options{URL: "https://hooks.example.org/"}, "a secret is needed"},
		{"roots", Options{URL: "https://hooks.example.org/", Secret: secret(t), CA: []byte("x")}, "no certificate"},
	} {
		if _, err := New(c.o); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// receiver verifies as the specification asks of one, and says what it was told.
type receiver struct {
	secret Secret
	got    chan received
	answer func(w http.ResponseWriter, try int)
	mu     sync.Mutex
	tries  int
}

type received struct {
	id, body string
	err      error
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.tries++
	try := r.tries
	r.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	id, ts := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
	at, terr := strconv.ParseInt(ts, 10, 64)
	if err = errors.Join(err, terr); err == nil && r.secret.sign(id, time.Unix(at, 0), body) != req.Header.Get("webhook-signature") {
		err = errors.New("the signature does not fit")
	}
	if age := time.Since(time.Unix(at, 0)); err == nil && (age < -time.Minute || age > time.Minute) {
		err = fmt.Errorf("made %s ago", age)
	}
	if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		err = fmt.Errorf("%s %s", req.Method, req.Header)
	}
	if r.answer != nil {
		r.answer(w, try)
	}
	r.got <- received{id, string(body), err}
}

// serve starts a receiver with TLS and a notifier for it.
func serve(t *testing.T, r *receiver) (*httptest.Server, *Notifier) {
	t.Helper()
	r.secret, r.got = secret(t), make(chan received, 100)
	s := httptest.NewUnstartedServer(r)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	n, err := New(Options{URL: s.URL + "/hook?token=x", Secret: r.secret, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})})
	if err != nil {
		t.Fatal(err)
	}
	return s, n
}

// run runs a notifier until the test ends.
func run(t *testing.T, n *Notifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestDeliver(t *testing.T) {
	r := &receiver{}
	_, n := serve(t, r)
	run(t, n)
	for i := range 20 {
		n.Send(Message{ID: fmt.Sprint("asked-apr_", i), Body: map[string]int{"n": i}})
	}
	seen := map[string]bool{}
	for range 20 {
		got := <-r.got
		if got.err != nil || seen[got.id] || got.body != fmt.Sprintf(`{"n":%s}`, strings.TrimPrefix(got.id, "asked-apr_")) {
			t.Errorf("%+v", got)
		}
		seen[got.id] = true
	}
}

// try makes one try and says what came of it.
func try(t *testing.T, n *Notifier) error {
	t.Helper()
	n.Send(Message{ID: "m1", Body: 1})
	j, _ := n.next(time.Now())
	if j == nil {
		t.Fatal("nothing is due")
	}
	return n.post(t.Context(), j)
}

func TestAnswers(t *testing.T) {
	var elsewhere receiver
	other, _ := serve(t, &elsewhere)
	for _, c := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   string
		final  bool
	}{
		{"no content", func(w http.ResponseWriter) { w.WriteHeader(204) }, "", false},
		{"redirect", func(w http.ResponseWriter) { w.Header().Set("Location", other.URL); w.WriteHeader(307) }, "redirects are refused", true},
		{"gone", func(w http.ResponseWriter) { w.WriteHeader(410) }, "wants no more", true},
		{"error", func(w http.ResponseWriter) { w.WriteHeader(500) }, "answered 500", false},
		{"not allowed", func(w http.ResponseWriter) { w.WriteHeader(401) }, "answered 401", false},
		{"busy", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) }, "answered 429", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, n := serve(t, &receiver{answer: func(w http.ResponseWriter, _ int) { c.answer(w) }})
			defer n.http.CloseIdleConnections()
			err := try(t, n)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "token")) {
				t.Errorf("%v, want %q", err, c.want)
			}
			var final *finalError
			if errors.As(err, &final) != c.final {
				t.Errorf("final: %v", err)
			}
			var busy *busyError
			if c.name == "busy" && (!errors.As(err, &busy) || busy.after != 7*time.Second) {
				t.Errorf("%#v", err)
			}
		})
	}
	if len(elsewhere.got) > 0 {
		t.Error("a redirect was followed")
	}
}

func TestUntrusted(t *testing.T) {
	s, _ := serve(t, &receiver{})
	n, err := New(Options{URL: s.URL + "/hook?token=x", Secret: secret(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.http.CloseIdleConnections()
	if err := try(t, n); err == nil || !strings.Contains(err.Error(), "certificate") || strings.Contains(err.Error(), "token") {
		t.Errorf("an unknown receiver: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	n, err = New(Options{URL: "http://" + l.Addr().String(), Secret: secret(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := try(t, n); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody there: %v", err)
	}
}

// trip answers in place of a network, so that time can be fake.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int) (*http.Response, error) {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody}, nil
}

// bubble runs a notifier with fake time.
func bubble(t *testing.T, f trip, test func(t *testing.T, n *Notifier)) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Options{URL: "https://hooks.example.org/", Secret: secret(t)})
		if err != nil {
			t.Fatal(err)
		}
		n.http.Transport = f
		run(t, n)
		test(t, n)
	})
}

// A receiver that is down gets the message when it is back; the ID stays, the time of the try does not.
func TestRetry(t *testing.T) {
	var at []time.Time
	var ids, stamps []string
	f := func(r *http.Request) (*http.Response, error) {
		at, ids, stamps = append(at, time.Now()), append(ids, r.Header.Get("webhook-id")), append(stamps, r.Header.Get("webhook-timestamp"))
		if len(at) < 5 {
			return nil, errors.New("connection refused")
		}
		return status(200)
	}
	bubble(t, f, func(t *testing.T, n *Notifier) {
		n.Send(Message{ID: "m1", Body: 1})
		synctest.Wait()
		if s := n.State(); s.Queued != 1 || s.Sent != 0 || !strings.Contains(s.Error, "refused") {
			t.Errorf("at first: %+v", s)
		}
		n.Send(Message{ID: "m1", Body: 1}) // is queued already
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := n.State(); s.Queued != 0 || s.Sent != 1 || s.Failed != 0 || s.Error != "" || s.Last.IsZero() {
			t.Errorf("at last: %+v", s)
		}
		for i := range at {
			if ids[i] != "m1" || stamps[i] != strconv.FormatInt(at[i].Unix(), 10) {
				t.Errorf("try %d: %s at %s", i, ids[i], stamps[i])
			}
			if i == 0 {
				continue
			}
			base := firstPause << (i - 1)
			if d := at[i].Sub(at[i-1]); d < base/2 || d > base*3/2 {
				t.Errorf("pause %d: %s, want about %s", i, d, base)
			}
		}
	})
}

// What nobody can use any more is not sent, and a slow receiver holds nobody up.
func TestSlow(t *testing.T) {
	f := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	bubble(t, f, func(t *testing.T, n *Notifier) {
		before := time.Now()
		for i := range maxQueue + 10 {
			n.Send(Message{ID: fmt.Sprint("m", i), Expires: before.Add(time.Minute), Body: 1})
		}
		if !time.Now().Equal(before) {
			t.Error("Send waited")
		}
		synctest.Wait()
		if s := n.State(); s.Queued != maxQueue || s.Dropped != 10 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := n.State(); s.Queued != 0 || s.Failed != maxQueue || s.Error == "" {
			t.Errorf("after their time: %+v", s)
		}
	})
}

func TestFinal(t *testing.T) {
	tries := 0
	bubble(t, func(*http.Request) (*http.Response, error) { tries++; return status(302) }, func(t *testing.T, n *Notifier) {
		n.Send(Message{ID: "m1", Body: 1})
		n.Send(Message{ID: "no.dots", Body: 1})
		n.Send(Message{ID: "m2", Body: func() {}})
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := n.State(); tries != 1 || s.Failed != 3 || s.Queued != 0 || !strings.Contains(s.Error, "redirects") {
			t.Errorf("%d tries, %+v", tries, s)
		}
	})
}

func TestPause(t *testing.T) {
	for i := range 100 {
		if d := pause(i+1, nil); d < firstPause/2 || d > longest*3/2 {
			t.Errorf("after %d tries: %s", i+1, d)
		}
	}
	if d := pause(1, &busyError{after: time.Hour}); d > longest*3/2 || d < longest/2 {
		t.Errorf("a receiver that wants an hour: %s", d)
	}
}
