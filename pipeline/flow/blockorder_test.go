// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// disorder makes a stream of events out of bytes: blocks that begin, go on and end in any order, under any number, with other names
// and keys than belong there. What goes into a block that was begun as a refused call says so.
func disorder(plan []byte) string {
	var out strings.Builder
	out.WriteString(begins)
	kind := map[int]string{}
	for i, b := range plan {
		n := int(b>>4) & 3
		word := map[string]string{"delete": "forbidden", "search": "allowed", "text": "spoken", "": "stray"}[kind[n]]
		e := ""
		switch b & 15 {
		case 0, 1:
			kind[n] = "delete"
			e = start(n, fmt.Sprintf(`{"type":"tool_use","id":"t%d","name":"delete","input":{}}`, i))
		case 2:
			kind[n] = "search"
			e = start(n, fmt.Sprintf(`{"type":"tool_use","id":"t%d","name":"search","input":{}}`, i))
		case 3:
			kind[n] = "text"
			e = start(n, `{"type":"text","text":""}`)
		case 4, 5, 6:
			e = piece(n, "input_json_delta", "partial_json", word)
		case 7:
			e = piece(n, "text_delta", "text", word)
		case 8, 9:
			e = stop(n)
			delete(kind, n)
		case 10:
			e = ends("tool_use")
		case 11:
			e = ping
		case 12:
			e = strings.Replace(stop(n), "event: content_block_stop", "event: ping", 1)
		case 13:
			e = strings.Replace(piece(n, "input_json_delta", "partial_json", word), fmt.Sprintf(`"index":%d`, n), fmt.Sprintf(`"index":%d,"index":%d`, n, (n+1)&3), 1)
		case 14:
			e = strings.Replace(piece(n, "input_json_delta", "partial_json", word), `"input_json_delta"`, `"text_delta","text":"x"`, 1)
		case 15:
			e = stops
		}
		if b&64 != 0 { // over several fields
			e = strings.Replace(e, `,"`, ",\ndata: \"", 1)
		}
		out.WriteString(e)
	}
	return out.String()
}

// calledIn lists the tools whose calls an application puts together from a stream: one that goes by names of events, and one that
// goes by the types in the data and takes the last of two equal keys.
func calledIn(t *testing.T, released string) (names []string) {
	t.Helper()
	s := stream.NewSSE(0)
	s.Write([]byte(released))
	s.End()
	for {
		ev, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return names
		}
		var v struct {
			Type  string
			Block struct{ Name string } `json:"content_block"`
		}
		if json.Unmarshal(ev.Data, &v) == nil && (v.Type == "content_block_start" || string(ev.Name) == "content_block_start") && v.Block.Name != "" {
			names = append(names, v.Block.Name)
		}
	}
}

// FuzzBlockOrder: whatever order a provider's events come in, nobody puts a refused call together from what is released, and nothing
// that was said in its block is released.
func FuzzBlockOrder(f *testing.F) {
	f.Add([]byte{0x00, 0x04, 0x08, 0x12, 0x14, 0x18, 0x0a, 0x0f}, uint8(20))
	f.Add([]byte{0x03, 0x07, 0x10, 0x14, 0x07, 0x18, 0x13, 0x0a, 0x0f}, uint8(1))
	f.Add([]byte{0x02, 0x04, 0x00, 0x04, 0x08, 0x0a}, uint8(255))
	f.Add([]byte{0x10, 0x14, 0x03, 0x07, 0x18, 0x08, 0x0a, 0x0f, 0x0f}, uint8(7))
	f.Add([]byte{0x40, 0x44, 0x48, 0x52, 0x4a}, uint8(90))
	f.Fuzz(func(t *testing.T, plan []byte, step uint8) {
		if len(plan) > 64 {
			return
		}
		r := blockRig(t, true).reply(200, "text/event-stream", inSteps(disorder(plan), step)...)
		err := r.serve()
		got := string(r.client.Got)
		if strings.Contains(got, "forbidden") {
			t.Fatalf("released %s (%v)", got, err)
		}
		for _, name := range calledIn(t, got) {
			if name == "delete" {
				t.Fatalf("a refused call can be put together from %s (%v)", got, err)
			}
		}
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
	})
}
