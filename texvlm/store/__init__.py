"""Token folders: tokens of a whole clip on disk, or what a model made of them, read back bit for bit.

A folder holds shards (`tokens-00000.safetensors`, ...), each with a run of consecutive frames, and
one `meta.json` that says how they were made and which shards count. `TokenWriter` writes it,
`open_tokens` and `open_features` read it, and any program that knows safetensors can read a shard alone.

What a reader may rely on:
  * a shard is whole or absent: it is written under a temporary name, synced and renamed, and only
    then named in meta.json;
  * meta.json lists every shard with its frames, size and SHA-256; a file that it does not list is
    no part of the store;
  * memory stays flat: a writer holds one shard, a reader maps at most two.
"""

from __future__ import annotations

from texvlm.store.meta import ShardInfo, StoreMeta
from texvlm.store.reader import FeatureStore, TokenStore, open_features, open_tokens
from texvlm.store.writer import TokenWriter

__all__ = ["FeatureStore", "ShardInfo", "StoreMeta", "TokenStore", "TokenWriter", "open_features", "open_tokens"]
