"""Nodes of a captured graph, in the order in which they were queued."""

from __future__ import annotations

from collections.abc import Sequence

from texvlm.backends.cuda.bindings import Bindings


def kernel_nodes(bindings: Bindings, graph: int) -> list[int]:
    """Kernel nodes of a graph, each after those that it depends on."""
    runtime, check = bindings.runtime, bindings.check
    _, count = check("cudaGraphGetNodes", runtime.cudaGraphGetNodes(graph))
    nodes, _ = check("cudaGraphGetNodes", runtime.cudaGraphGetNodes(graph, count))
    # sources and targets come first and the number of edges last; CUDA 13 puts the edges' data between
    *_, count = check("cudaGraphGetEdges", runtime.cudaGraphGetEdges(graph))
    sources, targets, *_ = check("cudaGraphGetEdges", runtime.cudaGraphGetEdges(graph, count))
    edges = [(int(source), int(target)) for source, target in zip(sources, targets, strict=True)]
    kernel = runtime.cudaGraphNodeType.cudaGraphNodeTypeKernel
    kernels = {
        int(node) for node in nodes if check("cudaGraphNodeGetType", runtime.cudaGraphNodeGetType(node)) == kernel
    }
    return [node for node in queued_order([int(node) for node in nodes], edges) if node in kernels]


def queued_order(nodes: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Nodes of a graph so that each comes after those it depends on.

    CUDA lists nodes in no promised order. What one stream queued is a chain, so it has one order only.

    Args:
        nodes: every node.
        edges: (before, after).
    """
    waits = dict.fromkeys(nodes, 0)
    after: dict[int, list[int]] = {node: [] for node in nodes}
    for first, second in edges:
        waits[second] += 1
        after[first].append(second)
    ready = [node for node in nodes if waits[node] == 0]
    for node in ready:  # grows while it is walked
        for follower in after[node]:
            waits[follower] -= 1
            if waits[follower] == 0:
                ready.append(follower)
    return ready
