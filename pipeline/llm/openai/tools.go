// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var (
	toolKeys = llm.Names{"type", "function", "custom", "name", "description", "parameters", "server_label", "server_url",
		"connector_id", "environment"}
	choiceOfKeys   = llm.Names{"type", "function", "custom", "name", "server_label", "allowed_tools", "mode", "tools"}
	environmentKey = llm.Names{"type"}
	nameKey        = llm.Names{"name"}
)

// Tools by who runs them, apart from functions, custom tools and servers that are reached by MCP.
var (
	byProvider = []string{"web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "browser_search"}
	byApp      = []string{"computer", "computer_use_preview", "local_shell", "apply_patch"}
)

// toolType is a type of tool without the date of its version.
func toolType(kind string) string {
	for _, name := range []string{"web_search_preview", "web_search"} {
		if date, ok := strings.CutPrefix(kind, name+"_20"); ok && len(date) == len("25_01_01") {
			return name
		}
	}
	return kind
}

// offer reads one tool. In chat completions functions and custom tools are described one level further down; flat says that
// they are not.
func (rd *reader) offer(flat bool) error {
	seen, inside, step := uint64(0), "", rd.Offer()
	var kind, name, label, place string
	about, address := -1, -1 // of the texts
	err := rd.Object(func(m llm.Member) error {
		k, err := toolKeys.Once(m.Key, &seen)
		if err != nil || k < 0 {
			if err == nil {
				err = rd.Beside(step)
			}
			return err
		}
		if null := rd.Peek() == llm.Null; null && k > 0 {
			return rd.Pass()
		}
		switch key := toolKeys[k]; key {
		case "type":
			return rd.Word(&kind)
		case "function", "custom":
			if inside != "" || flat {
				return llm.NotInspected("tool with a %s in it", key)
			}
			inside = key
			return rd.Function(step)
		case "name":
			return rd.Word(&name)
		case "description":
			if rd.Peek() != llm.String {
				return llm.NotInspected("description that is no text")
			}
			about, err = rd.note()
			return err
		case "server_label":
			return rd.Word(&label)
		case "server_url", "connector_id":
			if place != "" {
				return llm.NotInspected("tool with two servers")
			}
			place = key
			address, err = rd.note()
			return err
		case "environment":
			return rd.environment(&place)
		}
		return rd.Beside(step)
	})
	if err != nil {
		return err
	}
	st := &rd.R.Call.Steps[step]
	switch kind = toolType(kind); {
	case kind == "function" || kind == "custom":
		if flat {
			st.Name = name
			rd.tell(step, about)
		} else if inside != kind || name != "" {
			return llm.NotInspected("%s tool that is described in another way", kind)
		}
		if st.Name == "" || label != "" || place != "" {
			return llm.NotInspected("%s tool that is not described as one", kind)
		}
		return nil
	case inside != "":
		return llm.NotInspected("tool of type %q with a %s in it", kind, inside)
	case kind == "mcp":
		if label == "" || place != "server_url" && place != "connector_id" {
			return llm.NotInspected("MCP server without a label or without an address")
		}
		st.Name, st.ByProvider = "mcp/"+label, true
		rd.tell(step, address)
	case kind == "shell":
		if err := llm.Known("shell in environment", place, "", "local", "container_auto", "container_reference"); err != nil {
			return err
		}
		st.Name, st.ByProvider = kind, place != "local" // left out, it is a container
	case slices.Contains(byProvider, kind):
		st.Name, st.ByProvider = kind, true
	case slices.Contains(byApp, kind):
		st.Name = kind
	default:
		return llm.NotInspected("tool of type %q", kind)
	}
	return nil
}

// note reads a text of which it is not known yet whether it is that of a step, and returns its place.
func (rd *reader) note() (int, error) {
	text, at, err := rd.Text()
	rd.R.Texts = append(rd.R.Texts, llm.Text{At: at, Value: text, Step: -1})
	return len(rd.R.Texts) - 1, err
}

// tell makes a text that of a step.
func (rd *reader) tell(step, text int) {
	if text >= 0 {
		rd.R.Texts[text].Step = step
		rd.R.Call.Steps[step].Text = llm.Shared(rd.R.Texts[text].Value)
	}
}

func (rd *reader) environment(place *string) error {
	seen := uint64(0)
	return rd.Object(func(m llm.Member) error {
		k, err := environmentKey.Once(m.Key, &seen)
		if err == nil && k == 0 {
			return rd.Word(place)
		}
		if err == nil {
			err = rd.Rest()
		}
		return err
	})
}

// choose reads the member that says which tool to use: a word, or an object that names one. What it returns is for Members.
func (rd *reader) choose() (func(llm.Span), error) {
	if null, err := rd.Null(); null || err != nil {
		return nil, err
	}
	if rd.chosen {
		return nil, llm.NotInspected("tool choice in two forms")
	}
	rd.chosen = true
	set := func(at llm.Span) { rd.R.Choice = at }
	if rd.Peek() == llm.String {
		var word string
		if err := rd.Word(&word); err != nil {
			return nil, err
		}
		return set, llm.Known("tool choice", word, "auto", "none", "required", "any")
	}
	seen := uint64(0)
	var kind, name, label string
	err := rd.Object(func(m llm.Member) error {
		k, err := choiceOfKeys.Once(m.Key, &seen)
		if err != nil || k < 0 {
			if err == nil {
				err = rd.Rest()
			}
			return err
		}
		switch choiceOfKeys[k] {
		case "type":
			return rd.Word(&kind)
		case "function", "custom":
			inside := uint64(0)
			return rd.Object(func(m llm.Member) error {
				if k, err := nameKey.Once(m.Key, &inside); err != nil || k < 0 {
					return llm.NotInspected("tool choice with more than a name")
				}
				if name != "" {
					return llm.NotInspected("tool choice with two names")
				}
				return rd.Word(&name)
			})
		case "name":
			if rd.Peek() == llm.Null {
				return rd.Pass()
			}
			if name != "" {
				return llm.NotInspected("tool choice with two names")
			}
			return rd.Word(&name)
		case "server_label":
			return rd.Word(&label)
		}
		return rd.Rest()
	})
	switch kind = toolType(kind); kind {
	case "function", "custom", "":
		rd.R.Chosen = name
	case "mcp":
		rd.R.Chosen = "mcp/" + label
	case "allowed_tools":
	default:
		rd.R.Chosen = kind
	}
	return set, err
}

// most reads a limit of tokens; the largest of several holds. Local servers take -1 for no limit.
func (rd *reader) most() error {
	rd.Peek()
	from := rd.Pos()
	if at, err := rd.Skip(); err != nil || string(rd.Bytes(at)) == "-1" {
		rd.limitless, rd.R.MaxTokens = true, 0
		return err
	}
	rd.Seek(from)
	v, err := rd.Int()
	if !rd.limitless {
		rd.R.MaxTokens = max(rd.R.MaxTokens, v)
	}
	return err
}

// times multiplies the limit by the number of answers that are asked for.
func (rd *reader) times(n int64) {
	const most = 1 << 50
	if n > 1 && rd.R.MaxTokens > 0 {
		if rd.R.MaxTokens > most/n {
			rd.R.MaxTokens = most
			return
		}
		rd.R.MaxTokens *= n
	}
}
