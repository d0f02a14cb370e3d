"""Gradients of several shards: the same bits whichever thread is first; nothing is lost."""

import itertools

import numpy as np

from minipeft.speed.gradients import Gradients

TERMS = {0: [1e8, 3.0], 1: [-1e8, 5.0], 2: [7.0, 1e-3]}


def orders():
    """All ways in which three shards, each with two arrays to add, may come to do it."""
    return sorted(set(itertools.permutations([0, 0, 1, 1, 2, 2])))


def added(order):
    gradients, left = Gradients(3), {shard: iter(terms) for shard, terms in TERMS.items()}
    for shard in order:
        gradients.add({"w": np.array([next(left[shard])], dtype="float32")}, shard)
    return gradients.totals()["w"][0]


def test_the_order_of_a_sum_does_not_depend_on_who_comes_first():
    in_turn = np.float32(0)
    for term in (1e8, -1e8, 7.0, 3.0, 5.0, 1e-3):
        in_turn += np.float32(term)
    assert {added(order) for order in orders()} == {in_turn}
    all_terms = [np.float32(term) for terms in TERMS.values() for term in terms]
    assert len({sum(terms) for terms in itertools.permutations(all_terms)}) > 1  # else this shows nothing


def test_a_shard_without_a_gradient_does_not_hold_up_the_others():
    gradients = Gradients(2)
    gradients.add({"a": np.array([1.0]), "b": np.array([10.0])}, 1)
    gradients.add({"a": np.array([2.0])}, 0)
    gradients.add({"b": np.array([20.0])}, 1)
    assert gradients.totals() == {"a": 3, "b": 30}


def test_names_come_in_one_order():
    gradients = Gradients(2)
    for shard, name in ((1, "b"), (0, "a"), (0, "b"), (1, "a")):
        gradients.add({name: np.zeros(1)}, shard)
    assert [*gradients.totals()] == ["a", "b"]
