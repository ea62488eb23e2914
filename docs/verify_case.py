#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies what "sallyport case export" wrote, unpacked: verify_case.py [FOLDER] [--anchors FILE] [--key HEX]. Needs Python 3.9 and verify.py
beside it. docs/search.md describes the files. Use anchors and a key that you have from elsewhere: those in the case prove nothing against
who made it. Exit status 1 if anything is wrong."""
import argparse, base64, hashlib, json, os, struct, sys

sys.dont_write_bytecode = True
import verify

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
            contents[head.hex()], records, open_[gen] = where, records + 1, open_.get(gen, 0) + 1
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
    for r in read:
        if contents.pop(r["hash"], None) is None:
            raise verify.Wrong("records.jsonl has a record that is not in the chain")
    if contents:
        raise verify.Wrong("records.jsonl does not have all records of the case")
    return records, covered, signs, mine

def main():
    p = argparse.ArgumentParser(description="verifies an exported case")
    p.add_argument("folder", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    p.add_argument("--anchors", help="file of checkpoints that were kept off the host, a line each")
    p.add_argument("--key", help="public key with which the signatures begin, in hex")
    o = p.parse_args()
    try:
        m = sums(o.folder)
        own = os.path.join(o.folder, "anchors.jsonl")
        path = o.anchors or (own if os.path.exists(own) else None)
        anchors = [json.loads(line) for line in open(path) if line.strip()] if path else []
        records, covered, signs, mine = chain(o.folder, set(m["sessions"]), anchors, o.key)
        print(f"whole: {records} records of {len(m['sessions'])} sessions, {covered} of them before a signature, {signs} signatures, {mine} anchors agree"
              + ("" if o.anchors and mine else " (anchors that were not kept elsewhere prove nothing against who made this)"))
    except (verify.Wrong, OSError, KeyError, ValueError, struct.error) as e:
        sys.exit(f"NOT whole: {e}")

if __name__ == "__main__":
    main()
