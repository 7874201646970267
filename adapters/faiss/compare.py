"""FAISS on the vectors that `compare_faiss_export` wrote, beside our figures.

Usage: compare.py DIRECTORY

Everything runs on one thread and one query at a time, as our side does. Times
are in microseconds; recall counts every answer that is no farther than the
tenth nearest, so that ties are no errors.
"""

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np

K = 10
# Links of a node, and candidates while building: the settings of the target.
M = 32
EF_CONSTRUCTION = 200
EF_SEARCH = (64, 256, 1024)
# Vectors per call while building, to show how far it has come.
STEP = 5_000
WARM_UP = 32


def main(directory: Path) -> None:
    faiss.omp_set_num_threads(1)
    ours = json.loads((directory / "ours.json").read_text())
    code_size = ours["bits"] // 8
    vectors = np.fromfile(directory / "vectors.bin", np.uint8).reshape(-1, code_size)
    queries = np.fromfile(directory / "queries.bin", np.uint8).reshape(-1, code_size)
    exact = np.fromfile(directory / "exact.bin", "<u4").reshape(-1, K)
    sources = np.array(ours["sources"])
    print(f"\nfaiss {faiss.__version__}, {len(vectors):,} vectors of {ours['bits']:,} bits, "
          f"{len(queries)} queries, one thread\n")

    flat = faiss.IndexBinaryFlat(ours["bits"])
    flat_adding = add(flat, vectors)
    flat_search = search(flat, queries, exact, sources)
    if not np.array_equal(flat_search["distances"], exact):
        sys.exit("the exact distances of the two sides differ: the vectors were not read as written")

    graph = faiss.IndexBinaryHNSW(ours["bits"], M)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    graph_adding = add(graph, vectors)
    graph_bytes = (faiss.serialize_index_binary(graph).size - vectors.nbytes) / len(vectors)
    graph_searches = {}
    for ef in EF_SEARCH:
        graph.hnsw.efSearch = ef
        graph_searches[ef] = search(graph, queries, exact, sources)

    print(f"{'':34}adding us  bytes beyond vector   p50 us   p99 us  recall@10  source found")
    row("MnemoCore, cascade", ours["cascade"], ours["adding"]["micros"], ours["adding"]["bytes"])
    row("MnemoCore, exact scan", ours["exact"])
    row("FAISS flat", flat_search, flat_adding, 0)
    for ef, result in graph_searches.items():
        row(f"FAISS HNSW M {M} efC {EF_CONSTRUCTION}, ef {ef}", result, graph_adding, graph_bytes)
    print()

    best = max(graph_searches.values(), key=lambda result: (result["recall"], -result["p50"]))
    target("cascade's P50 against HNSW's at its best recall", best["p50"] / ours["cascade"]["p50"], 8, " x")
    target("adding a memory against HNSW's", graph_adding / ours["adding"]["micros"], 350, " x")
    kilobytes = ours["adding"]["bytes"] * 1000 / 1024
    target("index beyond vectors and texts, KB a thousand memories", kilobytes, 60, at_least=False)


def add(index, vectors: np.ndarray) -> float:
    """Microseconds a vector."""
    started = time.perf_counter()
    for start in range(0, len(vectors), STEP):
        index.add(vectors[start : start + STEP])
        if sys.stderr.isatty():
            print(f"\r{type(index).__name__}: {index.ntotal:,}", end="\r", file=sys.stderr)
    return (time.perf_counter() - started) * 1e6 / len(vectors)


def search(index, queries: np.ndarray, exact: np.ndarray, sources: np.ndarray) -> dict:
    for at in range(min(WARM_UP, len(queries))):
        index.search(queries[at : at + 1], K)
    micros, distances, found = [], [], []
    for at in range(len(queries)):
        started = time.perf_counter()
        distance, label = index.search(queries[at : at + 1], K)
        micros.append((time.perf_counter() - started) * 1e6)
        distances.append(distance[0])
        found.append(label[0])
    distances, found = np.array(distances), np.array(found)
    within = (distances <= exact[:, -1:].astype(np.int64)) & (found >= 0)
    return {
        "p50": float(np.percentile(micros, 50)),
        "p99": float(np.percentile(micros, 99)),
        "recall": float(within.mean()),
        "source_found": float((found == sources[:, None]).any(axis=1).mean()),
        "distances": distances,
    }


def row(name: str, result: dict, adding: float | None = None, extra: float | None = None) -> None:
    def cell(value: float | None, width: int, digits: int) -> str:
        return " " * width if value is None else f"{value:{width},.{digits}f}"

    print(f"{name:34}{cell(adding, 9, 2)}{cell(extra, 21, 0)}"
          f"{result['p50']:9,.0f}{result['p99']:9,.0f}"
          f"{cell(result.get('recall', 1.0), 11, 4)}{cell(result.get('source_found'), 14, 3)}")


def target(name: str, measured: float, limit: float, unit: str = "", at_least: bool = True) -> None:
    met = measured >= limit if at_least else measured <= limit
    sign = ">=" if at_least else "<="
    print(f"{name}: {measured:.4g}{unit} ({sign} {limit}{unit}) {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
