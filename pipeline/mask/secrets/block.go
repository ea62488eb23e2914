// SPDX-License-Identifier: Apache-2.0

package secrets

import "github.com/sallyport-dev/sallyport/pipeline/mask/rule"

// between is what may stand between the first line of a key and its body: ends of lines, raw or escaped, quotes and operators of code, the
// indent of YAML, the headers of an encrypted key. A few bytes of a body must follow, so that texts about such lines stay as they are.
const between = `[ \t\r\n\\"'+,.;()rnt&#0-9<>b/|]{0,32}` + `(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash)[!-\[\]-~ ]{1,56}[ \t\r\n\\"'+,rn]{1,16}){0,2}` + `[A-Za-z0-9+/]{16}`

// blockBytes are bytes of keys in text, code and JSON. What is no such byte ends a block that is cut.
const blockBytes = "A-Za-z0-9+/= \t\r\n\\\"',<>|-"

func blocks() []*rule.Rule {
	block := func(name, why, pattern, class, until string) *rule.Rule {
		return &rule.Rule{Name: name, Type: privateKey, Family: rule.Secret, Why: why, Pattern: pattern, Tail: &rule.Tail{Class: rule.Of(class), Until: until}}
	}
	return []*rule.Rule{
		block("pem-private-key", "PEM: -----BEGIN … PRIVATE KEY----- and a body", `-----BEGIN (?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY-----`+between, blockBytes, "PRIVATE KEY-----"),
		block("pgp-private-key", "PGP: -----BEGIN PGP PRIVATE KEY BLOCK----- and a body", `-----BEGIN PGP (?:PRIVATE|SECRET) KEY BLOCK-----`+between, ":;.()@!&"+blockBytes, "KEY BLOCK-----"),
		block("ssh2-private-key", "SSH2: ---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ---- and a body", `---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----`+between, ":.()@"+blockBytes, "PRIVATE KEY ----"),
		block("putty-private-key", "PuTTY: Private-Lines: and a body", `Private-Lines: [0-9]{1,3}(?:\r?\n|\\r|\\n){1,3}[A-Za-z0-9+/]{16}`, "A-Za-z0-9+/= \t\r\n\\", "Private-MAC"),
		{
			Name: "pem-private-key-base64", Type: privateKey, Family: rule.Secret, Left: rule.Alnum,
			Why: "base64 of -----BEGIN … PRIVATE KEY-----, as in kubeconfig and secrets of Kubernetes",
			Pattern: `LS0tLS1CRUdJTi(?:BSU0EgUFJJVkFURSB|BQUklWQVRFIEtFW|BFQyBQUklWQVRFI|BPUEVOU1NIIFBSS|BEU0EgUFJJVkFUR|BFTkNSWVBURUQgU|BQR1AgUFJJVkFUR|BBTlkgUFJJVkFUR)` +
				`[A-Za-z0-9+/]{4}`,
			Tail: &rule.Tail{Class: rule.Of("A-Za-z0-9+/=_-")},
		},
		{
			Name: "private-key-body", Type: privateKey, Family: rule.Secret, Left: rule.Alnum,
			Why:     "how the body of a private key begins in base64: RSA, PKCS 8, EC, OpenSSH",
			Pattern: `(?:MIIE[opq][A-Za-z0-9]IBAAKCAQEA|MIIJ[JK][A-Za-z0-9]IBAAKCAgEA|MII[EJ][uvwQR][A-Za-z0-9]IBADANBgkqhkiG9w0BAQEFAASC|MHcCAQEEI|b3BlbnNzaC1rZXktdjEAAAA)[A-Za-z0-9+/]{20}`,
			Tail:    &rule.Tail{Class: rule.Of("A-Za-z0-9+/=\r\n\\")},
		},
		{
			Name: "json-web-token", Type: jwt, Family: rule.Secret, Left: rule.Alnum,
			Why: "JSON web token: the header begins with alg, typ, kid, enc, x5t, cty, jku or zip",
			Pattern: `(?:eyJhbGciO|eyJ0eXAiO|eyJraWQiO|eyJlbmMiO|eyJ4NXQiO|eyJ4NWMiO|eyJjdHkiO|eyJqa3UiO|eyJ6aXAiO|eyJ2ZXIiO|eyAiYWxnIj|eyAidHlwIj|eyAia2lkIj|ewogICJhbGciO|ewogICJ0eXAiO|ew0KICAiYWxnI)` +
				`[A-Za-z0-9_=-]{5}`,
			Tail: &rule.Tail{Class: rule.Of("A-Za-z0-9_=%-"), Joint: rule.Of(".")},
		},
		{
			Name: "json-web-token-base64", Type: vendorToken, Family: rule.Secret, Left: rule.Alnum,
			Why: "base64 of a JSON web token", Pattern: `ZXlK[A-Za-z0-9+/]{20,28}`,
			Check: func(_, m []byte) (int, int, bool) { return 0, len(m), letters.accepts(m[4:]) },
			Tail:  &rule.Tail{Class: rule.Of("A-Za-z0-9+/=_-")},
		},
		{
			Name: "json-web-token-other", Type: jwt, Family: rule.Secret, Left: inToken,
			Why: "two parts of base64 that are JSON, with a dot between", Pattern: `ey[A-Za-z0-9_-]{15,300}\.ey[A-Za-z0-9_-]{15}`,
			Tail: &rule.Tail{Class: rule.Of("A-Za-z0-9_=-"), Joint: rule.Of(".")},
		},
	}
}
