// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// decode reads one JSON object and nothing else.
func decode(r *http.Request, into any) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return &refusal{http.StatusRequestEntityTooLarge, adminapi.CodeTooLarge, fmt.Sprintf("the request is over %d bytes", large.Limit)}
		}
		return bad("the request does not arrive: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return bad("the request does not decode: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("the request holds more than one JSON value")
	}
	return nil
}

func pathID(r *http.Request, prefixes ...string) (string, error) {
	id := r.PathValue("id")
	if !isID(id, prefixes...) {
		return "", bad("%q is no ID: want %s…", clip(id), strings.Join(prefixes, "… or "))
	}
	return id, nil
}

func isID(id string, prefixes ...string) bool {
	rest := ""
	for _, p := range prefixes {
		if after, ok := strings.CutPrefix(id, p); ok {
			rest = after
		}
	}
	return rest != "" && len(rest) <= 64 && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80]
	}
	return s
}
