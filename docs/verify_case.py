#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies what "sallyport case export" wrote, unpacked: verify_case.py [FOLDER] [--anchors FILE-or-DIR] [--key HEX]. Needs Python 3.9 and verify.py
beside it. docs/search.md describes the files. Use anchors and a key that you have from elsewhere: those in the case prove nothing against
who made it. Exit status 1 if anything is wrong."""
import argparse, base64, calendar, hashlib, json, os, struct, sys, time

sys.dont_write_bytecode = True
import verify

KINDS = ["", "open", "checkpoint", "gap", "flow", "intent", "event", "outcome", "decision", "policy", "config", "admin", "approval", "elevation"]

# What of a record is sealed: the chain holds only its ciphertext. A * stands for each of a list.
ASKED = [("asked", "step", "args"), ("asked", "step", "text"), ("asked", "step", "from"), ("asked", "body")]
SEALED = {"intent": [("body",), ("body_sha256",), ("original",), ("call", "steps")], "event": [("data",)], "approval": ASKED, "elevation": ASKED,
          "outcome": [("text",), ("tools", "*", "args"), ("tools", "*", "text"), ("tools", "*", "from")],
          "decision": [("step", "args"), ("step", "text"), ("step", "from")]}

def without(x, path):
    """x without what is at a path, which need not be there."""
    if path[0] == "*":
        return [without(y, path[1:]) for y in x] if isinstance(x, list) else x
    if not isinstance(x, dict) or path[0] not in x:
        return x
    return {k: v for k, v in x.items() if k != path[0]} if len(path) == 1 else dict(x, **{path[0]: without(x[path[0]], path[1:])})

def nanoseconds(text):  # of a time like 2026-01-31T12:00:00.5Z
    at, _, rest = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(rest.ljust(9, "0") or 0)

def same(r, x, h, content):
    """Does a line of records.jsonl say what the chain holds, as far as that is not sealed?"""
    kind, cut, doc = KINDS[h[4]], 108 + h[6], content
    gen, seq = struct.unpack_from("<QQ", h, 12)
    names = (h[108:cut].decode(), h[cut:cut + h[7]].decode())
    if (r["kind"], r.get("session_id", ""), r.get("exchange_id", ""), r["generation"], r["sequence"], r["segment"], r["offset"]) != (kind, *names, gen, seq, x["segment"], x["offset"]):
        return False
    if nanoseconds(r["time"]) != struct.unpack_from("<q", h, 36)[0]:
        return False
    if h[5] & 3:
        doc = content[4:4 + struct.unpack_from("<I", content)[0]]
    says, holds = r["body"], json.loads(doc)
    if h[5] & 2 and r.get("content") not in ("erased", "no_key"):
        for path in SEALED.get(kind, []):
            says, holds = without(says, path), without(holds, path)
    elif h[5] & 1 and not h[5] & 2:  # written before anything was sealed: the attachment stands beside the JSON
        attached, name = content[4 + len(doc):], {"intent": "body", "event": "data"}.get(kind)
        holds = dict(holds, **{name: attached.decode(errors="replace") if name == "data" else json.loads(attached)})
    return without(says, ("data",)) == holds if kind == "event" and not says.get("data") else says == holds

def policies(folder, manifest):
    """A version of the policy is a digest of its texts: gives how many versions there are, and how many are proven."""
    proven = 0
    for p in manifest.get("policies", []):
        sum = hashlib.sha256()
        for f in sorted(p["files"], key=lambda f: f["name"]):
            with open(os.path.join(folder, f["file"]), "rb") as text:
                text, name = text.read(), f["name"].encode()
            sum.update(b"%d %s %d\n" % (len(name), name, len(text)) + text)
        if "sha256:" + sum.hexdigest() == p["version"]:
            proven += 1
        elif not any(f.get("masked") for f in p["files"]):
            raise verify.Wrong(f"policy {p['version']}: its texts are not those of this version")
    return len(manifest.get("policies", [])), proven

def conversations(folder, manifest, read):
    """The conversations say nothing that records.jsonl does not have."""
    answers = {r["exchange_id"]: r["body"] for r in read if r["kind"] == "outcome"}
    there = {(r.get("session_id"), r.get("exchange_id")) for r in read}
    for name in (f["name"] for f in manifest["files"] if f["name"].startswith("sessions/")):
        with open(os.path.join(folder, name), "rb") as f:
            s = json.load(f)
        for x in s["exchanges"]:
            answer = answers.get(x["exchange_id"], {})
            if (s["session_id"], x["exchange_id"]) not in there or (x["response"].get("text") or "") != answer.get("text", ""):
                raise verify.Wrong(f"{name}: exchange {x['exchange_id']} is not what records.jsonl has")

def sums(folder):
    with open(os.path.join(folder, "MANIFEST.json"), "rb") as f:
        manifest = json.load(f)
    listed = {x["name"]: x for x in manifest["files"]}
    there = {os.path.relpath(os.path.join(d, f), folder).replace(os.sep, "/") for d, _, files in os.walk(folder) for f in files}
    for name in sorted(there ^ (set(listed) | {"MANIFEST.json"})):
        raise verify.Wrong(f"{name}: {'it is not in the manifest' if name in there else 'it is missing'}")
    for name, x in listed.items():
        with open(os.path.join(folder, name), "rb") as f:
            if hashlib.sha256(f.read()).hexdigest() != x["sha256"]:
                raise verify.Wrong(f"{name}: it is not what the manifest says")
    return manifest

def chain(folder, sessions, anchors, key):
    """The records of the case are links of the chain, and a signed checkpoint covers each: gives how many, and how many anchors agree."""
    last, contents, signs, keys, heads, records, covered, open_ = {}, {}, 0, {}, {}, 0, 0, {}
    for line in open(os.path.join(folder, "chain.jsonl")):
        x = json.loads(line)
        h = bytes.fromhex(x["header"])
        gen, seq = struct.unpack_from("<QQ", h, 12)
        prev, digest, cut = h[44:76], h[76:108], 108 + h[6]
        session = h[108:cut].decode()
        where = f"segment {x['segment']} offset {x['offset']}"
        if len(h) != cut + h[7] or gen in last and last[gen] != (seq - 1, prev):
            raise verify.Wrong(f"{where}: the hash chain is broken")
        head = hashlib.sha256(h).digest()
        last[gen], heads[gen, seq] = (seq, head), head.hex()
        content = base64.b64decode(x["content"]) if "content" in x else None
        if content is not None and hashlib.sha256(content).digest() != digest:
            raise verify.Wrong(f"{where}: the content does not have its digest")
        if session in sessions:
            if content is None:
                raise verify.Wrong(f"{where}: a record of the case has no content")
            contents[head.hex()], records, open_[gen] = (x, h, content), records + 1, open_.get(gen, 0) + 1
        if h[4] == 2 and content is not None:  # checkpoint
            if h[5] & 3:
                content = content[4:4 + struct.unpack_from("<I", content)[0]]
            c = json.loads(content)
            if "signed" not in c:
                continue
            s = c["signed"]
            a = dict(s, boot=c["boot"], generation=gen, sequence=seq - 1, head=c["head"], signature=s["value"])
            if c["head"] != prev.hex() or not verify.signed(a):
                raise verify.Wrong(f"{where}: the signature of the checkpoint is wrong")
            for epoch, k in ((a["epoch"], a["key"]), (a["epoch"] + 1, a["next"])):
                if keys.setdefault((a["journal"], epoch), k) != k:
                    raise verify.Wrong(f"{where}: signed with another key than the one before names")
            signs, covered = signs + 1, covered + open_.pop(gen, 0)
    mine = 0
    for a in anchors:
        if not verify.signed(a):
            raise verify.Wrong("an anchor has no valid signature")
        have = heads.get((a["generation"], a["sequence"]))
        ours = any(j == a["journal"] for j, _ in keys)
        if ours and have and have != a["head"] or keys.get((a["journal"], a["epoch"]), a["key"]) != a["key"]:
            raise verify.Wrong(f"record {a['sequence']} of generation {a['generation']} is another than was anchored at {a['time']}")
        mine += bool(ours and have)
    if key and not any(k == key for (_, epoch), k in keys.items() if epoch == 0):
        raise verify.Wrong("the case does not reach back to the signature with the given key: verify the whole journal with it")
    read = [json.loads(line) for line in open(os.path.join(folder, "records.jsonl"))]
    for n, r in enumerate(read, 1):
        held = contents.pop(r["hash"], None)
        if held is None:
            raise verify.Wrong(f"records.jsonl line {n}: the record is not in the chain")
        if not same(r, *held):
            raise verify.Wrong(f"records.jsonl line {n}: it does not say what the chain holds")
    if contents:
        raise verify.Wrong("records.jsonl does not have all records of the case")
    if covered < records:
        raise verify.Wrong(f"{records - covered} of {records} records have no signature behind them: export the case again, a minute after they were written or later")
    return read, records, signs, mine

def main():
    p = argparse.ArgumentParser(description="verifies an exported case")
    p.add_argument("folder", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    p.add_argument("--anchors", help="file or folder of checkpoints that were kept off the host")
    p.add_argument("--key", help="public key with which the signatures begin, in hex")
    o = p.parse_args()
    try:
        m = sums(o.folder)
        own = os.path.join(o.folder, "anchors.jsonl")
        path = o.anchors or (own if os.path.exists(own) else None)
        anchors = verify.read_anchors(path) if path else []
        read, records, signs, mine = chain(o.folder, set(m["sessions"]), anchors, o.key)
        if o.anchors and not mine:
            raise verify.Wrong("none of the anchors is about these records")
        conversations(o.folder, m, read)
        versions, proven = policies(o.folder, m)
        print(f"whole: {records} records of {len(m['sessions'])} sessions before {signs} signatures, {mine} anchors agree"
              + ("" if o.anchors else " (anchors that were not kept elsewhere prove nothing against who made this)")
              + f", {proven} of {versions} policy versions proven" * bool(versions))
        for note in m.get("notes", []):
            print("note: " + "".join(c if c.isprintable() else "\ufffd" for c in note))
    except (verify.Wrong, OSError, KeyError, IndexError, TypeError, AttributeError, ValueError, struct.error) as e:
        sys.exit(f"NOT whole: {e}")

if __name__ == "__main__":
    main()
