// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/netns"
)

// openSpaces prepares for other network namespaces. Nothing is touched yet.
func (d *daemon) openSpaces() (err error) {
	d.spaces, err = netns.New(netns.Options{
		Addresses: d.addresses, Max: d.cfg.Proxy.MaxNamespaces, Kernel: d.kernel, Server: d.proxy, Wanted: d.redirected, Log: d.Log,
	})
	return err
}

// redirected says whether the connections of a process may come to us.
func (d *daemon) redirected(pid uint32) bool {
	w, err := d.ident.Look(pid)
	if err != nil {
		return false // it ended; if it did not, its first connection asks
	}
	_, marked, err := d.kernel.Marked(pid)
	return d.enrol.Mode(&w, marked && err == nil) != agent.ModeOff
}

// takeSpaces takes over the listeners of an earlier daemon in other network namespaces, and makes those that are missing.
func (d *daemon) takeSpaces() error {
	if err := d.kernel.ResetServed(); err != nil {
		return err
	}
	if err := d.spaces.Begin(); err != nil {
		return err
	}
	d.spaces.Adopt(d.others)
	d.others = nil
	d.tell("FDSTOREREMOVE=1\nFDNAME=" + othersName) // else it keeps their namespaces alive
	if err := d.spaces.Scan(); err != nil {
		return fmt.Errorf("looking for network namespaces: %w", err)
	}
	return nil
}

func closeListeners(ls []*net.TCPListener) {
	for _, l := range ls {
		_ = l.Close()
	}
}
