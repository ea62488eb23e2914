// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReferenceIsDefault(t *testing.T) {
	for name, text := range map[string]string{"reference": Reference(), "empty": "", "only a comment": "# nothing\n", "null": "~"} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("ref", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			if diff := cmp.Diff(want, c, cmp.Comparer(sameList[[]Scope]), cmp.Comparer(sameList[[]uint32]), cmp.Comparer(sameList[[]string]), cmp.Comparer(sameList[[]MaskAction]), cmp.Comparer(sameList[[]MaskRule])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sameList compares lists, an empty one like none.
func sameList[T any](a, b T) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Len() == 0 && y.Len() == 0 || reflect.DeepEqual(a, b)
}

// TestReferenceNamesEveryKey keeps a new key from being left out of the reference.
func TestReferenceNamesEveryKey(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		for i := range ty.NumField() {
			f := ty.Field(i)
			key, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if unready := key == "podLabels" || key == "egress"; opts != "inline" && !unready && !strings.Contains(Reference(), key+":") {
				t.Errorf("key %s is missing", key)
			}
			in := f.Type
			if in.Kind() == reflect.Slice {
				in = in.Elem()
			}
			if in.Kind() == reflect.Struct {
				walk(in)
			}
		}
	}
	walk(reflect.TypeFor[file]())
}

func TestParse(t *testing.T) {
	b, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("full.yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	uid := uint32(1001)
	want := &Config{
		Protect: []Scope{
			{"agents", Match{Unit: "langchain-*.service", UID: &uid}, "enforce", "closed", "deny", "deny", Older{"cut", 10 * time.Second, 5 * time.Minute}, false, 0},
			{"trial", Match{Cgroup: "/lab/*", Exe: "/usr/bin/python3*"}, "observe", "closed", "passthrough", "observe", Older{"list", 5 * time.Second, 5 * time.Minute}, false, 0},
			{"rest", Match{LangChain: true}, "off", "open", "passthrough", "observe", Older{"leave", 5 * time.Second, 5 * time.Minute}, false, 0},
		},
		Capture: Capture{"observe", []uint16{443}, "/sys/fs/cgroup/lab", "/sys/fs/bpf/lab", 30 * time.Second},
		Endpoints: []Endpoint{
			{"openai", "api.openai.com", 443, "openai", "", "/etc/ca.pem", false},
			{"local", "127.0.0.1", 11434, "ollama", "", "", true},
			{"plain", "llm.internal", 80, "openai", "/openai/deployments/{model}", "", true},
		},
		Identity: Identity{"corp.example", "ns/{unit}"},
		Policy:   Policy{"/p", "https://help.example/llm"},
		CA:       CA{"embedded", "/ca"},
		Trust:    Trust{Host: "none", Ledger: "/ledger", NodeInspector: true},
		Record:   Record{true, "/journal", 5_000_000, "stop", "/mnt/anchors", Retention{30 * 24 * time.Hour, 365 * 24 * time.Hour, 36 * time.Hour}, "sealed", []string{"age1x", "age1y"}},
		Mask: Mask{"/mask.key", true, false, []MaskAction{{[]string{"secrets"}, []string{"args"}, []string{"bot*"}, []string{"aws-key"}, "deny"}}, []string{"*@example.com"},
			[]MaskRule{{"employee-id", "EMPLOYEE_ID", "E[0-9]{6}", true, "a", "b", []string{"staff"}, 40, "luhn", true, "pseudonym"}}},
		Archive:       Archive{true, "/found.db", 48 * time.Hour},
		Elasticsearch: Elasticsearch{"https://es:9200", []string{"https://es2:9200"}, "/key", "/es.pem", "", "acme", "whole"},
		Approvals:     Approvals{[]string{"owners"}, 2, 5 * time.Minute, Elevation{[]string{"leads", "security"}, 1, 30 * time.Minute, 2 * time.Hour}, Webhook{"https://hooks.example/x", "/hook", "/hook.pem", "masked"}, "https://console.example"},
		Admin:         Admin{"/admin.sock", []uint32{1000}, "[::1]:9464", "http://otel:4318"},
		Proxy:         Proxy{"[::1]:9", 1500 * time.Millisecond, 90 * time.Second, 7 * time.Minute, 7, 64 << 20, 12},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	many := "protect:\n"
	for i := range MaxScopes + 1 {
		many += fmt.Sprintf("- {name: s%d, match: {uid: %d}, mode: off}\n", i, i)
	}
	scope := func(rest string) string { return "protect:\n- {name: a, " + rest + "}\n" }
	end := func(rest string) string { return "endpoints:\n- {name: a, " + rest + "}\n" }
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "protekt: []", `f:1: unknown key "protekt": remove it`},
		{"unknown key below", "capture:\n  port: [1]", `f:2: unknown key "port": remove`},
		{"unknown match key", scope("match: {pid: 1}, mode: off"), `f:2: unknown key "pid"`},
		{"wrong case", "Protect: []", `f:1: unknown key "Protect"`},
		{"doubled key", "ca: {mode: embedded}\nca: {mode: embedded}", "f:2: key ca stands here a second time: keep one"},
		{"wrong type", "capture: {ports: [https]}", `f:1: "https" does not fit here: give a number from 0 to 65535`},
		{"port too large", "capture: {ports: [65536]}", `f:1: "65536" does not fit`},
		{"negative uid", scope("match: {uid: -1}, mode: off"), `f:2: "-1" does not fit here: give a number`},
		{"not bool", "record: {required: maybe}", "give true or false"},
		{"list for keys", "ca: [1]", "f:1: "},
		{"syntax", "a: [", "f:1: not valid YAML"},
		{"two documents", "ca: {}\n---\nca: {}\n", "f:2: a second document"},
		{"archive", "archive: {dir: /x}", "f:1: unknown key \"dir\""},
		{"metrics", "admin: {metrics: here}", "f:1: admin.metrics \"here\" is no IP address with a port"},
		{"traces", "admin: {traces: \"ftp://x\"}", "f:1: admin.traces is no plain URL"},
		{"archive age", "archive: {retain: long}", "f:1: retain \"long\" is no age"},
		{"egress", "egress: deny", "f:1: egress is not supported yet"},
		{"pod labels", scope("match: {podLabels: {ai: x}}, mode: off"), "f:2: podLabels is not supported yet"},
		{"empty match", scope("match: {}, mode: off"), "f:2: scope a matches everything: set unit"},
		{"langchain false is no criterion", scope("match: {langchain: false}, mode: off"), "matches everything"},
		{"no match", scope("mode: off"), "f:2: scope a matches everything"},
		{"bad glob", scope("match: {unit: '['}, mode: off"), "f:2: unit \"[\" is no valid pattern"},
		{"bad glob in a part", scope("match: {cgroup: '/a/[b/c]'}, mode: off"), "is no valid pattern"},
		{"relative cgroup", scope("match: {cgroup: a/b}, mode: off"), `f:2: cgroup "a/b" is no path below`},
		{"unit with a slash", scope("match: {unit: 'user@1.service/a.service'}, mode: off"), "holds a /, which no unit does"},
		{"scope named default", "protect: [{name: default, match: {uid: 1}, mode: off}]", "f:1: scope name default means what no scope names"},
		{"TLS to an address", end("host: 10.0.0.1"), "f:2: TLS to an IP address is not supported yet"},
		{"two plain names at a port", end("host: a.b, plain: true") + "- {name: b, host: c.d, plain: true}", "f:3: a plain endpoint is told by its port, and port 80 is already on line 2"},
		{"not required", "record: {required: false}", "f:1: record.required: false is not supported yet"},
		{"template variable", "identity: {template: 'x/{comm}'}", "f:1: template has {comm}, which is not known: use {unit}, {container}"},
		{"template without variable", "identity: {template: x}", "names no variable"},
		{"relative exe", scope("match: {exe: python}, mode: off"), "f:2: exe \"python\" is not absolute"},
		{"mode missing", scope("match: {uid: 1}"), `f:2: mode "" is not known: use off`},
		{"mode unknown", scope("match: {uid: 1}, mode: block"), `f:2: mode "block" is not known`},
		{"enforce open", scope("match: {uid: 1}, mode: enforce, fail: open"), "f:2: an enforcing scope cannot fail open: remove fail"},
		{"fail unknown", scope("match: {uid: 1}, mode: off, fail: soft"), `fail "soft" is not known`},
		{"encrypted_dns unknown", scope("match: {uid: 1}, mode: enforce, encrypted_dns: x"), `encrypted_dns "x" is not known`},
		{"encrypted_dns denied without enforcing", scope("match: {uid: 1}, mode: observe, encrypted_dns: deny"), "only a scope that enforces can deny"},
		{"canary without enforcing", scope("match: {uid: 1}, mode: observe, canary: 10%"), "f:2: only a scope that enforces has a canary"},
		{"canary of nobody", scope("match: {uid: 1}, mode: enforce, canary: 0%"), "canary \"0%\" is no share"},
		{"canary of more than all", scope("match: {uid: 1}, mode: enforce, canary: 100.01%"), "is no share"},
		{"canary without a sign", scope("match: {uid: 1}, mode: enforce, canary: 10"), "is no share"},
		{"canary too fine", scope("match: {uid: 1}, mode: enforce, canary: 0.001%"), "is no share"},
		{"canary negative", scope("match: {uid: 1}, mode: enforce, canary: -5%"), "is no share"},
		{"untrusted unknown", scope("match: {uid: 1}, mode: off, untrusted: x"), `untrusted "x" is not known`},
		{"search_memory without langchain", scope("match: {uid: 1}, mode: observe, search_memory: true"), "f:2: search_memory needs a match by langchain"},
		{"search_memory everywhere", scope("match: {langchain: true}, mode: observe, search_memory: true"), "f:2: search_memory needs a match by langchain"},
		{"older cut, observing", scope("match: {uid: 1}, mode: observe, older: {action: cut}"), "f:2: older.action cut needs mode enforce"},
		{"older list, off", scope("match: {uid: 1}, mode: off, older: {action: list}"), "f:2: older.action list in a scope that is off"},
		{"older unknown", scope("match: {uid: 1}, mode: enforce, older: {action: kill}"), "older.action \"kill\" is not known: use cut, list, leave"},
		{"older idle", scope("match: {uid: 1}, mode: enforce, older: {idle: 5}"), "older.idle \"5\" is no duration"},
		{"older deadline", scope("match: {uid: 1}, mode: enforce, older: {deadline: -5s}"), "older.deadline \"-5s\" is no duration"},
		{"scope name", "protect: [{name: 'a b', match: {uid: 1}, mode: off}]", `scope name "a b" cannot be used`},
		{"scope twice", scope("match: {uid: 1}, mode: off") + "- {name: a, match: {uid: 2}, mode: off}", "f:3: scope a is already on line 2"},
		{"too many scopes", many, "f:65: 64 scopes, at most 63 are possible"},
		{"endpoint twice", end("host: a.b") + "- {name: a, host: c.d}", "f:3: endpoint a is already on line 2"},
		{"host twice", end("host: a.b") + "- {name: b, host: A.B}", "f:3: a.b port 443 is already on line 2"},
		{"port 0", end("host: a.b, port: 0"), "f:2: port 0 cannot be reached"},
		{"capture port 0", "capture: {ports: [0]}", "f:1: port 0 cannot be captured"},
		{"self-test too often", "capture: {self_test: 1ms}", "f:1: self_test 1ms: give a duration"},
		{"self-test that is no time", "capture: {self_test: soon}", "f:1: \"soon\" does not fit here: give a duration"},
		{"capture port twice", "capture: {ports: [1, 1]}", "port 1 stands twice"},
		{"no ports", "capture: {ports: []}", "capture.ports is empty"},
		{"host url", end("host: 'https://a.b'"), "f:2: host \"https://a.b\" is no name"},
		{"host port", end("host: 'a.b:443'"), "is no name or IP"},
		{"host glob", end("host: '*.b'"), "is no name or IP"},
		{"host dot", end("host: a.b."), "is no name or IP"},
		{"host number", end("host: '1.2.3'"), "is no name or IP"},
		{"host empty", end("port: 1"), "is no name or IP"},
		{"protocol", end("host: a.b, protocol: bedrock"), `protocol "bedrock" is not supported yet: use openai, anthropic, ollama, or http`},
		{"base path", end("host: a.b, base_path: v1"), `f:2: base_path "v1" is no plain path`},
		{"base path with dots", end("host: a.b, base_path: /a/../v1"), "is no plain path"},
		{"base path that ends in dots", end("host: a.b, base_path: /a/.."), "is no plain path"},
		{"base path with escapes", end("host: a.b, base_path: /a%2fv1"), "is no plain path"},
		{"base path with a query", end("host: a.b, base_path: '/v1?x'"), "is no plain path"},
		{"base path with a hole", end("host: a.b, base_path: /a//v1"), "is no plain path"},
		{"base path with two models", end("host: a.b, base_path: '/{model}/{model}'"), "is no plain path"},
		{"relative upstream ca", end("host: a.b, upstream_ca: ca.pem"), "upstream_ca \"ca.pem\" is no absolute path"},
		{"plain with ca", end("host: a.b, plain: true, upstream_ca: /ca.pem"), "a plain endpoint has no TLS"},
		{"trust unknown", "trust: {host: magic}", "trust.host \"magic\" is not known: use none, files, unit"},
		{"trust persistent", "trust: {host: files, persistent: true}", "f:1: trust.persistent is about the drop-ins of trust.host: unit"},
		{"ca mode", "ca: {mode: step}", "ca.mode \"step\" is not known: use embedded"},
		{"relative dir", "ca: {dir: ca}", "ca.dir \"ca\" is no absolute path"},
		{"parent in path", "policy: {dir: /a/../b}", "policy.dir \"/a/../b\" is no absolute path"},
		{"empty policy dir", "policy: {dir: ''}", "policy.dir \"\" is no absolute path"},
		{"help url", "policy: {help_url: 'javascript:1'}", "policy.help_url is no plain URL"},
		{"further url with password", "elasticsearch: {urls: ['https://u:hunter2@es']}", "elasticsearch.urls is no plain URL"},
		{"namespace", "elasticsearch: {namespace: A-b}", "f:1: elasticsearch.namespace"},
		{"contents", "elasticsearch: {contents: some}", "elasticsearch.contents"},
		{"fingerprint", "elasticsearch: {fingerprint: ab}", "64 hex digits"},
		{"ca_file and fingerprint", "elasticsearch: {ca_file: /x, fingerprint: " + strings.Repeat("ab", 32) + "}", "remove one of them"},
		{"url with password", "elasticsearch: {url: 'https://u:hunter2@es'}", "elasticsearch.url is no plain URL"},
		{"webhook without TLS", "approvals: {webhook: {url: 'http://hooks.example.org', secret_file: /s}}", "f:1: approvals.webhook.url is not https"},
		{"webhook without secret", "approvals: {webhook: {url: 'https://hooks.example.org'}}", "approvals.webhook has no secret_file"},
		{"webhook with password", "approvals: {webhook: {url: 'https://u:hunter2@hooks.example.org', secret_file: /s}}", "approvals.webhook.url is no plain URL"},
		{"webhook without url", "approvals: {webhook: {secret_file: /s}}", "approvals.webhook has no url"},
		{"webhook includes", "approvals: {webhook: {include: all}}", "approvals.webhook.include \"all\" is not known: use none, masked"},
		{"webhook secret", "approvals: {webhook: {url: 'https://hooks.example.org', secret_file: s}}", "secret_file \"s\" is no absolute path"},
		{"webhook unknown key", "approvals: {webhook: {secret: x}}", "unknown key"},
		{"nobody approves", "approvals: {groups: ['']}", "f:1: a group of approvers is empty"},
		{"no approver", "approvals: {approvers: 0}", "approvers 0: give a number"},
		{"no time to approve", "approvals: {timeout: 0s}", "timeout \"0s\" is no duration of one second"},
		{"endless elevation", "approvals: {elevation: {longest: 9000h}}", "elevation.longest \"9000h\" is no duration"},
		{"console", "approvals: {console_url: 'ftp://x'}", "approvals.console_url is no plain URL"},
		{"trust domain", "identity: {trust_domain: 'Example.org/x'}", "is no SPIFFE trust domain"},
		{"template", "identity: {template: /x}", "is no SPIFFE path"},
		{"size", "record: {max_bytes: 10 gig}", "f:1: max_bytes \"10 gig\" is no size"},
		{"size overflow", "record: {max_bytes: 9999999TiB}", "is no size"},
		{"size zero", "record: {max_bytes: 0}", "is no size"},
		{"retention", "record: {retention: {content: 30days}}", "f:1: retention of content \"30days\" is no time"},
		{"original", "record: {original: kept}", "use sealed"},
		{"one recipient", "record: {original: sealed, recipients: [age1x]}", "two to five people"},
		{"recipients for nothing", "record: {recipients: [age1x, age1y]}", "without record.original"},
		{"no recipient", "record: {original: sealed, recipients: [age1x, AGE-SECRET-KEY-1]}", "no age public key"},
		{"retention short", "record: {retention: {admin: 5m}}", "at least 1h"},
		{"retention upside down", "record: {retention: {content: 30d, metadata: 10d}}", "shorter than that of content"},
		{"retention of metadata alone", "record: {retention: {metadata: 10d}}", "shorter than that of content"},
		{"when full", "record: {when_full: drop}", "record.when_full \"drop\" is not known: use stop"},
		{"listen everywhere", "proxy: {listen: '0.0.0.0:15001'}", "is no loopback address"},
		{"listen name", "proxy: {listen: 'localhost:15001'}", "is no loopback address"},
		{"listen without port", "proxy: {listen: 127.0.0.1}", "is no loopback address"},
		{"listen port 0", "proxy: {listen: '127.0.0.1:0'}", "is no loopback address"},
		{"drain", "proxy: {drain: 10}", "drain \"10\" is no duration"},
		{"stall", "proxy: {stall: 10ms}", "stall \"10ms\" is no duration of a second or more"},
		{"upstream timeout", "proxy: {upstream_timeout: never}", "upstream_timeout \"never\" is no duration of a second or more"},
		{"stall without unit", "proxy: {stall: 10}", "stall \"10\" is no duration"},
		{"max_namespaces", "proxy: {max_namespaces: 8193}", "max_namespaces 8193: give a number"},
		{"max_memory", "proxy: {max_memory: much}", "max_memory \"much\" is no size"},
		{"max_connections", "proxy: {max_connections: 0}", "max_connections 0: give the number"},
		{"default mode", "capture: {default_mode: on}", "capture.default_mode \"on\" is not known"},
		{"too large", strings.Repeat("#", maxFile+1), "larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("f", []byte(c.text))
			if err == nil || got != nil {
				t.Fatalf("was accepted, want %q", c.want)
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) > maxErrors || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("a password is shown")
			}
		})
	}
}

func TestManyErrorsAreBounded(t *testing.T) {
	_, err := Parse("f", []byte("endpoints:\n"+strings.Repeat("- {name: '', host: ''}\n", 20)))
	if err == nil {
		t.Fatal("was accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors || !strings.HasPrefix(lines[0], "f:2: ") || lines[9] != "f: 31 more problems: mend these first" {
		t.Errorf("got %q", lines)
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(name, []byte("policy: {dir: /from/file}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SALLYPORT_ADMIN_SOCKET": "/env/sock", "SALLYPORT_RECORD_DIR": "/env/rec"}
	c, err := Load(name, func(k string) string { return env[k] })
	if err != nil || c.Admin.Socket != "/env/sock" || c.Record.Dir != "/env/rec" || c.Policy.Dir != "/from/file" {
		t.Errorf("got %+v, %v", c, err)
	}
	env["SALLYPORT_POLICY_DIR"] = "relative"
	if _, err := Load(name, func(k string) string { return env[k] }); err == nil || !strings.HasPrefix(err.Error(), "SALLYPORT_POLICY_DIR: ") {
		t.Errorf("got %v", err)
	}
	if _, err := Load(name+"x", nil); err == nil {
		t.Error("a missing file was accepted")
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.pem")
	if err := os.WriteFile(there, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Policy.Dir, c.Endpoints[0].UpstreamCA, c.Elasticsearch = dir, there, Elasticsearch{APIKeyFile: there, CAFile: there}
	if err := CheckFiles(c); err != nil {
		t.Error(err)
	}
	c.Policy.Dir, c.Endpoints[0].UpstreamCA = there, dir
	c.Elasticsearch = Elasticsearch{APIKeyFile: there + "x", CAFile: ""}
	want := strings.Join([]string{
		"endpoints: upstream_ca of openai: " + dir + " is a folder: give a file",
		"policy.dir: " + there + " is no folder: give the folder that holds the policy files",
		"elasticsearch.api_key_file: " + there + "x cannot be read (no such file or directory): make it or mend the path",
	}, "\n")
	if err := CheckFiles(c); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Reference()))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f", b)
		if (c == nil) != (err != nil) {
			t.Fatal("want a configuration or an error")
		}
		if err != nil {
			for _, l := range strings.Split(err.Error(), "\n") {
				if !strings.HasPrefix(l, "f:") {
					t.Errorf("error without a place: %q", l)
				}
			}
		}
	})
}

func TestCanary(t *testing.T) {
	for in, want := range map[string]int{"10%": 1000, "0.5%": 50, "100%": 10_000, "33.33%": 3333, "0.01%": 1} {
		c, err := Parse("f", []byte("protect:\n  - {name: a, match: {uid: 1}, mode: enforce, canary: "+in+"}\n"))
		if err != nil || c.Protect[0].Canary != want {
			t.Errorf("%s: %v, %+v", in, err, c)
		}
	}
}
