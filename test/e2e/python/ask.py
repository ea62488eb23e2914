# SPDX-License-Identifier: Apache-2.0
"""Answers each line "HOST PROMPT" by one question to HOST, with one client for each host: ask.py"""
import sys

from langchain_openai import ChatOpenAI

clients = {}
print("ready", flush=True)
for line in sys.stdin:
    host, _, prompt = line.strip().partition(" ")
    try:
        if host not in clients:
            clients[host] = ChatOpenAI(model="gpt-4o-mini", base_url=f"https://{host}/v1", max_retries=0, timeout=30)
        print(clients[host].invoke(prompt).content, flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e} {e.__cause__}".replace("\n", " "), flush=True)
