"""How good the hits of a search are: beside BM25 computed over every record."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

__all__ = ["Judge"]

K1, B = 1.2, 0.75


class Judge:
    """Knows what each record is worth for a query."""

    def __init__(self, records: Sequence[str]) -> None:
        self._count = len(records)
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = []
        for number, record in enumerate(records):
            words = record.split()
            lengths.append(len(words))
            for word, count in Counter(words).items():
                self._places[word].append((number, count))
        average = sum(lengths) / len(lengths)
        self._discounts = [K1 * (1 - B + B * length / average) for length in lengths]

    def _scores(self, query: str) -> dict[int, float]:
        scores: dict[int, float] = defaultdict(float)
        for word in dict.fromkeys(query.split()):
            places = self._places.get(word, [])
            worth = math.log(1 + (self._count - len(places) + 0.5) / (len(places) + 0.5))
            for number, count in places:
                scores[number] += worth * count * (K1 + 1) / (count + self._discounts[number])
        return scores

    def shares(self, queries: Sequence[str], found: Sequence[Sequence[Sequence[int]]]) -> list[float]:
        """For each searcher, what its hits are worth together, as a share of what the best ones are."""
        best, worth = 0.0, [0.0] * len(found)
        for at, query in enumerate(queries):
            scores = self._scores(query)
            best += sum(heapq.nlargest(10, scores.values()))
            for searcher, hits in enumerate(found):
                worth[searcher] += sum(scores.get(number, 0.0) for number in hits[at])
        return [each / best for each in worth]
