// SPDX-License-Identifier: Apache-2.0

package tlsca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretCannotPrint(t *testing.T) {
	raw := []byte("tell-nobody")
	s := NewSecret(bytes.Clone(raw))
	holder := struct{ Public, private any }{s, s}
	nested := struct{ s Secret }{s}
	var out bytes.Buffer
	for _, v := range []any{s, &s, holder, &holder, nested, &nested, []Secret{s}, map[string]Secret{"k": s}, fmt.Errorf("x %w", fmt.Errorf("%v", s))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t", "%08b", "%p"} {
			fmt.Fprintf(&out, verb, v)
		}
		if j, err := json.Marshal(v); err == nil {
			out.Write(j)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	}
	fmt.Fprint(&out, s)
	fmt.Fprintln(&out, s.String())
	for name, leak := range map[string]string{
		"plain":   string(raw),
		"hex":     hex.EncodeToString(raw),
		"base64":  base64.StdEncoding.EncodeToString(raw),
		"decimal": strings.Trim(fmt.Sprint(raw), "[]"),
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(leak)) {
			t.Errorf("printed %s", name)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was printed at all")
	}
}

func TestSecretWipe(t *testing.T) {
	b := []byte("key")
	s := NewSecret(b)
	other := s
	s.Wipe()
	if other.Reveal() != nil || !bytes.Equal(b, make([]byte, 3)) {
		t.Errorf("after Wipe: %q, %v", b, other.Reveal())
	}
	Secret{}.Wipe()
	if (Secret{}).Reveal() != nil {
		t.Error("the zero value is not empty")
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"api.openai.com", "api.openai.com"},
		{"API.OpenAI.com.", "api.openai.com"},
		{"bedrock-runtime.eu-central-1.amazonaws.com", "bedrock-runtime.eu-central-1.amazonaws.com"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"localhost", ""}, {"", ""}, {".", ""}, {"*.openai.com", ""}, {"api..com", ""}, {".api.com", ""},
		{"10.0.0.1", ""}, {"::1", ""}, {"a_b.example", ""}, {"-a.example", ""}, {"a-.example", ""}, {"bücher.example", ""},
		{"a b.example", ""}, {"a.example\n", ""}, {"a.example/x", ""}, {strings.Repeat("a", 64) + ".example", ""},
		{strings.Repeat("abc.", 63) + "example", ""}, {"api.example:443", ""}, {"api.example\x00", ""}, {"a.example..", ""},
	} {
		got, err := Host(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Host(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestKeyPEM(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseKey(s)
	if err != nil || !back.Equal(key) {
		t.Fatalf("ParseKey: %v", err)
	}
	text := string(s.Reveal())
	for name, in := range map[string]string{
		"empty":     "",
		"no pem":    "hunter2",
		"other":     strings.ReplaceAll(text, "PRIVATE KEY", "CERTIFICATE"),
		"twice":     text + text,
		"truncated": text[:len(text)/2],
		"not a key": "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n",
	} {
		_, err := ParseKey(NewSecret([]byte(in)))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if in != "" && strings.Contains(err.Error(), in) {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}
