// SPDX-License-Identifier: Apache-2.0

package cond

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Bounds of arguments that a condition can look into.
const (
	maxArgs  = 1 << 20
	maxItems = 1 << 14
	maxNest  = 64
)

// parseArgs reads the arguments of a tool call. None are an empty map, text that is no JSON is a string. What two readers could
// understand differently, and what is beyond the bounds, is an error.
func parseArgs(raw []byte) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return map[string]any{}, nil
	}
	if len(raw) > maxArgs {
		return nil, errors.New("the arguments are too long for a condition")
	}
	if !json.Valid(raw) {
		return string(raw), nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	items := 0
	v, err := parseValue(d, maxNest, &items)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("bytes after the arguments")
	}
	return v, nil
}

func parseValue(d *json.Decoder, nest int, items *int) (any, error) {
	if *items++; *items > maxItems || nest == 0 {
		return nil, errors.New("the arguments are too large for a condition")
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			list := []any{}
			for d.More() {
				v, err := parseValue(d, nest-1, items)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		out, folded := map[string]any{}, map[string]bool{}
		for d.More() {
			t, err := d.Token()
			if err != nil {
				return nil, err
			}
			key, _ := t.(string)
			if f := strings.ToLower(key); folded[f] { // some readers take them for one
				return nil, errors.New("an argument is given twice")
			} else {
				folded[f] = true
			}
			v, err := parseValue(d, nest-1, items)
			if err != nil {
				return nil, err
			}
			out[key] = v
		}
		_, err := d.Token()
		return out, err
	}
	return t, nil
}
