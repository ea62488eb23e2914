// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The samples are made up here, in two parts each, so that no scanner takes this file for a leak.
const (
	marker  = "Qq7Qq7Qq7Qq7Qq7Qq7Qq7Qq7"
	openAI  = "sk-" + "proj-" + marker
	aws     = "AKIA" + "QQ7QQ7QQ7QQ7QQ7Q"
	jwt     = "eyJ" + "hbGciOiJub25lIn0." + marker + "." + marker
	private = "-----BEGIN EC PRIVATE" + " KEY-----\n" + marker + "\n-----END EC PRIVATE" + " KEY-----"
)

type key string

func (key) Secret() {}

type pointerKey struct{ v string }

func (*pointerKey) Secret() {}

// leaky is a secret that tries to print itself.
type leaky string

func (leaky) Secret()                      {}
func (l leaky) LogValue() slog.Value       { return slog.StringValue(string(l)) }
func (l leaky) String() string             { return string(l) }
func (l leaky) GoString() string           { return string(l) }
func (l leaky) Format(s fmt.State, _ rune) { fmt.Fprint(s, string(l)) }

// valuer resolves to a secret.
type valuer struct{ k key }

func (v valuer) LogValue() slog.Value { return slog.AnyValue(v.k) }

type request struct{ Header, URL string }

func TestNothingSecretIsPrinted(t *testing.T) {
	deep := slog.String("leaf", openAI)
	for range 40 {
		deep = slog.Group("g", deep)
	}
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
	}{
		{"secret type", func(l *slog.Logger) { l.Info("m", "k", key(marker)) }},
		{"pointer to a secret", func(l *slog.Logger) { l.Info("m", "k", &pointerKey{marker}) }},
		{"secret that prints itself", func(l *slog.Logger) { l.Info("m", "k", leaky(marker)) }},
		{"valuer of a secret", func(l *slog.Logger) { l.Info("m", "k", valuer{key(marker)}) }},
		{"authorization", func(l *slog.Logger) { l.Info("m", "Authorization", marker) }},
		{"api_key", func(l *slog.Logger) { l.Info("m", "openai_api_key", marker) }},
		{"x-api-key", func(l *slog.Logger) { l.Info("m", "X-Api-Key", marker) }},
		{"token", func(l *slog.Logger) { l.Info("m", "sessionToken", marker) }},
		{"password as bytes", func(l *slog.Logger) { l.Info("m", "password", []byte(marker)) }},
		{"group with a telling name", func(l *slog.Logger) { l.WithGroup("credentials").Info("m", "a", marker) }},
		{"group value with a telling name", func(l *slog.Logger) { l.Info("m", slog.Group("cookie", "a", marker)) }},
		{"within a group", func(l *slog.Logger) { l.WithGroup("g").Info("m", "token", marker) }},
		{"with", func(l *slog.Logger) { l.With("token", marker).Info("m") }},
		{"with a vendor key", func(l *slog.Logger) { l.With("x", openAI).Info("m") }},
		{"message", func(l *slog.Logger) { l.Info("calling with " + openAI) }},
		{"error", func(l *slog.Logger) { l.Info("m", KeyError, errors.New("refused key "+openAI)) }},
		{"string", func(l *slog.Logger) { l.Info("m", "x", "Bearer "+marker) }},
		{"web token", func(l *slog.Logger) { l.Info("m", "x", jwt) }},
		{"private key", func(l *slog.Logger) { l.Info("m", "x", private) }},
		{"cut private key", func(l *slog.Logger) { l.Info("m", "x", private[:60]) }},
		{"bytes", func(l *slog.Logger) { l.Info("m", "x", []byte(marker)) }},
		{"raw JSON", func(l *slog.Logger) { l.Info("m", "x", json.RawMessage(`"`+marker+`"`)) }},
		{"struct", func(l *slog.Logger) {
			l.Info("m", "x", request{Header: "Bearer " + marker, URL: "https://h/?key=" + marker + "&a=b"})
		}},
		{"secret inside a struct", func(l *slog.Logger) { l.Info("m", "x", struct{ k key }{marker}) }},
		{"secret inside an interface inside a slice", func(l *slog.Logger) { l.Info("m", "x", []any{key(marker)}) }},
		{"strings", func(l *slog.Logger) { l.Info("m", "x", []string{"a", openAI}) }},
		{"map", func(l *slog.Logger) { l.Info("m", "x", map[string]string{"a": openAI}) }},
		{"URL with a password", func(l *slog.Logger) { l.Info("m", "x", "https://elastic:"+marker+"@h:9200/") }},
		{"URL with a signature", func(l *slog.Logger) { l.Info("m", "x", "https://h/?X-Amz-Signature="+marker) }},
		{"key of an attribute", func(l *slog.Logger) { l.Info("m", openAI, 1) }},
		{"deep group", func(l *slog.Logger) { l.Info("m", deep) }},
	} {
		for _, f := range []Format{Text, JSON} {
			t.Run(c.name+"/"+string(f), func(t *testing.T) {
				var out bytes.Buffer
				l, err := New(&out, f, slog.LevelInfo)
				if err != nil {
					t.Fatal(err)
				}
				c.log(l)
				if out.Len() == 0 {
					t.Fatal("nothing was logged")
				}
				if strings.Contains(out.String(), marker[:6]) {
					t.Errorf("printed: %s", &out)
				}
			})
		}
	}
	if strings.Contains(scrub("key "+aws+" refused"), aws) {
		t.Error("AWS key")
	}
}

func TestPlainValuesStay(t *testing.T) {
	var out bytes.Buffer
	l, err := New(&out, JSON, slog.LevelDebug)
	if err != nil {
		t.Fatal(err)
	}
	l.With(KeyComponent, "proxy").WithGroup("g").Debug("a plain message about sk-8 and tokens", "n", 7, "ok", true, "took", time.Second,
		"addr", netip.MustParseAddrPort("127.0.0.1:15001"), "input_tokens", 12, "path", "/var/lib/sallyport/journal/0000000000000001.seg", "none", nil,
		KeyDecision, "dec_01890a5d-ac96-774b-bcce-b302099a8057", slog.Group("inner", "host", "api.openai.com"))
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["msg"] != "a plain message about sk-8 and tokens" || got[KeyComponent] != "proxy" || got["level"] != "DEBUG" {
		t.Errorf("got %s", &out)
	}
	g := got["g"].(map[string]any)
	for k, want := range map[string]any{"n": 7.0, "ok": true, "addr": "127.0.0.1:15001", "input_tokens": 12.0, "path": "/var/lib/sallyport/journal/0000000000000001.seg",
		"none": nil, KeyDecision: "dec_01890a5d-ac96-774b-bcce-b302099a8057"} {
		if g[k] != want {
			t.Errorf("%s: %v, want %v", k, g[k], want)
		}
	}
	if g["inner"].(map[string]any)["host"] != "api.openai.com" {
		t.Errorf("group: %v", g["inner"])
	}
}

func TestNew(t *testing.T) {
	var out bytes.Buffer
	if _, err := New(&out, "xml", slog.LevelInfo); err == nil {
		t.Error("unknown format accepted")
	}
	l, err := New(&out, "", slog.LevelWarn)
	if err != nil {
		t.Fatal(err)
	}
	l.Info("below the level")
	if out.Len() > 0 {
		t.Errorf("logged %s", &out)
	}
}
