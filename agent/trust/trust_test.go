// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newRoot(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func options(t *testing.T, roots ...[]byte) Options {
	dir := t.TempDir()
	return Options{Ledger: filepath.Join(dir, "state", "ledger"), Roots: roots, RootsFile: filepath.Join(dir, "run", "roots.pem")}
}

func TestNew(t *testing.T) {
	a, b := newRoot(t, "a"), newRoot(t, "b")
	o := options(t, a, b)
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(o.RootsFile)
	if err != nil || string(got) != string(a)+string(b) {
		t.Errorf("roots file: %v", err)
	}
	if st, _ := os.Stat(o.RootsFile); st.Mode().Perm() != 0o644 {
		t.Errorf("roots file: mode %v", st.Mode())
	}
	turned, err := New(options(t, b, a))
	if err != nil || turned.digest != tr.digest {
		t.Errorf("the digest depends on the order of the roots: %v", err)
	}
	alone, err := New(options(t, a))
	if err != nil || alone.digest == tr.digest || tr.current(tagPrefix+alone.digest+"-1") || !tr.current(tagPrefix+tr.digest+"-1") {
		t.Errorf("tags do not tell sets of roots apart: %v", err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "text": []byte("x"), "two": append(append([]byte{}, a...), b...),
		"not a certificate": []byte(block("CERTIFICATE", "x")), "key": []byte(block("PRIVATE KEY", "x"))} {
		if _, err := New(options(t, bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWithoutRoots(t *testing.T) {
	o := options(t)
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Apply(t.Context(), os.Getpid(), 0, nil); err == nil {
		t.Error("applied nothing")
	}
	if tr.current(tagPrefix + tr.digest + "-1") {
		t.Error("no roots count as present")
	}
	if _, err := os.Stat(o.RootsFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty file of roots was written: %v", err)
	}
	if list, err := tr.Remove(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("Remove without a ledger: %v, %v", list, err)
	}
}

func TestOwnNamespaceIsTheHosts(t *testing.T) {
	tr, err := New(options(t, newRoot(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := tr.Apply(t.Context(), os.Getpid(), 0, nil)
	if err != nil || r.Outcome != Host || len(r.Stores) != 0 || !strings.Contains(r.Reason, "sallyport run") {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := tr.Apply(t.Context(), os.Getpid(), 1, nil); !errors.Is(err, errGone) {
		t.Errorf("another start time: %v", err)
	}
	if ok, why := tr.Trusted(os.Getpid(), 1); ok || why == "" {
		t.Error("trusted with another start time")
	}
}

// TestHangingFileSystem: callers get away, and no more than Parallel of them hang.
func TestHangingFileSystem(t *testing.T) {
	o := options(t, newRoot(t, "a"))
	o.Parallel = 2
	synctest.Test(t, func(t *testing.T) {
		tr, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		answer := make(chan struct{})
		var runs atomic.Int64
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := tr.run(ctx, func() error { runs.Add(1); <-answer; return nil })
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		}
		if n := runs.Load(); n != 2 {
			t.Errorf("%d run at once", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tr.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(answer)
		if err := tr.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestOneAtATimePerNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Trust{busy: map[uint64]chan struct{}{}}
		order := []string{}
		release := tr.hold(1)
		go func() {
			defer tr.hold(1)()
			order = append(order, "second")
		}()
		tr.hold(2)() // another namespace does not wait
		synctest.Wait()
		order = append(order, "first")
		release()
		synctest.Wait()
		if strings.Join(order, " ") != "first second" || len(tr.busy) != 0 {
			t.Errorf("%v, %d busy", order, len(tr.busy))
		}
	})
}

func TestBelongs(t *testing.T) {
	list := []entry{{ID: "t/0", Tag: "t", Path: "/a"}, {ID: "t/1", Tag: "t", Path: "/b"}, {ID: "u/0", Tag: "u", Path: "/a"}}
	for _, c := range []struct {
		place place
		want  string
	}{{place{"t", "/a"}, "t/0"}, {place{"t", "/b"}, "t/1"}, {place{"u", "/a"}, "u/0"}, {place{"t", "/elsewhere"}, "t/0"}, {place{"v", "/a"}, ""}} {
		got := ""
		for i := range list {
			if list[i].Tag == c.place.tag && belongs(c.place, &list[i], list) {
				got += list[i].ID
			}
		}
		if got != c.want {
			t.Errorf("%v belongs to %q, want %q", c.place, got, c.want)
		}
	}
}
