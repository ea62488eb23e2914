// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// LeakedKey and LeakedEmail are what "leak a key" tells. Both are made up.
func LeakedKey() string { return "sk-" + "proj-" + "Fa4e0Key1Of2No3Use4At5All6x7Y8z9" }

// LeakedEmail is the address beside LeakedKey.
func LeakedEmail() string { return "jane.doe@example.com" }

// script is what the last user message asks for.
type script struct {
	text     string
	calls    []call
	pace     time.Duration
	compress bool
	hang     bool
	end      ending
	status   int
}

// call is one tool call to be made.
type call struct{ name, args string }

var (
	toolWords   = regexp.MustCompile(`(?i)\b(use|force) tool ([A-Za-z0-9_-]{1,64})(?: with (\{))?`)
	plainWords  = regexp.MustCompile(`(?i)\b(?:gzip|hang|slow|reset|cut|stall|lie|surplus|unicode|two tools|leak a key)\b`)
	longWords   = regexp.MustCompile(`(?i)\blong (\d{1,6})\b`)
	paceWords   = regexp.MustCompile(`(?i)\bpace (\d{1,6}(?:us|ms|s))\b`)
	statusWords = regexp.MustCompile(`(?i)\bstatus ([45]\d\d)\b`)
)

// plan reads the script for a conversation.
func plan(r *chatRequest, pace time.Duration) script {
	prompt, round, results := r.lastTurn()
	words := map[string]bool{}
	for _, w := range plainWords.FindAllString(prompt, -1) {
		words[strings.ToLower(w)] = true
	}
	has := func(w string) bool { return words[w] }
	s := script{pace: pace, compress: has("gzip"), hang: has("hang")}
	if has("slow") {
		s.pace = max(10*pace, 150*time.Millisecond)
	}
	if m := paceWords.FindStringSubmatch(prompt); m != nil {
		if d, err := time.ParseDuration(strings.ToLower(m[1])); err == nil {
			s.pace = d
		}
	}
	if m := statusWords.FindStringSubmatch(prompt); m != nil {
		s.status, _ = strconv.Atoi(m[1]) // three digits
	}
	switch {
	case has("reset"):
		s.end = endReset
	case has("cut"):
		s.end = endCut
	case has("stall"):
		s.end = endStall
	case has("lie"):
		s.end = endLie
	case has("surplus"):
		s.end = endSurplus
	}

	calls, missing := r.toolCalls(prompt)
	switch {
	case has("two tools"):
		for i := 0; len(calls) < 2 && i < len(r.Tools); i++ {
			calls = append(calls, call{r.Tools[i].Function.Name, r.Tools[i].arguments()})
		}
		if round == 0 {
			s.calls = calls[:min(2, len(calls))]
		}
	case round < len(calls):
		s.calls = calls[round : round+1]
	}
	switch _, said, found := strings.Cut(prompt, "say: "); {
	case len(s.calls) > 0:
	case len(results) > 0:
		s.text = "The tool answered: " + strings.Join(results, "; ")
	case missing != "":
		s.text = "I have no tool named " + missing + "."
	case found:
		s.text = said
	case has("leak a key"):
		s.text = "Sure. The key is " + LeakedKey() + ", and " + LeakedEmail() + " knows the rest."
	case has("unicode"):
		s.text = "Grüße, 世界! 🚀👩‍👩‍👧 \"quoted\" back\\slash\ttab\nline \u2028 <b>&amp;</b> \u0007 ω."
	default:
		s.text = "This is a short answer from a naïve test model; it says nothing of value."
		if m := longWords.FindStringSubmatch(prompt); m != nil {
			n, _ := strconv.Atoi(m[1])
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "word%d ", i)
			}
			s.text = strings.TrimSpace(b.String())
		}
	}
	return s
}

// lastTurn gives the last user message, how many rounds of tool calls followed it, and, if the conversation ends in
// tool results, these.
func (r *chatRequest) lastTurn() (prompt string, round int, results []string) {
	for _, m := range r.Messages {
		switch m.Role {
		case "user":
			prompt, round, results = m.text(), 0, nil
		case "assistant":
			results = nil
			if len(m.ToolCalls) > 0 {
				round++
			}
		case "tool":
			results = append(results, m.text())
		}
	}
	return prompt, round, results
}

// toolCalls finds the tools that the prompt names, in order, and the first that it may not use.
func (r *chatRequest) toolCalls(prompt string) (calls []call, missing string) {
	for _, m := range toolWords.FindAllStringSubmatchIndex(prompt, -1) {
		c := call{name: prompt[m[4]:m[5]], args: "{}"}
		offered := false
		for _, t := range r.Tools {
			if t.Function.Name == c.name {
				c.args, offered = t.arguments(), true
			}
		}
		if m[6] >= 0 {
			var args json.RawMessage
			if json.NewDecoder(strings.NewReader(prompt[m[6]:])).Decode(&args) == nil {
				c.args = string(args)
			}
		}
		if offered || strings.EqualFold(prompt[m[2]:m[3]], "force") {
			calls = append(calls, c)
		} else if missing == "" {
			missing = c.name
		}
	}
	return calls, missing
}

// arguments makes arguments that fit the tool's schema: every required property, by its type.
func (t *tool) arguments() string {
	args := map[string]any{}
	sort.Strings(t.Function.Parameters.Required)
	for _, name := range t.Function.Parameters.Required {
		switch t.Function.Parameters.Properties[name].Type {
		case "integer", "number":
			args[name] = 1
		case "boolean":
			args[name] = true
		case "array":
			args[name] = []string{}
		case "object":
			args[name] = map[string]any{}
		default:
			args[name] = "example"
		}
	}
	b, err := json.Marshal(args)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// pieces cuts a text as a tokeniser might: every few runes, with no regard for words or secrets.
func pieces(text string) (out []string) {
	runes := []rune(text)
	for i, n := 0, 0; i < len(runes); i, n = i+3+n%3, n+1 {
		out = append(out, string(runes[i:min(i+3+n%3, len(runes))]))
	}
	return out
}
