// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"net/http"
	"time"
)

// QuarantineRequest asks to cut a principal off.
type QuarantineRequest struct {
	Selector string `json:"selector"` // unit:NAME, cgroup:/PATH, container:ID, pod:UID, uid:N or a SPIFFE ID
	Seconds  int64  `json:"seconds,omitempty"`
	Reason   string `json:"reason"`
}

// QuarantineLift asks to end a quarantine.
type QuarantineLift struct {
	Selector string `json:"selector"`
}

// Quarantine is one principal that is cut off.
type Quarantine struct {
	Selector string          `json:"selector"`
	Since    time.Time       `json:"since"`
	Until    time.Time       `json:"until,omitzero"` // zero: until it is lifted
	Reason   string          `json:"reason"`
	UID      uint32          `json:"uid"` // who asked
	PID      uint32          `json:"pid"`
	Comm     string          `json:"comm,omitempty"`
	Paths    []string        `json:"paths"`   // the cgroups in which it was found
	Refused  uint64          `json:"refused"` // connections since then
	Cut      []QuarantineCut `json:"cut"`     // connections that were ended at once
	Warning  string          `json:"warning,omitempty"`
}

// QuarantineCut is a connection that a quarantine ended.
type QuarantineCut struct {
	PID   uint32 `json:"pid"`
	Comm  string `json:"comm,omitempty"`
	Proto string `json:"proto"`
	Peer  string `json:"peer,omitempty"`
}

// Quarantines asks who is cut off.
func (c *Client) Quarantines(ctx context.Context) ([]Quarantine, error) {
	return call[[]Quarantine](ctx, c, http.MethodGet, "/v1/quarantine", nil)
}

// Quarantine cuts a principal off at once. It is in force also if a warning comes back with it.
func (c *Client) Quarantine(ctx context.Context, r QuarantineRequest) (Quarantine, error) {
	return call[Quarantine](ctx, c, http.MethodPost, "/v1/quarantine/add", r)
}

// LiftQuarantine ends a quarantine.
func (c *Client) LiftQuarantine(ctx context.Context, r QuarantineLift) (Quarantine, error) {
	return call[Quarantine](ctx, c, http.MethodPost, "/v1/quarantine/lift", r)
}
