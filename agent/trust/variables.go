// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"path"
	"strings"
)

// fileVariables name a bundle; in folderVariables a list of folders, separated by colons, is possible.
var (
	fileVariables = []string{
		"SSL_CERT_FILE",                    // OpenSSL, Go, httpx, uv
		"REQUESTS_CA_BUNDLE",               // requests
		"CURL_CA_BUNDLE",                   // curl, requests
		"AWS_CA_BUNDLE",                    // botocore, AWS SDKs
		"NODE_EXTRA_CA_CERTS",              // Node
		"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC
		"NIX_SSL_CERT_FILE",                // Nix packages
		"HTTPLIB2_CA_CERTS",                // httplib2
		"PIP_CERT",                         // pip
		"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
		"DENO_CERT",
	}
	folderVariables = []string{"SSL_CERT_DIR"}
)

// variableStores are the stores that the environment of the process names. A file that holds anything besides
// certificates is refused later, so naming one gives nothing away.
func variableStores(env map[string]string, cwd string) []candidate {
	var out []candidate
	add := func(p string, folder bool) {
		if p != "" && !path.IsAbs(p) {
			if cwd == "" {
				return
			}
			p = path.Join(cwd, p)
		}
		if p != "" {
			out = append(out, candidate{"variable", p, folder})
		}
	}
	for _, v := range folderVariables {
		for p := range strings.SplitSeq(env[v], ":") {
			add(p, true)
		}
	}
	for _, v := range fileVariables {
		add(env[v], false)
	}
	return out
}
