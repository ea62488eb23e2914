// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"encoding/json"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// DefaultSocket is where the daemon listens unless its configuration says otherwise.
const DefaultSocket = "/run/sallyport/admin.sock"

// Status is how the daemon is doing.
type Status struct {
	Ready    bool     `json:"ready"`
	Version  string   `json:"version"`
	Kernel   Kernel   `json:"kernel"`
	Scopes   []Scope  `json:"scopes"`
	Flows    Flows    `json:"flows"`
	Coverage Coverage `json:"coverage"`
	DNS      DNS      `json:"dns"`
	Spaces   Spaces   `json:"namespaces,omitzero"`
	Journal  Journal  `json:"journal"`
	Archive  Archive  `json:"archive,omitzero"`
	Elastic  Elastic  `json:"elastic"`
	Warnings []string `json:"warnings,omitempty"` // what an operator should know at once, one line each

	Untrusted  []TrustProcess `json:"untrusted,omitempty"` // processes whose trust in our root is not proven
	SelfTest   SelfTest       `json:"self_test,omitzero"`
	Quarantine []Quarantine   `json:"quarantine,omitempty"` // who is cut off
	Approvals  Approvals      `json:"approvals,omitzero"`
	Policy     Policy         `json:"policy,omitzero"`
}

// SelfTest is how the last connection of the daemon's own went, from a process outside its cgroup to the proxy.
type SelfTest struct {
	Last     time.Time `json:"last,omitzero"`
	Passed   time.Time `json:"passed,omitzero"`    // the last that arrived
	Failures int       `json:"failures,omitempty"` // in a row
	Reason   string    `json:"reason,omitempty"`   // of the last failure, while they last
}

// Kernel says which programs are attached.
type Kernel struct {
	Attached []string          `json:"attached"`
	Errors   map[string]uint64 `json:"errors,omitempty"` // refusals and overflows counted by the programs, by name
}

// Scope is one entry of protect[] in effect.
type Scope struct {
	Name      string `json:"name"`
	Mode      string `json:"mode"`
	Fail      string `json:"fail"`      // "closed" or "open"
	Untrusted string `json:"untrusted"` // "deny" or "passthrough"

	EncryptedDNS string `json:"encrypted_dns,omitempty"` // "observe" or "deny"
	QUICRefused  uint64 `json:"quic_refused"`            // datagrams to endpoints, since the programs were installed
	Canary       string `json:"canary,omitempty"`        // share of the instances that is enforced, the others are observed; "" = all are
}

// Flows counts connections since the daemon started.
type Flows struct {
	Seen    uint64 `json:"seen"`
	Proxied uint64 `json:"proxied"`
	Passed  uint64 `json:"passed"`
	Denied  uint64 `json:"denied"`
	Missed  uint64 `json:"missed"`
}

// Coverage reconciles the connections that the kernel counted with those that the record explains, since the daemon started.
type Coverage struct {
	Explained   uint64    `json:"explained"`   // the proxy took them: each is on record
	Unexplained uint64    `json:"unexplained"` // any is an alert
	Bypassed    uint64    `json:"bypassed"`    // went direct by break glass, or for want of an agent where the scope fails open
	Workloads   []Covered `json:"workloads,omitempty"`
}

// Covered is what became of the connections of one workload.
type Covered struct {
	Scope       string `json:"scope"`
	Cgroup      string `json:"cgroup"` // "" if it is gone, or for all that found no room of their own
	Unit        string `json:"unit,omitempty"`
	Redirected  uint64 `json:"redirected"` // set out for the proxy
	Explained   uint64 `json:"explained"`
	Withdrawn   uint64 `json:"withdrawn"` // closed before the proxy took them
	Unexplained uint64 `json:"unexplained"`
	Bypassed    uint64 `json:"bypassed"`       // by break glass
	Opened      uint64 `json:"opened"`         // there was no agent
	Last        string `json:"last,omitempty"` // the latest that cannot be explained, in words
}

// DNS says what was learned about the addresses of endpoints.
type DNS struct {
	Addresses  int    `json:"addresses"`  // known now
	Answers    uint64 `json:"answers"`    // to questions about endpoints, seen by the kernel
	OverTCP    uint64 `json:"over_tcp"`   // put together in user space
	Mismatches uint64 `json:"mismatches"` // the second look saw something else
	ECH        uint64 `json:"ech"`        // HTTPS records that offer it
	HTTP3      uint64 `json:"http3"`
}

// Spaces counts other network namespaces since the daemon started.
type Spaces struct {
	Served  int    `json:"served"`            // now
	Refused uint64 `json:"refused,omitempty"` // for want of room
	Failed  uint64 `json:"failed,omitempty"`
}

// Journal is the state of the local log. Head is the chain's latest hash in hex.
type Journal struct {
	Head  string `json:"head"`
	Bytes int64  `json:"bytes"`
}

// Elastic is the state of shipping. Lag counts records that are in the journal and not yet acknowledged.
type Elastic struct {
	Lag   int64  `json:"lag"`
	State string `json:"state"` // "off", "ok", "retrying", "stopped"; for people, more may come
}

// Check is one line of the doctor's report.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // CheckOK, CheckWarn or CheckFail
	Detail string `json:"detail,omitempty"`
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// The states of a Check.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// Doctor is the whole report.
type Doctor struct {
	Checks []Check `json:"checks"`
}

// Session is the exchanges of one conversation of one workload, oldest first.
type Session struct {
	ID        string     `json:"session_id"`
	Started   time.Time  `json:"started"`
	Last      time.Time  `json:"last"`
	Principal Principal  `json:"principal"`
	Workload  Workload   `json:"workload"`
	Models    []string   `json:"models"`
	Count     int        `json:"count"`  // exchanges
	Denied    int        `json:"denied"` // exchanges in which something was, or in observe would have been, denied
	Masked    int        `json:"masked"` // masked spans
	Exchanges []Exchange `json:"exchanges,omitempty"`
}

// Principal is who acted; unknown fields are empty, never missing.
type Principal struct {
	SPIFFEID string `json:"spiffe_id"`
	User     string `json:"user"`
	Source   string `json:"source,omitempty"` // how the SPIFFE ID came about

	Groups []string `json:"groups,omitempty"` // of the person
}

// Workload is what ran.
type Workload struct {
	PID            uint32 `json:"pid"`
	Cgroup         string `json:"cgroup"`
	Unit           string `json:"unit"`
	Container      string `json:"container"`
	Pod            string `json:"pod"`
	UID            uint32 `json:"uid"`
	LoginUID       uint32 `json:"login_uid"`       // 4294967295: in no login session
	Start          uint64 `json:"start,omitempty"` // nanoseconds since boot
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"`
	Comm           string `json:"comm,omitempty"`
	Exe            string `json:"exe,omitempty"`
	Found          string `json:"found,omitempty"` // how it was recognised, if not by opening a package's file

	Labels map[string]string `json:"labels,omitempty"` // of the pod
}

// Exchange is one request and its response as recorded: contents are masked.
type Exchange struct {
	SessionID   string          `json:"session_id"`
	ExchangeID  string          `json:"exchange_id"`
	FlowID      string          `json:"flow_id,omitempty"`
	Parent      string          `json:"parent_id,omitempty"` // the exchange of this session that this one goes on from
	Time        time.Time       `json:"time"`
	Scope       string          `json:"scope"`
	Principal   Principal       `json:"principal"`
	Workload    Workload        `json:"workload"`
	Endpoint    string          `json:"endpoint"`
	Host        string          `json:"host"`
	Port        uint16          `json:"port"`
	Protocol    string          `json:"protocol"`
	Operation   string          `json:"operation"`
	Model       string          `json:"model"`
	Stream      bool            `json:"stream"`
	Request     Request         `json:"request"`
	Response    Response        `json:"response"`
	Tools       []Tool          `json:"tools"` // the tool calls of the reply, refused ones included
	Steps       []pipeline.Step `json:"steps"` // what the request held that policy can name
	Verdict     Verdict         `json:"verdict"`
	Decisions   []Decision      `json:"decisions,omitempty"`
	Masked      []pipeline.Mask `json:"masked"`
	Usage       pipeline.Usage  `json:"usage"`
	DurationMS  int64           `json:"duration_ms"`
	OverheadUS  int64           `json:"overhead_us"`
	FirstMS     int64           `json:"first_release_ms,omitempty"`
	HoldMS      int64           `json:"hold_ms,omitempty"`     // time spent waiting for people
	ReplyOf     string          `json:"reply_of,omitempty"`    // the exchange whose kept reply this is
	Open        bool            `json:"open,omitempty"`        // no outcome yet: running, or the daemon died
	Policy      string          `json:"policy,omitempty"`      // version of the policy that decided
	Content     string          `json:"content,omitempty"`     // why contents are not there any more: "erased", "no_key", "omitted"
	Uninspected string          `json:"uninspected,omitempty"` // why the contents are not known
	Originals   *Originals      `json:"originals,omitempty"`   // of what was masked, with record.original: sealed
}

// Request is what the application asked.
type Request struct {
	Method     string          `json:"method"`
	Target     string          `json:"target"`
	UserAgent  string          `json:"user_agent,omitempty"`
	Credential string          `json:"credential,omitempty"` // keyed fingerprint
	Bytes      int64           `json:"bytes"`
	SHA256     string          `json:"sha256,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"` // the masked body, if it was JSON
}

// Response is what came back.
type Response struct {
	Status    int      `json:"status"`
	ID        string   `json:"id,omitempty"`
	Model     string   `json:"model,omitempty"`
	Finish    []string `json:"finish,omitempty"`
	Text      string   `json:"text,omitempty"` // the masked text
	Bytes     int64    `json:"bytes"`
	Cut       string   `json:"cut,omitempty"`        // who ended it before its time
	CutReason string   `json:"cut_reason,omitempty"` // what happened then

	Pace []pipeline.Pace `json:"pace,omitempty"` // when how much of it was released
}

// Tool is one tool call of a reply and what was decided on it.
type Tool struct {
	Name    string          `json:"name"`
	ID      string          `json:"id,omitempty"`
	Args    json.RawMessage `json:"args,omitempty"` // the masked arguments: JSON if they are, else a string
	Action  string          `json:"action"`
	Rule    string          `json:"rule,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Decided string          `json:"decision,omitempty"` // decision ID, for `sallyport why`
	Index   int             `json:"index,omitempty"`    // its place among the calls

	ResultIn string `json:"result_in,omitempty"` // the exchange of this session that brought its result back
}

// Decision is one recorded decision: what `sallyport why` explains.
type Decision struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Session  string    `json:"session_id,omitempty"`
	Exchange string    `json:"exchange_id,omitempty"`
	Action   string    `json:"action"`
	Stage    string    `json:"stage"`
	Rule     string    `json:"rule"`
	Reason   string    `json:"reason"`
	Mode     string    `json:"mode"`
	Enforced bool      `json:"enforced"`
	Scope    string    `json:"scope,omitempty"`
	Endpoint string    `json:"endpoint,omitempty"`
	Model    string    `json:"model,omitempty"`
	Tool     string    `json:"tool,omitempty"`
	SPIFFEID string    `json:"spiffe_id,omitempty"`
	UID      uint32    `json:"uid"`
	Policy   string    `json:"policy,omitempty"` // version of the policy that decided
	HelpURL  string    `json:"help_url,omitempty"`

	Approval      string `json:"approval_id,omitempty"` // what was asked of people
	ApprovalState string `json:"approval_state,omitempty"`
	Elevation     string `json:"elevation_id,omitempty"` // the grant by which it was allowed
	Elevate       string `json:"elevate,omitempty"`      // the command that asks for a role that would allow it

	Code    string             `json:"code,omitempty"`    // the kind of a denial: "budget"
	Matched []pipeline.Matched `json:"matched,omitempty"` // every guardrail that matched, and rules that only observe
	Step    *pipeline.Step     `json:"step,omitempty"`    // what it was about, masked; not in the answer to why
	Others  []Decision         `json:"others,omitempty"`  // why of an exchange: its other decisions, in their order
	Removed []pipeline.Step    `json:"removed,omitempty"` // the tools that were taken out of the offer
	Next    string             `json:"next,omitempty"`    // what to do about it
}

// Trust says which trust stores were changed and for whom.
type Trust struct {
	Roots   []Root       `json:"roots"`
	Host    TrustHost    `json:"host"`
	Entries []TrustEntry `json:"entries"`

	Processes []TrustProcess `json:"processes"` // those without proof first
}

// TrustHost says what is done for programs in the host's own mount namespace.
type TrustHost struct {
	Mode    string `json:"mode"`              // "none", "files" or "unit"
	Tool    string `json:"tool,omitempty"`    // files: the distribution's, for the system's store
	Problem string `json:"problem,omitempty"` // why there is none, with the mend
}

// Root is one root certificate of ours.
type Root struct {
	Subject  string    `json:"subject"`
	SHA256   string    `json:"sha256"` // of the certificate, hex
	NotAfter time.Time `json:"not_after"`
}

// TrustEntry is one change of one store.
type TrustEntry struct {
	Kind    string    `json:"kind"`          // "mount"; on the host "anchor" (for the system's store), "block" (in a file), "unit" (drop-in)
	Store   string    `json:"store"`         // "system", "certifi", "variable" or "unit"
	Path    string    `json:"path"`          // of a mount: as the process sees it
	PID     uint32    `json:"pid,omitempty"` // of a mount: whose; else for which it was made, if for one
	Comm    string    `json:"comm,omitempty"`
	State   string    `json:"state"`   // "applied", "removed", "gone", "lost" (somebody else took it out), "failed: WHY"
	Current bool      `json:"current"` // all roots that we have now are there
	Time    time.Time `json:"time,omitzero"`
}

// TrustRemoveRequest asks to undo all changes, or to say what would be undone.
type TrustRemoveRequest struct {
	DryRun bool `json:"dry_run,omitempty"`
}

// TrustRemoved says what was, or would be, undone. An entry whose State begins with "failed" is still in place.
type TrustRemoved struct {
	DryRun  bool         `json:"dry_run,omitempty"`
	Entries []TrustEntry `json:"entries"`
}

// TrustApplyRequest is about the process at the other end of the socket.
type TrustApplyRequest struct {
	Program string `json:"program,omitempty"` // what it is going to execute, as it sees it: stores may lie beside that
}

// TrustApplied says what was done for the calling process.
type TrustApplied struct {
	Entries   []TrustEntry `json:"entries"`
	RootsFile string       `json:"roots_file"` // PEM with our roots, for programs that read no store (NODE_EXTRA_CA_CERTS)
}

// ExplainRequest describes a call as policy sees it. Step nil asks about the call itself.
type ExplainRequest struct {
	Mode      pipeline.Mode      `json:"mode"`
	Workload  pipeline.Workload  `json:"workload"`
	Principal pipeline.Principal `json:"principal"`
	Endpoint  pipeline.Endpoint  `json:"endpoint"`
	Call      pipeline.Call      `json:"call"`
	Step      *pipeline.Step     `json:"step,omitempty"`
}

// Explanation is the verdict and how it came about, a line for each rule that was looked at.
type Explanation struct {
	Verdict pipeline.Verdict `json:"verdict"`
	Policy  string           `json:"policy"`
	Trace   []string         `json:"trace"`
}

// Action is the body of an admin record: who did what through the admin API.
type Action struct {
	Action string `json:"action"` // "session.read", "sessions.read", "sessions.search", "trust.remove", "trust.apply", "trust.inspector", "approval.approve" …
	Target string `json:"target,omitempty"`
	Reason string `json:"reason,omitempty"` // as the person gave it
	User   string `json:"user,omitempty"`   // where the person matters
	UID    uint32 `json:"uid"`
	PID    uint32 `json:"pid"`
	Comm   string `json:"comm,omitempty"`
}

// Error is the body of every reply that is not 200. Message is one line for people and says what to do.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of Error.
const (
	CodeBadRequest  = "bad_request"
	CodeForbidden   = "forbidden"
	CodeNotFound    = "not_found"
	CodeMethod      = "method_not_allowed"
	CodeTooLarge    = "too_large"
	CodeMediaType   = "unsupported_media_type"
	CodeUnavailable = "unavailable"
	CodeInternal    = "internal"
	CodeConflict    = "conflict" // it is too late: decided, expired or over already
)
