// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel/sockets"
	"github.com/sallyport-dev/sallyport/bpf"
)

// openSockets loads the iterator over open connections, or notes why there is none.
func (k *Kernel) openSockets() {
	s, err := sockets.Load(k.redirect.Maps[bpf.RedirectMapOrigins], k.redirect.Maps[bpf.RedirectMapPorts])
	if err != nil {
		var typed *agent.Unsupported
		if err = explain(featureSockets, minIterator, err); !errors.As(err, &typed) {
			err = &agent.Unsupported{Feature: featureSockets, Err: err}
		}
		k.refused["older"] = err
		return
	}
	k.sockets = s
}

const (
	featureSockets = "listing open connections in the kernel"
	minIterator    = "5.16" // sk_storage and socket cookies in iterators over open files
)

// Sockets lists the TCP connections to captured ports that processes of the whole host hold open, one for each
// descriptor. Where the kernel refused the iterator the error is an *agent.Unsupported.
func (k *Kernel) Sockets() ([]agent.Socket, error) {
	if k.sockets == nil {
		return nil, k.Refused()["older"]
	}
	return k.sockets.List()
}

// Redirected says whether our programs redirected the connection of a descriptor of this process.
func (k *Kernel) Redirected(fd int) (bool, error) {
	return sockets.Redirected(k.redirect.Maps[bpf.RedirectMapOrigins], fd)
}
