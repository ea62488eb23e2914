// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The expected values are those of `openssl x509 -subject_hash` (OpenSSL 3.0).
func TestSubjectHash(t *testing.T) {
	for _, c := range []struct{ name, subject, want string }{
		{"ours", "303f31123010060355040a130953616c6c79706f7274312930270603550403132053616c6c79706f727420726f6f742067656e2d30303031203466613039633131", "b33ea519"},
		{"white space", "301f311d301b06035504030c14202054776f202020537061636573095461622020", "fc0ae8d3"},
		{"beyond ASCII", "301e311c301a06035504030c13c39c6ec3af636f646520c384c39620526f6f74", "4af8e5fd"},
		{"several of a kind", "3034310b300906035504061302444531143008060355040a1301413008060355040a130142310f300d060355040b0c06582a595f5a40", "e1dc182f"},
		{"IA5", "3026310a3008060355040313016131183016060a0992268993f22c64011916084578616d706c6520", "53ab9c51"},
		{"empty", "3000", "eea339da"},
	} {
		t.Run(c.name, func(t *testing.T) {
			der, err := hex.DecodeString(c.subject)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := subjectHash(der); got != c.want || err != nil {
				t.Errorf("subjectHash = %s, %v; want %s", got, err, c.want)
			}
		})
	}
	for _, bad := range []string{"", "30", "3003020100", "300d310b3009060355040603020244"} {
		der, _ := hex.DecodeString(bad)
		if got, err := subjectHash(der); err == nil {
			t.Errorf("subjectHash(%s) = %s", bad, got)
		}
	}
}

func TestParseMounts(t *testing.T) {
	const table = `22 27 0:21 / /proc rw,relatime - proc proc rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue
40 22 0:50 /0 /a\040b\134c\011d ro,nosuid,nodev,noexec - tmpfs sallyport-0011-22 ro,size=4k
41 22 0:51 / /x rw - tmpfs  rw
`
	got, err := parseMounts(table)
	want := []mount{
		{id: 22, point: "/proc", fs: "proc", source: "proc"},
		{id: 36, point: "/mnt2", peers: 7, fs: "ext3", source: "/dev/root"},
		{id: 40, point: "/a b\\c\td", fs: "tmpfs", source: "sallyport-0011-22"},
		{id: 41, point: "/x", fs: "tmpfs"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); d != "" || err != nil {
		t.Error(err, d)
	}
	if tag, ok := got[2].ours(); !ok || tag != "sallyport-0011-22" {
		t.Errorf("ours = %q, %v", tag, ok)
	}
	if _, ok := (mount{fs: "ext4", source: "sallyport-x"}).ours(); ok {
		t.Error("a mount that is no tmpfs counts as ours")
	}
	for _, bad := range []string{"\n", "x 27 0:21 / /proc rw,relatime - proc proc rw\n", "1 2 3\n", "1 2 0:1 / /x rw shared:z - tmpfs t rw\n", "1 2 0:1 / /x rw a b c d e f\n"} {
		if _, err := parseMounts(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("22 27 0:21 / /proc rw,relatime shared:3 - proc proc rw\n")
	f.Add(`40 22 0:50 /0 /a\040b\9 ro - tmpfs sallyport-x ro`)
	f.Add("1 2 3 4 5 6 7 8 9 -\n")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseMounts(s)
		if err == nil && len(list) > strings.Count(s, "\n")+1 {
			t.Errorf("%d mounts from %q", len(list), s)
		}
	})
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3"
	for _, c := range []struct {
		in, comm string
		ticks    uint64
	}{
		{"12 (python3)" + rest, "python3", 987654},
		{"12 (a) b (c))" + rest, "a) b (c)", 987654},
		{"12 ()" + rest, "", 987654},
	} {
		if comm, ticks, err := parseStat(c.in); comm != c.comm || ticks != c.ticks || err != nil {
			t.Errorf("parseStat(%q) = %q, %d, %v", c.in, comm, ticks, err)
		}
	}
	for _, bad := range []string{"", "12 python3 S", "12 )x( S", "12 (x) S 1 2"} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("12 (a) b (c)) S 1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3")
	f.Add("12 (x")
	f.Fuzz(func(t *testing.T, s string) { _, _, _ = parseStat(s) })
}

func TestCertifiStores(t *testing.T) {
	folders := map[string][]string{
		"/venv/lib": {"python3.12", "pkgconfig"}, "/usr/lib": {"python3", "python3.11", "x86_64-linux-gnu"},
		"/opt/app/env/lib": {"python3.10"}, "/home/u/.local/lib": {"python3.11"},
	}
	list := func(dir string, _ int) []string { return folders[dir] }
	for _, c := range []struct {
		name string
		e    evidence
		want []string // that must be among the candidates
	}{
		{"opened file", evidence{hints: []string{"/x/lib/python3.9/site-packages/langchain_core/__init__.py"}},
			[]string{"/x/lib/python3.9/site-packages/certifi/cacert.pem", "/x/lib/python3.9/site-packages/pip/_vendor/certifi/cacert.pem"}},
		{"relative file", evidence{hints: []string{"lib/site-packages/langchain_core/x"}, cwd: "/w"}, []string{"/w/lib/site-packages/certifi/cacert.pem"}},
		{"program to run", evidence{hints: []string{"/venv/bin/gunicorn"}}, []string{"/venv/lib/python3.12/site-packages/certifi/cacert.pem"}},
		{"Debian's folder", evidence{hints: []string{"/usr/lib/python3/dist-packages/langchain_openai/x.py"}}, []string{"/usr/lib/python3/dist-packages/certifi/cacert.pem"}},
		{"packages inside packages", evidence{hints: []string{"/a/site-packages/b/site-packages/langchain_core/x"}}, []string{"/a/site-packages/b/site-packages/certifi/cacert.pem"}},
		{"folder of PYTHONPATH", evidence{hints: []string{"/srv/deps/langchain_core/__init__.py"}}, []string{"/srv/deps/certifi/cacert.pem"}},
		{"environment", evidence{env: map[string]string{"VIRTUAL_ENV": "/venv", "PYTHONPATH": "/p:relative:", "HOME": "/home/u", "CONDA_PREFIX": "/conda"}},
			[]string{"/venv/lib/python3.12/site-packages/certifi/cacert.pem", "/p/certifi/cacert.pem", "/home/u/.local/lib/python3.11/site-packages/certifi/cacert.pem", "/conda/ssl/cert.pem"}},
		{"executable", evidence{exe: "/usr/bin/python3.11"}, []string{"/usr/lib/python3/dist-packages/certifi/cacert.pem"}},
		{"link in a venv", evidence{exe: "/usr/bin/python3.11", argv0: "env/bin/python", cwd: "/opt/app"}, []string{"/opt/app/env/lib/python3.10/site-packages/certifi/cacert.pem"}},
		{"mapped file", evidence{maps: "7f-80 r-xp 0 fe:01 77 /m/site-packages/pydantic_core/_x.so\n90-91 rw-p 0 0:0 0 [heap]\n"}, []string{"/m/site-packages/certifi/cacert.pem"}},
		{"PyInstaller", evidence{exe: "/opt/bot/bot"}, []string{"/opt/bot/_internal/certifi/cacert.pem"}},
		{"PyInstaller's one file", evidence{maps: "7f-80 r-xp 0 fe:01 77 /tmp/_MEIa1b2/libssl.so.3\n"}, []string{"/tmp/_MEIa1b2/certifi/cacert.pem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.e.list = list
			have := map[string]bool{}
			for _, s := range certifiStores(c.e) {
				if have[s.path] = true; s.kind != "certifi" || s.folder || !strings.HasPrefix(s.path, "/") {
					t.Errorf("%+v", s)
				}
			}
			for _, w := range c.want {
				if !have[w] {
					t.Errorf("%s is not among %v", w, have)
				}
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		var hints []string
		for i := range 10_000 {
			hints = append(hints, "/"+strings.Repeat("x", i%500)+"/site-packages/langchain_core/a")
		}
		if n := len(certifiStores(evidence{hints: hints, list: list})); n > maxPlaces*(len(packaged)+len(bundled)) {
			t.Errorf("%d candidates", n)
		}
	})
}

func TestVariableStores(t *testing.T) {
	got := variableStores(map[string]string{"SSL_CERT_DIR": "/a::b", "SSL_CERT_FILE": "c.pem", "AWS_CA_BUNDLE": "", "PATH": "/bin"}, "/cwd")
	want := []candidate{{"variable", "/a", true}, {"variable", "/cwd/b", true}, {"variable", "/cwd/c.pem", false}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(candidate{})); d != "" {
		t.Error(d)
	}
	if got := variableStores(map[string]string{"SSL_CERT_FILE": "c.pem"}, ""); len(got) != 0 {
		t.Errorf("relative to nowhere: %v", got)
	}
}
