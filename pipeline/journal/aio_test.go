// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSyncer(t *testing.T) {
	s := new(syncer)
	defer s.close()
	s.calls = aioAfter - 1
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 50 {
				if _, err := f.WriteAt([]byte("x"), int64(i)); err != nil {
					t.Error(err)
				}
				if err := s.datasync(f, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.ctx == 0 {
		t.Error("this kernel gives no aio context") // Linux 4.18 does
	}
	calls := s.calls
	if err := s.datasync(f, crowd); err != nil || s.calls != calls {
		t.Errorf("a crowd waits for a worker: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := s.datasync(f, 1); err != nil {
		t.Errorf("after close: %v", err)
	}
}

func TestSyncerErrors(t *testing.T) {
	s := new(syncer)
	defer s.close()
	s.calls = aioAfter - 1
	r, w, err := os.Pipe() // cannot be synced
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := s.datasync(w, 1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a pipe: %v, want EINVAL", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.datasync(w, 1); err == nil {
		t.Error("a closed file is synced")
	}
}

func BenchmarkSync(b *testing.B) {
	s := new(syncer)
	defer s.close()
	s.calls = aioAfter - 1
	for name, do := range map[string]func(*os.File) error{"io_submit": func(f *os.File) error { return s.datasync(f, 1) }, "fdatasync": datasync} {
		b.Run(name, func(b *testing.B) {
			f, err := newSegmentFile(b.TempDir(), "test", 1<<20, true)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, 4096)
			for i := 0; b.Loop(); i++ {
				if _, err := f.WriteAt(buf, int64(i%200)*4096); err != nil {
					b.Fatal(err)
				}
				if err := do(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLayouts: the kernel reads and writes these.
func TestLayouts(t *testing.T) {
	var cb iocb
	var ev ioEvent
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"iocb", unsafe.Sizeof(cb), 64}, {"aio_lio_opcode", unsafe.Offsetof(cb.opcode), 16}, {"aio_fildes", unsafe.Offsetof(cb.fd), 20},
		{"aio_flags", unsafe.Offsetof(cb.flags), 56}, {"aio_resfd", unsafe.Offsetof(cb.resFD), 60},
		{"io_event", unsafe.Sizeof(ev), 32}, {"res", unsafe.Offsetof(ev.res), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d (linux/aio_abi.h)", c.name, c.got, c.want)
		}
	}
}
