// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Policy is the policy in force.
type Policy struct {
	Version string    `json:"version"`
	Loaded  time.Time `json:"loaded_at"`
	Cause   string    `json:"cause"`           // "start", "reload" (asked for by SIGHUP) or "file" (the folder changed)
	Error   string    `json:"error,omitempty"` // what is wrong with what is in the folder now, which is therefore not in force
}

// Rollout says how far each scope enforces, and what would come of enforcing more.
type Rollout struct {
	Since  time.Time      `json:"since,omitzero"` // of the verdicts counted; zero: all that the daemon's index has
	Until  time.Time      `json:"until"`
	Scopes []RolloutScope `json:"scopes"`
}

// RolloutScope is one scope.
type RolloutScope struct {
	Name     string        `json:"name"`
	Mode     string        `json:"mode"`
	Canary   string        `json:"canary,omitempty"` // share of the instances that is enforced; "" = the mode is that of all
	Enforced int           `json:"enforced"`         // instances that connected since the daemon started, at most 4096
	Observed int           `json:"observed"`
	Would    []RolloutRule `json:"would"` // what was not enforced and would have been
	Did      []RolloutRule `json:"did"`   // what was enforced
}

// RolloutRule counts the verdicts of one rule.
type RolloutRule struct {
	Rule    string    `json:"rule"`
	Action  string    `json:"action"` // "deny", "hold" or "transform"
	Count   int       `json:"count"`
	Callers int       `json:"callers"`           // how many different ones, at most 1000
	Example string    `json:"example,omitempty"` // the newest decision
	Last    time.Time `json:"last"`
}

// Rollout asks how far each scope enforces; since limits the verdicts that are counted.
func (c *Client) Rollout(ctx context.Context, since time.Time) (Rollout, error) {
	path := "/v1/rollout"
	if !since.IsZero() {
		path += "?" + url.Values{"since": {since.UTC().Format(time.RFC3339Nano)}}.Encode()
	}
	return call[Rollout](ctx, c, http.MethodGet, path, nil)
}
