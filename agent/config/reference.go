// SPDX-License-Identifier: Apache-2.0

package config

// Reference is the documented configuration file with every key at its default. Its parse equals Default.
func Reference() string { return reference }

const reference = `# Configuration of the agent. Every key may be left out; what stands here are the defaults.
# SALLYPORT_ADMIN_SOCKET, SALLYPORT_POLICY_DIR and SALLYPORT_RECORD_DIR override the keys of the same meaning.

# Which workloads, in order; the first match wins; at most 63. All criteria of one match must hold.
#   - name: agents
#     match:
#       unit: "langchain-*.service"  # system unit; globs. What a person's manager starts is user@UID.service
#       cgroup: "/agents.slice/*"    # below the cgroup v2 root, with all that is under it; globs
#       uid: 1001                    # real user
#       exe: "/opt/*/bin/python3"    # absolute path; globs
#       langchain: true              # recognised as a LangChain program
#     mode: enforce                  # off | discover | observe | enforce
#     fail: closed                   # open | closed while the agent is down; enforce is always closed, else open
#     untrusted: deny                # deny | passthrough where our root is not trusted; deny with enforce
#     encrypted_dns: observe         # observe | deny of DNS over HTTPS and TLS at well-known public resolvers; deny needs enforce
#     search_memory: false           # true: look for LangChain in the memory of what matches but for langchain: true
#     canary: 10%                    # enforce only for this share of the instances (pods, containers, units), observe the rest
#     older:                         # connections that its processes held open before the scope covered them
#       action: cut                  # cut: default of enforce, and only there | list: recorded; default of observe | leave
#       idle: 5s                     # without a byte, and no answer outstanding: then it is cut
#       deadline: 5m                 # cut by then, idle or not; 0s = at once
protect: []

capture:
  default_mode: discover             # mode of a program that no scope names, recognised as LangChain or by an endpoint's address
  ports: [443, 80, 11434, 8000]      # TCP ports that are looked at, besides those of endpoints
  cgroup: ""                         # folder to attach to; empty = the cgroup v2 root
  pin_dir: /sys/fs/bpf/sallyport     # where the kernel objects outlive the agent
  self_test: 1m0s                    # how often a connection of our own proves the way to the proxy; 1s to 1h

endpoints:                           # providers; any other host passes untouched
  - name: openai                     # the name that policy uses
    host: api.openai.com             # name, or IP address of a plain endpoint
    port: 443                        # 443 if left out, 80 if plain
    protocol: openai                 # openai | anthropic | ollama | http (any other API: opened, not decoded, so refused in enforce)
    base_path: ""                    # what the paths of the API begin with, such as /openai/v1; {model} stands for a segment that
                                     #   names the model: /openai/deployments/{model}. Empty: /v1, / for ollama
    upstream_ca: ""                  # PEM file of the roots to verify against; empty = system roots
    plain: false                     # true: HTTP without TLS, told by its address or, with a name, its port

identity:
  trust_domain: example.org          # of SPIFFE IDs
  template: "unit/{unit}"            # their path: {unit} {container} {pod} {cgroup} {uid} {exe}; none if one is unknown

policy:
  dir: /etc/sallyport/policy.d       # roles, bindings, guardrails; an empty folder denies everything
  help_url: ""                       # shown with a denial

ca:
  mode: embedded                     # embedded
  dir: /var/lib/sallyport/ca

trust:
  host: none                         # what programs in the host's own mount namespace get: none | files | unit
                                     #   none: nothing is changed; start them with "sallyport run"
                                     #   files: the distribution's trust tool, and a marked block in each copy of certifi
                                     #   unit: a drop-in for each unit of a scope, with mounts of its own, from its next start
  persistent: false                  # true: drop-ins lie in /etc/systemd/system and hold at boot too, else in /run
  ledger: /var/lib/sallyport/trust.ledger
  node_inspector: false              # true: a running Node.js program that does not trust our root gets it through its inspector,
                                     # which is open for a second at 127.0.0.1:9229 of its network namespace (docs/trust.md)

record:
  required: true                     # nothing goes upstream before it is recorded
  dir: /var/lib/sallyport/journal
  max_bytes: 10GiB                   # B, KiB, MiB, GiB, TiB, KB, MB, GB, TB
  when_full: stop                    # stop: recorded exchanges are refused until there is room
  anchors: ""                        # file, or folder, to keep signed checkpoints in: mount it from another host; empty = nowhere
  original: ""                       # sealed: keep what was masked, in requests and replies, readable for two of the recipients together (sallyport unseal)
  recipients: []                     # their age public keys (age1…), two to five
  retention:                         # after which time records are destroyed, as 30d or 12h; empty = kept for good
    content: ""                      # prompts, replies, tool calls: their keys, up to a day later
    metadata: ""                     # who asked whom, when, what was decided: whole segments, when all in them is due
    admin: ""                        # what administrators did, approvals, policy: a segment with such a record stays as long

mask:                                # secrets and personal data in replies, and in what is recorded (docs/mask-actions.md)
  key_file: /var/lib/sallyport/mask.key # of fingerprints and pseudonyms; made if it is not there
  prompts: false                     # true: requests too, before they leave the host; they stay masked
  names: true                        # look for names of people and postal addresses
  actions: []                        # in order; the first that matches decides. Behind them: secrets are tagged everywhere,
                                     #   personal data everywhere but in the arguments of tool calls
#   - types: [CREDIT_CARD, "US_*"]   # types (globs), or secrets, personal (names included), names; none = all
#     carriers: [text]               # text (all of a reply but) | args (of tool calls) | prompt | input (of embeddings) | reasoning | refusal |
#                                    #   citation | result | error | metadata; none = all of replies, and of requests with prompts
#     roles: ["support-*"]           # of the caller at that moment; globs; none = all
#     rules: [credit-card]           # names of rules; none = all
#     action: last_four              # tag | last_four | pseudonym | deny (the exchange ends) | allow
  allow: []                          # never masked: exact values, globs such as "*@example.com", networks, numbers however written
  rules: []                          # of your own
#   - name: employee-id
#     type: EMPLOYEE_ID              # stands in the tag
#     pattern: "E[0-9]{6}"           # RE2; each repeat has a maximum, a match at most 1024 bytes
#     word: true                     # no letter, digit or _ directly before or after; or left: and right: with such characters
#     near: [employee, staff]        # one of these words before it
#     within: 96                     # at most so many bytes before, up to 400
#     check: luhn                    # luhn | mod97 | entropy
#     secret: false                  # true: of the group secrets, not of personal
#     action: tag

archive:                             # search store on this host, made from the journal, so that sessions are found by fields and words
  off: false                         # true: only the newest sessions can be listed
  path: ""                           # file; empty = archive.db beside the folder of the record
  retain: 90d                        # how long exchanges are found; 0s = as long as the journal has them

elasticsearch:
  url: ""                            # empty = off
  urls: []                           # further nodes of the same cluster
  api_key_file: ""                   # the encoded key on one line, mode 0600; docs/elasticsearch.md says what it needs
  ca_file: ""                        # empty = system roots
  fingerprint: ""                    # instead of ca_file: SHA-256 of the server's certificate, or of its authority's if the server sends it
  namespace: default                 # of the data streams: the tenant
  contents: new                      # what was said is there once, in the exchange that said it first; whole: again with each request that repeats it

approvals:
  groups: []                         # groups of this host whose members decide where a rule names none; empty = operators
  approvers: 1                       # people who have to agree at least, whatever a rule says
  timeout: 10m0s                     # without a decision it is denied after this time, where a rule does not say
  elevation:                         # of roles for a time
    groups: []                       # whose members grant them; empty = operators
    approvers: 1
    timeout: 1h0m0s
    longest: 8h0m0s                  # for how long a role, or an approval for a session, can last
  webhook:                           # is told that something waits for people (docs/webhook.md)
    url: ""                          # https, or http to this host; empty = off
    secret_file: ""                  # the key of the signatures, whsec_… on one line, mode 0600
    ca_file: ""                      # empty = system roots
    include: none                    # none | masked: with the masked arguments or request that are to be released
  console_url: ""                    # where approvals are decided in a browser, for the links; empty = nowhere

admin:
  socket: /run/sallyport/admin.sock
  admins: []                         # user IDs, besides root, that may see everything
  metrics: ""                        # IP address and port where Prometheus gets /metrics, such as 127.0.0.1:9464; empty = nowhere
  traces: ""                         # OTLP receiver (HTTP) that is told of exchanges, without contents: http://127.0.0.1:4318; empty = none

proxy:
  listen: 127.0.0.1:15001            # loopback only
  drain: 10s                         # how long open exchanges may take to end at shutdown
  stall: 5m                          # an application that does not read its reply for so long, or sends nothing of a body, is cut
  upstream_timeout: 30m              # a provider that sends nothing for so long while it owes a reply is given up
  max_connections: 20000             # open connections of one scope; beyond: refused in enforce, relayed unread else
  max_memory: 1GiB                   # held for one scope, of bodies that are read whole; beyond: not inspected, so refused in enforce
  max_namespaces: 1024               # other network namespaces (containers, pods) served at a time, 0 to 8192; beyond: as if the agent were down
`
