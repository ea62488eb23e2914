# SPDX-License-Identifier: Apache-2.0
"""The embedding of each text: embed.py TEXT..."""
import sys

from langchain_openai import OpenAIEmbeddings

try:
    # Counting tokens would fetch a vocabulary from another host.
    vectors = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False).embed_documents(sys.argv[1:])
    for text, v in zip(sys.argv[1:], vectors):
        print(f"{text}: {len(v)} dimensions, {v[0]:.6f} {v[1]:.6f} ...")
except Exception as e:
    sys.exit(f"{type(e).__name__}: {e}")
