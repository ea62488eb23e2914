// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// Config is the whole configuration, defaults filled in and everything checked.
type Config struct {
	Protect       []Scope // in the order of the file: the first match wins
	Capture       Capture
	Endpoints     []Endpoint
	Identity      Identity
	Policy        Policy
	CA            CA
	Trust         Trust
	Record        Record
	Mask          Mask
	Archive       Archive
	Elasticsearch Elasticsearch
	Approvals     Approvals
	Admin         Admin
	Proxy         Proxy
}

// MaxScopes is how many scopes there may be: the kernel programs hold 64 rows, one of which the self-test needs.
const MaxScopes = 63

// Scope selects workloads and says what happens to them.
type Scope struct {
	Name      string
	Match     Match
	Mode      string // off | discover | observe | enforce
	Fail      string // open | closed; always closed with enforce
	Untrusted string // deny | passthrough
	// EncryptedDNS says what becomes of connections to well-known encrypted name servers: observe | deny.
	EncryptedDNS string
	Older        Older

	SearchMemory bool // for LangChain, in the memory of processes that match but for that

	Canary int // hundredths of a percent of the instances that are enforced; 0 = all
}

// Older says what happens to connections that processes of a scope held open before it covered them.
type Older struct {
	Action   string        // cut | list | leave; cut only with enforce
	Idle     time.Duration // without a byte, before it counts as idle and is cut
	Deadline time.Duration // after which it is cut, idle or not
}

// DefaultOlder is what a scope of this mode does if it says nothing.
func DefaultOlder(mode string) Older {
	o := Older{Action: "leave", Idle: 5 * time.Second, Deadline: 5 * time.Minute}
	switch mode {
	case "enforce":
		o.Action = "cut"
	case "observe":
		o.Action = "list"
	}
	return o
}

// Match holds criteria; all that are set must hold, and at least one is set. Unit, Cgroup and Exe may hold the globs of
// path.Match.
type Match struct {
	Unit      string  `yaml:"unit"`
	Cgroup    string  `yaml:"cgroup"` // path below the cgroup v2 root, beginning with /
	UID       *uint32 `yaml:"uid"`
	Exe       string  `yaml:"exe"` // absolute
	LangChain bool    `yaml:"langchain"`
}

// Capture says what the kernel programs look at.
type Capture struct {
	DefaultMode string   `yaml:"default_mode"` // of a marked process that no scope names
	Ports       []uint16 `yaml:"ports"`
	Cgroup      string   `yaml:"cgroup"` // folder to attach to; "" = the cgroup v2 root
	PinDir      string   `yaml:"pin_dir"`

	SelfTest time.Duration `yaml:"self_test"` // how often the way from the kernel to the proxy is proven
}

// Endpoint is one provider host. Host is in lower case, or an IP address.
type Endpoint struct {
	Name, Host string
	Port       uint16
	Protocol   string
	BasePath   string // what the paths of its API begin with; "" = as the protocol has it
	UpstreamCA string // file; "" = system roots
	Plain      bool   // HTTP without TLS
}

// Identity says how a workload's SPIFFE ID is made.
type Identity struct {
	TrustDomain string `yaml:"trust_domain"`
	Template    string `yaml:"template"` // path with {unit}, {container}, {pod}, {cgroup}, {uid} or {exe}
}

// Policy is where roles, bindings and guardrails are.
type Policy struct {
	Dir     string `yaml:"dir"`
	HelpURL string `yaml:"help_url"` // shown with a denial; "" = none
}

// CA is the authority that signs leaf certificates.
type CA struct {
	Mode string `yaml:"mode"`
	Dir  string `yaml:"dir"`
}

// Trust says how workloads come to trust the authority.
type Trust struct {
	Host          string `yaml:"host"` // none | files | unit
	Persistent    bool   `yaml:"persistent"`
	Ledger        string `yaml:"ledger"`
	NodeInspector bool   `yaml:"node_inspector"` // add our roots to running Node.js programs through their inspector
}

// Record is the journal. Required means that no byte goes upstream before it is recorded.
type Record struct {
	Required bool
	Dir      string
	MaxBytes int64
	WhenFull string // stop

	Anchors   string // file or folder, best of another host, for signed checkpoints; "" = none
	Retention Retention

	Original   string   // "": what was masked is not kept; "sealed": it is, for Recipients
	Recipients []string // age public keys, of whom any two together can read originals
}

// Retention is how long records are kept; 0 is for good.
type Retention struct {
	Content  time.Duration // what people, models and tools said
	Metadata time.Duration // who asked whom, when, and what was decided
	Admin    time.Duration // what administrators did, approvals, policy and configuration
}

// Mask says what is masked and what stands in its place. What rows and rules mean is checked by whoever uses them.
type Mask struct {
	KeyFile string       `yaml:"key_file"` // of fingerprints and pseudonyms
	Prompts bool         `yaml:"prompts"`  // requests too, before they leave the host
	Names   bool         `yaml:"names"`    // look for names of people and postal addresses
	Actions []MaskAction `yaml:"actions"`
	Allow   []string     `yaml:"allow"` // values that are never masked
	Rules   []MaskRule   `yaml:"rules"`
}

// MaskAction gives an action to what it selects: the first that matches counts.
type MaskAction struct {
	Types    []string `yaml:"types"`    // globs, or secrets, personal, names
	Carriers []string `yaml:"carriers"` // text, args, prompt, input, ...
	Roles    []string `yaml:"roles"`    // globs
	Rules    []string `yaml:"rules"`
	Action   string   `yaml:"action"` // tag | last_four | pseudonym | deny | allow
}

// MaskRule is a rule of people's own.
type MaskRule struct {
	Name    string   `yaml:"name"`
	Type    string   `yaml:"type"`
	Pattern string   `yaml:"pattern"`
	Word    bool     `yaml:"word"`
	Left    string   `yaml:"left"`
	Right   string   `yaml:"right"`
	Near    []string `yaml:"near"`
	Within  int      `yaml:"within"`
	Check   string   `yaml:"check"` // luhn | mod97 | entropy
	Secret  bool     `yaml:"secret"`
	Action  string   `yaml:"action"`
}

// Archive is the local search store, which is made from the journal.
type Archive struct {
	Off    bool
	Path   string        // of its file
	Retain time.Duration // 0 = exchanges are found as long as the journal has them
}

// Elasticsearch is where records go to be searched. No URL turns it off.
type Elasticsearch struct {
	URL         string   `yaml:"url"`
	URLs        []string `yaml:"urls"` // of further nodes
	APIKeyFile  string   `yaml:"api_key_file"`
	CAFile      string   `yaml:"ca_file"`
	Fingerprint string   `yaml:"fingerprint"` // of a certificate that is trusted instead
	Namespace   string   `yaml:"namespace"`
	Contents    string   `yaml:"contents"` // "new" or "whole": what documents of contents have of what was said before
}

// Nodes lists the addresses.
func (e *Elasticsearch) Nodes() []string {
	if e.URL == "" {
		return e.URLs
	}
	return append([]string{e.URL}, e.URLs...)
}

// Approvals says who decides where no rule says so, and how people learn that something waits for them.
type Approvals struct {
	Groups     []string // of this host's users; none: operators
	Approvers  int      // how many have to agree
	Timeout    time.Duration
	Elevation  Elevation
	Webhook    Webhook
	ConsoleURL string // where approvals are decided in a browser; "" = nowhere
}

// Elevation says who grants roles for a time, and for how long.
type Elevation struct {
	Groups    []string
	Approvers int
	Timeout   time.Duration
	Longest   time.Duration
}

// Webhook is who is told. An empty URL turns it off.
type Webhook struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secret_file"`
	CAFile     string `yaml:"ca_file"`
	Include    string `yaml:"include"` // none | masked
}

// Admin is the socket of the command-line tool. Root and the agent's own user are always admins.
type Admin struct {
	Socket string   `yaml:"socket"`
	Admins []uint32 `yaml:"admins"` // further user IDs

	Metrics string `yaml:"metrics"` // where Prometheus may ask; "" = nowhere
	Traces  string `yaml:"traces"`  // OTLP receiver; "" = none
}

// Proxy is the listener to which the kernel redirects.
type Proxy struct {
	Listen         string        // loopback address and port
	Drain          time.Duration // how long open exchanges may take to end at shutdown
	Stall          time.Duration // after which an application that does not read its reply, or send its request, is cut
	UpstreamStall  time.Duration // after which a provider that sends nothing, or takes nothing, is given up
	MaxConnections int           // open connections of one scope
	MaxMemory      int64         // bytes held at a time for one scope
	MaxNamespaces  int           // other network namespaces that are served at a time
}

// Default is the configuration of an empty file.
func Default() *Config {
	return &Config{
		Capture:       Capture{DefaultMode: "discover", Ports: []uint16{443, 80, 11434, 8000}, PinDir: "/sys/fs/bpf/sallyport", SelfTest: time.Minute},
		Endpoints:     []Endpoint{{Name: "openai", Host: "api.openai.com", Port: 443, Protocol: "openai"}},
		Identity:      Identity{TrustDomain: "example.org", Template: "unit/{unit}"},
		Policy:        Policy{Dir: "/etc/sallyport/policy.d"},
		CA:            CA{Mode: "embedded", Dir: "/var/lib/sallyport/ca"},
		Trust:         Trust{Host: "none", Ledger: "/var/lib/sallyport/trust.ledger"},
		Archive:       Archive{Path: "/var/lib/sallyport/archive.db", Retain: 90 * 24 * time.Hour},
		Record:        Record{Required: true, Dir: "/var/lib/sallyport/journal", MaxBytes: 10 << 30, WhenFull: "stop"},
		Mask:          Mask{KeyFile: "/var/lib/sallyport/mask.key", Names: true},
		Approvals:     Approvals{Approvers: 1, Timeout: 10 * time.Minute, Elevation: Elevation{Approvers: 1, Timeout: time.Hour, Longest: 8 * time.Hour}, Webhook: Webhook{Include: "none"}},
		Elasticsearch: Elasticsearch{Namespace: "default", Contents: "new"},
		Admin:         Admin{Socket: "/run/sallyport/admin.sock"},
		Proxy:         Proxy{Listen: "127.0.0.1:15001", Drain: 10 * time.Second, Stall: 5 * time.Minute, UpstreamStall: 30 * time.Minute, MaxConnections: 20_000, MaxMemory: 1 << 30, MaxNamespaces: 1024},
	}
}
