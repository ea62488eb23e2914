// SPDX-License-Identifier: Apache-2.0

package trust

// candidate is a place where a store may be.
type candidate struct {
	kind   string // "system", "certifi" or "variable"
	path   string // as the process would name it
	folder bool   // a folder in which OpenSSL looks certificates up by hash
}

// systemFiles are the bundles that OpenSSL (by build), Go, GnuTLS and curl read, over the distributions.
var systemFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Alpine, Arch, Gentoo
	"/usr/lib/ssl/cert.pem",                             // OpenSSL on Debian and Ubuntu
	"/etc/ssl/cert.pem",                                 // OpenSSL on Alpine and Arch; LibreSSL
	"/etc/pki/tls/cert.pem",                             // OpenSSL on Fedora and RHEL
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // the same, where the links end
	"/etc/ssl/ca-bundle.pem",                            // openSUSE
	"/var/lib/ca-certificates/ca-bundle.pem",            // the same, where the link ends
	"/etc/pki/tls/cacert.pem",                           // OpenELEC
	"/usr/local/ssl/cert.pem",                           // OpenSSL as its authors install it
	"/usr/local/share/certs/ca-root-nss.crt",            // images built after FreeBSD's habits
	"/usr/local/etc/openssl/cert.pem",                   //
	"/etc/ca-certificates/extracted/tls-ca-bundle.pem",  // Arch, where the links end
}

// systemFolders are the folders of hash links that OpenSSL reads.
var systemFolders = []string{
	"/etc/ssl/certs",
	"/usr/lib/ssl/certs",
	"/etc/pki/tls/certs",
	"/etc/pki/ca-trust/extracted/pem/directory-hash",
	"/usr/local/ssl/certs",
}

func systemStores() []candidate {
	var out []candidate
	for _, p := range systemFolders {
		out = append(out, candidate{"system", p, true})
	}
	for _, p := range systemFiles {
		out = append(out, candidate{"system", p, false})
	}
	return out
}
