// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// ErrNoRecord is returned by Origins.Take for a connection that no program of ours redirected: it is closed.
var ErrNoRecord = errors.New("no record of this connection")

// Origins tells what the kernel stored about an accepted connection (agent/kernel).
type Origins interface {
	// Take looks the record up and deletes it: one connection, one record. It wants the socket, not its addresses: these come
	// again, and a connection that died before it was accepted must not be given the record of the next one.
	Take(netns uint64, conn *net.TCPConn) (agent.Conn, error)
}

// Identifier finds out who is calling (agent/workload).
type Identifier interface {
	// Identify checks the start time again after reading, so that a reused pid is an error, never a wrong identity.
	Identify(context.Context, agent.Process) (pipeline.Workload, pipeline.Principal, error)
}

// Disposition is what happens to a connection once its destination name is known.
type Disposition uint8

const (
	Refuse    Disposition = iota // the zero value fails closed
	Pass                         // relay bytes unread
	Terminate                    // open the TLS and inspect
)

// Route is the router's answer.
type Route struct {
	Disposition Disposition
	Endpoint    pipeline.Endpoint // if Terminate
	UpstreamCA  []byte            // PEM that replaces the system roots for this endpoint; nil = system roots less ours
	Plain       bool              // the endpoint speaks HTTP without TLS
	Scope       string
	Mode        pipeline.Mode
	Untrusted   bool   // refused or passed because trust in our root is not proven
	Reason      string // for people; says the mend where there is one
}

// Router decides what happens to a connection (agent/enrol).
type Router interface {
	// Route is asked once per connection, or twice: a client that stays silent may be waiting for the server to speak, so
	// it is asked about no name and no TLS first, and again about what the client says then; the last answer counts. sni is "" without TLS; tls says whether a ClientHello was seen.
	Route(c agent.Conn, w *pipeline.Workload, sni string, tls bool) Route
	// Handshake reports how the TLS handshake under the certificate of host ended: nil proves trust for this process, an error
	// that Distrust recognises disproves it, one that Silent recognises may. It says whether the program is taken to
	// distrust our root, and what mends that.
	Handshake(c agent.Conn, host string, err error) (untrusted bool, mend string)
}

// Certs gives the leaf certificate shown to the application (tlsca/leaf).
type Certs interface {
	Leaf(ctx context.Context, host string) (*tls.Certificate, error)
}

// Credentials applies a named credential to an outgoing request (tlsca/credential). Nil: only callers' own credentials.
type Credentials interface {
	Apply(ctx context.Context, name string, m *pipeline.Meta, wire *[]pipeline.Field, body []byte) error
}

// Handler serves one exchange (pipeline/flow).
type Handler interface {
	// Serve returns nil after a complete reply was written. Any error after Respond cuts the client's connection, so that
	// an incomplete reply is never taken for a complete one; an error before Respond closes it without a reply.
	Serve(context.Context, *pipeline.Meta, pipeline.Client, pipeline.Upstream) error
}

// Ledger records connections that carry no exchange: missed, passed, refused. It must not block.
type Ledger interface {
	Flow(pipeline.Record)
}

// Addresses knows which addresses the programs of a network namespace were given for a provider's name (agent/kernel/learn).
type Addresses interface {
	// Addresses lists them, the latest first. It is asked only when a provider does not answer.
	Addresses(netns uint64, host string) []netip.Addr
	// Verified says that the provider proved its name at an address just now, however the program came to know that.
	Verified(netns uint64, host string, a netip.Addr)
}
