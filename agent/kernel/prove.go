// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"os"

	"github.com/cilium/ebpf/link"

	"github.com/sallyport-dev/sallyport/agent/kernel/cover"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Proof holds what the kernel counted against what the proxy took.
func (k *Kernel) Proof() *cover.Proof { return k.proof }

func (k *Kernel) loadCover() {
	maps := cover.Maps{Cover: k.redirect.Maps[bpf.RedirectMapCover], Conns: k.redirect.Maps[bpf.RedirectMapConns]}
	var err error
	if k.cover, err = k.collection(bpf.LoadCover, nil); err != nil {
		k.refused["cover"] = explain("counting connections", minTracing, err)
	} else {
		maps.Told = k.cover.Maps[bpf.CoverMapTold]
	}
	k.proof = cover.New(maps)
}

// attachCover attaches the program that counts; the lock is held. Two that count would count twice: the one before stops as this one
// begins, and is detached then.
func (k *Kernel) attachCover() {
	if k.cover == nil {
		return
	}
	const name = bpf.CoverProgSetState
	if k.holds(name, k.cover.Programs[name]) {
		k.attached = append(k.attached, name)
		return
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: k.cover.Programs[name]})
	if err != nil {
		k.refused["cover/"+name] = explain("attaching "+name, minTracing, err)
		return
	}
	err = k.cover.Maps[bpf.CoverMapCounting].Put(uint32(0), k.o.Generation)
	if rerr := os.Remove(k.pin(name)); !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err = errors.Join(err, l.Pin(k.pin(name))); err != nil {
		k.refused["cover/"+name] = errors.Join(err, l.Close())
		return
	}
	l.Close()
	k.attached = append(k.attached, name)
}
