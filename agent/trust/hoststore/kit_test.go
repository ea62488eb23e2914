// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// memory is a ledger that is lost with the test.
type memory struct {
	mu   sync.Mutex
	lock sync.Mutex
	list []Record
	over map[string]string
	deny error // what Announce says
}

func (m *memory) Announce(r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deny == nil {
		m.list = append(m.list, r)
	}
	return m.deny
}

func (m *memory) Standing() ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list), nil
}

func (m *memory) Over(id, how string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over == nil {
		m.over = map[string]string{}
	}
	m.over[id] = how
	m.list = slices.DeleteFunc(m.list, func(r Record) bool { return r.ID == id })
	return nil
}

func (m *memory) Lock() (func(), error) {
	m.lock.Lock()
	return m.lock.Unlock, nil
}

func newStore(t *testing.T, o Options) (*Store, *memory) {
	t.Helper()
	m := &memory{}
	if o.Ledger == nil {
		o.Ledger = m
	}
	o.Kinds = []string{KindAnchor, KindBlock, KindUnit}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// site makes a copy of certifi below dir, as pip installs it.
func site(t *testing.T, dir string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, "lib/python3.11/site-packages/certifi/cacert.pem")
	write(t, path, content)
	return path
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// found describes a file as the one who looks for stores does.
func found(t *testing.T, path string, uid int) File {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return File{Store: "certifi", Path: path, Dev: st.Dev, Ino: st.Ino, UID: uint32(uid)}
}
