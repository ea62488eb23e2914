#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies a Sallyport journal: verify.py DIR [--anchors FILE-or-DIR] [--key HEX]. Needs Python 3.9 and nothing else.

It shares no code with Sallyport and is short enough to be read: docs/journal-format.md describes the bytes. Contents are not
decrypted: the chain covers them as they are encrypted. Exit status 1 if anything is wrong."""
import argparse, glob, hashlib, json, os, struct, sys

# Ed25519, verification only (RFC 8032, section 5.1.7).
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, I = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)

def add(a, b):  # points in extended coordinates X, Y, Z, T
    u, v = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    s, z = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, z - s, z + s, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(n, a):
    r = (0, 1, 1, 0)
    while n:
        r, a, n = add(r, a) if n & 1 else r, add(a, a), n >> 1
    return r

def point(b):
    y = int.from_bytes(b, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x if (x * x - xx) % P == 0 else x * I % P
    if y >= P or (x * x - xx) % P or x == 0 and sign:
        raise ValueError("no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P

BASE = point(bytes([0x58]) + bytes([0x66]) * 31)

def signed(a):  # is the statement of a checkpoint signed with the key that it names?
    text = "sallyport checkpoint 1\njournal %s\nepoch %d\nboot %s\ngeneration %d\nsequence %d\nhead %s\ntime %s\nnext %s\n" % tuple(
        a[k] for k in ("journal", "epoch", "boot", "generation", "sequence", "head", "time", "next"))
    key, sig = bytes.fromhex(a["key"]), bytes.fromhex(a["signature"])
    s = int.from_bytes(sig[32:], "little")
    if len(key) != 32 or len(sig) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(sig[:32] + key + text.encode()).digest(), "little") % L
    try:
        p, q = times(s, BASE), add(point(sig[:32]), times(k, point(key)))
    except ValueError:
        return False
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0

TABLE = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)

def crc32c(b, c=0xFFFFFFFF):
    for x in b:
        c = c >> 8 ^ TABLE[(c ^ x) & 255]
    return c ^ 0xFFFFFFFF

GUARD = 8  # so many zeros are left behind the last record of a segment at least, unless it is cut to its records

class Wrong(Exception):
    pass

def segment(path, number, chains):
    """Gives the records of a segment: generation, sequence, hash, previous hash, type, exchange, JSON."""
    b = open(path, "rb").read()
    if len(b) < 80 or b[:8] not in (b"SLYPJNL1", b"SLYPJNL2") or crc32c(b[:76]) != struct.unpack_from("<I", b, 76)[0]:
        raise Wrong(f"segment {number}: the header is damaged")
    num, gen, first = struct.unpack_from("<QQQ", b, 8)
    prev, at, last = b[32:64], 80, chains.get(gen)
    if last and last[2]:
        raise Wrong(f"{last[2]}: the record is damaged")  # what a crash cuts is the last of its generation
    if num != number or last and (first, prev) != (last[0] + 1, last[1]):
        raise Wrong(f"segment {number}: it does not continue the one before")
    seq = first - 1
    while at < len(b) and any(b[at:at + 4]):
        size = struct.unpack_from("<I", b, at)[0] if at + 4 <= len(b) else 0
        r = b[at:at + size]
        where = f"segment {number} offset {at}"
        if size < 112 or len(r) < size or crc32c(r[:4] + r[8:]) != struct.unpack_from("<I", r, 4)[0]:
            ends = len(b) - at < 4 or 112 <= size <= 2**28 and at + size > len(b)
            if not ends and (not 112 <= size <= 2**28 or any(b[at + size:]) or len(b) - at - size < GUARD):
                raise Wrong(f"{where}: the record is damaged")
            chains[gen] = seq, prev, where  # a crash cut the last write: the file ends in it, or room that was never used follows
            return
        names = 112 + r[10] + r[11]
        content = r[names:]
        if struct.unpack_from("<QQ", r, 16) != (gen, seq + 1) or r[48:80] != prev:
            raise Wrong(f"{where}: the hash chain is broken")
        if hashlib.sha256(content).digest() != r[80:112]:
            raise Wrong(f"{where}: the content does not have its digest")
        if r[9] & 3:
            content = content[4:4 + struct.unpack_from("<I", content)[0]]
        seq, prev = seq + 1, hashlib.sha256(r[:4] + r[8:names]).digest()
        yield gen, seq, prev, r[48:80], r[8], r[112 + r[10]:names], content, where
        at += size
    if any(b[at:]):
        raise Wrong(f"segment {number} offset {at}: something follows the last record")
    chains[gen] = seq, prev, ""

def verify(folder, anchors, key):
    files = sorted(glob.glob(os.path.join(glob.escape(folder), "*.segment")))
    if not files:
        raise Wrong("there is no journal")
    numbers = [int(os.path.basename(f).split(".")[0]) for f in files]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise Wrong("a segment is missing")
    chains, keys, begins, gone, ours, claims, records = {}, {}, {}, {}, set(), [], 0
    want, pieces = {}, {}
    for a in anchors:
        if not signed(a):
            raise Wrong("an anchor has no valid signature")
        want.setdefault((a["generation"], a["sequence"]), []).append(a)
    heads, made, repaired = {}, {}, False

    def learn(a, where):
        for epoch, k in ((a["epoch"], a["key"]), (a["epoch"] + 1, a["next"])):
            if keys.setdefault((a["journal"], epoch), k) != k:
                raise Wrong(f"{where}: signed with another key than the one before names")

    for f, n in zip(files, numbers):
        for gen, seq, head, prev, kind, exchange, doc, where in segment(f, n, chains):
            records += 1
            if gen not in begins:
                begins[gen] = seq - 1, prev.hex()
                if seq > 1 and numbers[0] == 1:
                    raise Wrong(f"{where}: the generation does not begin here")
            if (gen, seq) in want:
                heads[gen, seq] = head.hex()
            if kind == 1:  # open: what it says of the chains before
                o = json.loads(doc)
                claims += [(p, where) for p in o.get("earlier", []) + ([o["predecessor"]] if "predecessor" in o else []) if not p.get("open")]
            if kind == 2:  # checkpoint
                c = json.loads(doc)
                if c["reason"] == "ended" and c["generation"] < gen:
                    claims.append((c, where))
                elif (c["generation"], c["sequence"], c["head"]) != (gen, seq - 1, prev.hex()):
                    raise Wrong(f"{where}: the checkpoint names another head than the chain has")
                if "signed" in c:
                    s = c["signed"]
                    a = dict(s, boot=c["boot"], generation=gen, sequence=seq - 1, head=c["head"], signature=s["value"])
                    if not signed(a):
                        raise Wrong(f"{where}: the signature of the checkpoint is wrong")
                    made.setdefault(a["journal"], set()).add(a["epoch"])
                    learn(a, where)
                    ours.add(a["journal"])
            if kind == 14:  # original: the pieces of a reply, in order; of one that began before the oldest segment some are not here
                have, piece = pieces.get(exchange, 0 if numbers[0] == 1 else None), json.loads(doc)["seq"]
                if have not in (None, piece):
                    raise Wrong(f"{where}: a piece of an original is missing before it")
                pieces[exchange] = piece + 1
            if kind == 7:  # outcome: how many there are
                kept, have = json.loads(doc).get("original"), pieces.pop(exchange, 0 if numbers[0] == 1 else None)
                if kept and have not in (None, kept["pieces"]):
                    raise Wrong(f"{where}: the outcome names other pieces of an original than there are")
            if kind == 11:  # admin: what retention removed
                x = json.loads(doc)
                action = x.get("action") if isinstance(x, dict) else None
                repaired |= action == "record.repair"
                if action == "record.expire.segments":
                    for r in x["removed"]:
                        gone[r["generation"]] = max(r["sequence"], gone.get(r["generation"], 0))
    for c, where in claims:
        have = chains.get(c["generation"])
        if have and have[:2] != (c["sequence"], bytes.fromhex(c["head"])) or not have and numbers[0] == 1:
            raise Wrong(f"{where}: generation {c['generation']} does not end as a later one says")
    for j, epochs in made.items():
        if numbers[0] == 1 and not repaired and epochs != set(range(max(epochs) + 1)):
            raise Wrong(f"signed checkpoints of journal {j} are missing: its epochs have gaps")
    mine = [a for a in anchors if a["journal"] in ours]
    if anchors and not mine:
        raise Wrong("no anchor is of this journal")
    agree = 0
    for a in mine:
        gen, seq = a["generation"], a["sequence"]
        learn(a, f"anchor of epoch {a['epoch']}")
        # Retention takes the oldest segments: never the end of a generation that is here, nor one behind a generation that is here from its beginning.
        if seq <= gone.get(gen, 0) and (seq <= begins[gen][0] if gen in begins else not any(g < gen and b[0] == 0 for g, b in begins.items())):
            continue
        if heads.get((gen, seq)) != a["head"] or chains[gen][0] <= seq or a["epoch"] not in made[a["journal"]]:
            raise Wrong(f"record {seq} of generation {gen}, or the checkpoint that follows it, is missing or another than was anchored at {a['time']}")
        agree += 1
    if key and not any(keys.get((j, 0)) == key for j in ours):
        raise Wrong("the signatures do not begin with the given key")
    torn = "".join(f", unfinished write at {c[2]}" for c in chains.values() if c[2])
    rest = f" and {len(mine) - agree} are of expired records" if agree < len(mine) else ""
    return f"whole: {records} records, {len(chains)} generations, {agree} anchors agree{rest}{torn}" + ("" if agree else " (local evidence only)")

def read_anchors(path):
    paths = sorted(glob.glob(os.path.join(glob.escape(path), "*.json"))) if os.path.isdir(path) else [path]
    anchors = [json.loads(line) for f in paths for line in open(f) if line.strip()]
    if not anchors:
        raise Wrong("there are no anchors")
    return anchors

def main():
    p = argparse.ArgumentParser(description="verifies a Sallyport journal")
    p.add_argument("folder")
    p.add_argument("--anchors", help="file or folder of checkpoints that were kept off the host")
    p.add_argument("--key", help="public key with which the signatures begin, in hex")
    o = p.parse_args()
    try:
        print(verify(o.folder, read_anchors(o.anchors) if o.anchors else [], o.key))
    except Wrong as e:
        sys.exit(f"NOT whole: {e}")
    except (OSError, KeyError, TypeError, ValueError, struct.error) as e:  # what is no record, anchor or file of a journal
        sys.exit(f"NOT whole: it cannot be read: {e!r}")

if __name__ == "__main__":
    main()
