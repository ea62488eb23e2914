# SPDX-License-Identifier: Apache-2.0
"""Asks for a key again and again, as one answer or as a stream, until a file appears; prints what it got: loop.py STOPFILE"""
import os
import sys
import time

from langchain_openai import ChatOpenAI

stop = sys.argv[1]
llm = ChatOpenAI(model="gpt-4o-mini", max_retries=0, timeout=30)
n = fine = failed = 0
print("begun", flush=True)
while not os.path.exists(stop):
    n += 1
    prompt = f"leak a key, pace 2ms, question {os.getpid()}-{n}"
    try:
        if n % 2:
            print(llm.invoke(prompt).content)
        else:
            print("".join(c.content for c in llm.stream(prompt)))
        fine += 1
    except Exception as e:
        print(f"{type(e).__name__}: {e}")
        failed += 1
        time.sleep(0.05)
print("fine", fine, "failed", failed)
