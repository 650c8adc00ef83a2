"""What agents return, at random: garbage must end as a validation failure and nothing else.

Every result goes through the whole way: the runner, its checks, the packing, the bytes that go to the partition, and
back. Three questions are asked of each: did anything escape (an exception, a lost outcome, a dead thread, an outcome
that cannot travel, a failure of another kind)? Was something recorded as success that the action may not return? Was
something refused that it may? The second opinion is of ``outputs_values``.
"""

import random
from typing import Any, Final

from kos_runtime.adapters.agent_runner.runner import AgentRunner
from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.wire import pack_outcomes, pack_work, unpack_outcomes, unpack_work
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.record import INLINE_LIMIT
from tests.proof.outputs_values import FITS, JUNK, Answering, good, is_plain, spoiled

_BATCH: Final = 250
_PATIENCE_MS: Final = 60_000.0
_CODEC: Final = MsgpackCodec()
_OUTPUTS: Final = [("all", "$result")]


def run(cases: int, seed: int) -> dict[str, Any]:
    """Try so many results.

    Returns:
        ``cases``, ``accepted``, ``refused``; ``escaped``, ``accepted_wrongly`` and ``refused_wrongly``, all 0 when all
        is well, and of those at most twenty as ``failures`` of ``{action, value, what}``.
    """
    chance = random.Random(seed)
    agent, blobs = Answering(), MemoryBlobStore()
    runner = AgentRunner(agent, codec=_CODEC, blobs=blobs, cache_dir="", on_late=lambda outcomes: None, threads=2)
    found: dict[str, Any] = {
        "cases": cases, "seed": seed, "accepted": 0, "refused": 0, "escaped": 0, "accepted_wrongly": 0,
        "refused_wrongly": 0, "failures": [],
    }  # fmt: skip
    try:
        for begin in range(0, cases, _BATCH):
            _round(runner, agent, blobs, begin, min(_BATCH, cases - begin), chance, found)
            blobs._blobs.clear()
    finally:
        runner.close()
    return found


def _round(
    runner: AgentRunner, agent: Answering, blobs: MemoryBlobStore, begin: int, count: int, chance: random.Random,
    found: dict[str, Any],
) -> None:  # fmt: skip
    names = [chance.choice(list(FITS)) for _ in range(count)]
    agent.answers = [_answer(name, chance) for name in names]
    batch = [_invocation(name, begin, index, chance) for index, name in enumerate(names)]
    sent, _ = unpack_work(pack_work(batch))
    result = runner.run_batch(sent, _PATIENCE_MS)
    outcomes, running = unpack_outcomes(pack_outcomes(result.outcomes, result.running))
    runner.acknowledge([(outcome.run, outcome.path, outcome.fence) for outcome in outcomes])
    if running or sorted(o.fence for o in outcomes) != [i.fence for i in batch] or outcomes != result.outcomes:
        _note(found, "escaped", "the batch", None, f"{len(outcomes)} of {count} outcomes came back alike")
    if not all(thread.is_alive() for thread in runner._threads):
        _note(found, "escaped", "the batch", None, "a thread of the runner died")
    for outcome in outcomes:
        index = outcome.fence - 1 - begin
        _judge(names[index], agent.answers[index], batch[index], outcome, blobs, found)


def _answer(name: str, chance: random.Random) -> Any:
    roll = chance.random()
    if roll < 0.3:
        return good(name, chance)
    return chance.choice(JUNK)() if roll < 0.5 else spoiled(good(name, chance), chance)


def _invocation(name: str, begin: int, index: int, chance: random.Random) -> Invocation:
    return Invocation(
        run="fuzz", path="step", attempt=1, fence=begin + index + 1, epoch=1, agent="kAnswering", action=name,
        inputs=_CODEC.pack({"index": index}), timeout_ms=0, key="k",
        outputs=_OUTPUTS if chance.random() < 0.7 else None,
    )  # fmt: skip


def _judge(
    name: str, value: Any, invocation: Invocation, outcome: Outcome, blobs: MemoryBlobStore, found: dict[str, Any]
) -> None:
    if outcome.error is not None:
        found["refused"] += 1
        if outcome.error.type is not ErrorType.VALIDATION or outcome.exposed or outcome.blobs:
            _note(found, "escaped", name, value, f"{outcome.error.type}: {outcome.error.message}")
        elif is_plain(value) and FITS[name](value) and not _cannot_travel(value):
            _note(found, "refused_wrongly", name, value, outcome.error.message)
        return
    found["accepted"] += 1
    try:
        names = _CODEC.unpack(outcome.exposed)
        names.update({blob: _CODEC.unpack(blobs.get(ref.digest)) for blob, ref, _, _ in outcome.blobs})
    except (ValueError, KeyError) as error:
        _note(found, "escaped", name, value, f"what was exposed cannot be read: {error}")
        return
    exposed = names["all" if invocation.outputs else "result"]
    if not is_plain(exposed) or not FITS[name](exposed):
        _note(found, "accepted_wrongly", name, value, f"exposed {exposed!r:.200}")
    elif len(outcome.exposed) > INLINE_LIMIT:
        _note(found, "accepted_wrongly", name, value, f"{len(outcome.exposed)} bytes stand in a record")


def _cannot_travel(value: Any) -> bool:
    """Say whether a plain value cannot be stored: half a character, or exposed once more it would be too deep."""
    try:
        _CODEC.pack({"all": value, "result": value})
    except ValueError:
        return True
    return False


def _note(found: dict[str, Any], kind: str, name: str, value: Any, what: str) -> None:
    found[kind] += 1
    if len(found["failures"]) < 20:
        try:
            text = repr(value)[:300]
        except BaseException:
            text = type(value).__name__
        found["failures"].append({"action": name, "value": text, "what": f"{kind}: {what}"[:500]})
