"""The searches of the scaling bench: one search covers all budgets, cached calls are exact, oracles are right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.backends.wrappers.cache import CachedBackend, CompletionStore, call_key
from spar_core.backends.wrappers.metering import MeteredBackend
from spar_core.checks import verify
from spar_core.errors import DataError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner, extract_refined
from spar_core.search import STRATEGIES, Models, SearchConfig, Searcher
from spar_core.types import Completion, Message, Sampling, Usage
from spar_core.verdict import parse_verdict
from spar_training.studies.scaling.arms import BEST_OF_ALL, METHODS, Arm, ablation_arms, main_arms, oracle_arms
from spar_training.studies.scaling.baselines import sample_seeds
from spar_training.studies.scaling.grid import by_arm, grid_items, run_grid
from spar_training.studies.scaling.oracle import ChatReader, OracleJudge, OracleRefiner
from spar_training.studies.scaling.player import Backends, Cell, TextJudge, TrialRunner
from spar_training.studies.scaling.timing import Times, time_all, timing_items
from spar_training.studies.scaling.trial import Step, Trial
from spar_training.world.example import draw_example
from spar_training.world.near_miss import near_miss

COMPACT = load_templates("compact")
ASK = (Message("user", "Hi"),)
BUDGETS = (0, 1, 2, 3, 4, 5, 8, 13, 32)


def draw(messages: Sequence[Message], sampling: Sampling) -> random.Random:
    chat = "|".join(message.text for message in messages)
    return random.Random(hashlib.sha256(f"{chat}#{sampling.seed}".encode()).digest())


@dataclass
class Moody(ScriptedBackend):
    """A model whose reply is a function of chat and seed, and whose calls take varying time."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        return await super().complete(messages, sampling)


def actor(messages: Sequence[Message], sampling: Sampling) -> str:
    return f"draft {draw(messages, sampling).randrange(12)}"


def refiner(messages: Sequence[Message], sampling: Sampling) -> str:
    """Accepts about one text in eight; refines to one of a few texts, so that siblings are often equal."""
    rng = draw(messages, sampling)
    if len(messages) == 3:
        text = f"[[start]]\ntext {rng.randrange(9)}\n" + " more" * rng.randrange(5)
        return text + ("\n[[end]]" if rng.random() < 0.85 else "")
    good = draw([Message("user", messages[0].text)], Sampling()).random() < 0.125
    verdict = "Yes" if good == (rng.random() < 0.85) else "No"
    return "so" + " so" * rng.randrange(4) + f"\nFinal Judgement: {verdict}"


def moody_runner() -> TrialRunner:
    models = Backends(actor=Moody(actor), judge=Moody(refiner), refiner=Moody(refiner))
    return TrialRunner(models={"none": models}, live=models, templates=COMPACT)


@pytest.mark.parametrize("algorithm", STRATEGIES)
async def test_one_search_covers_every_smaller_budget(algorithm: str) -> None:
    runner = moody_runner()
    lengths = set()
    for index in range(12):
        cell = Cell("held_out", index, 0)
        arm = main_arms([algorithm], budget=32, best_of=32, best_of_all=32)[1]
        whole = await runner.run(arm, cell)
        lengths.add(len(whole.steps))
        for budget in BUDGETS:
            alone = await runner.run(replace(arm, search=replace(arm.search, budget=budget)), cell)
            assert alone.answer(budget) == (unjudged(whole.answer(0)) if budget == 0 else whole.answer(budget))
            assert alone.cost(budget) == whole.cost(budget)
            assert alone.steps[1:] == whole.steps[1 : 1 + budget]
            # All generated tokens belong to a node.
            assert (alone.lost_calls, alone.lost_tokens) == (0, 0)
    assert len(lengths) > 3


def best_of_all(budget: int) -> Arm:
    return main_arms([BEST_OF_ALL], budget=1, best_of=1, best_of_all=budget)[1]


def judging(*shares: tuple[str, float]) -> ScriptedBackend:
    """A judge whose five votes on a text have the text's share of Yes, one after the other."""
    calls: Counter[str] = Counter()

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        text = next(text for text, _ in shares if messages[0].text.endswith(text))
        calls[text] += 1
        return f"Final Judgement: {'Yes' if calls[text] <= 5 * dict(shares)[text] else 'No'}"

    return ScriptedBackend(reply)


def drawing(cell: Cell, *texts: str) -> ScriptedBackend:
    """An actor whose draft and samples are `texts`."""
    by_seed = dict(zip(sample_seeds(cell.search_seed, len(texts) - 1), texts, strict=True))
    return ScriptedBackend(lambda messages, sampling: by_seed[sampling.seed or 0])


async def run_all_judged(judge: ScriptedBackend, *texts: str, **changes: object) -> Trial:
    cell = Cell("held_out", 0, 0)
    models = Backends(actor=drawing(cell, *texts), judge=judge, refiner=judge)
    arm = best_of_all(len(texts) - 1)
    arm = replace(arm, search=replace(arm.search, **changes))  # type: ignore[arg-type]
    return await TrialRunner(models={"none": models}, live=models, templates=COMPACT).run(arm, cell)


async def test_best_of_n_judges_every_sample_and_takes_the_highest_score() -> None:
    judge = judging(("one", 0.6), ("two", 0.2), ("three", 0.8), ("four", 0.8), ("five", 1.0))
    trial = await run_all_judged(judge, "one", "two", "three", "four", "five", early_vote_stop=False)
    assert [step.value for step in trial.steps] == [0.6, 0.2, 0.8, 0.8, 1.0]
    # An accepted draft does not end it, and the first among equals answers.
    assert trial.best == (0, 0, 2, 2, 4)
    assert len(judge.calls) == 25
    # At N = 1 there is one draft, no choice, and no votes.
    assert [trial.cost(budget).calls for budget in range(5)] == [1, 2 + 10, 3 + 15, 4 + 20, 5 + 25]
    made, vote = 1, 3
    assert [trial.cost(b).tokens for b in range(5)] == [made, *((1 + b) * (made + 5 * vote) for b in range(1, 5))]


async def test_best_of_n_stops_votes_early_like_other_methods() -> None:
    trial = await run_all_judged(judging(("one", 1.0), ("two", 0.0), ("three", 0.4)), "one", "two", "three")
    assert [step.votes for step in trial.steps] == [3, 3, 5]


async def test_equal_samples_share_their_votes() -> None:
    judge = judging(("one", 0.4), ("two", 0.8))
    trial = await run_all_judged(judge, "one", "two", "two", "one", early_vote_stop=False)
    assert [step.outcome for step in trial.steps] == ["judged", "judged", "duplicate", "duplicate"]
    assert [step.value for step in trial.steps] == [0.4, 0.8, 0.8, 0.4]
    assert [step.votes for step in trial.steps] == [5, 5, 0, 0]
    assert trial.best == (0, 1, 1, 1)


async def test_a_sample_without_a_score_is_the_last_choice() -> None:
    judge = ScriptedBackend(lambda m, s: "who knows" if "one" in m[0].text[-4:] else "Final Judgement: No")
    trial = await run_all_judged(judge, "one", "two", "one")
    assert [step.value for step in trial.steps] == [None, 0.0, None]
    assert trial.best == (0, 1, 1)
    assert trial.cost(2).calls == 3 + len(judge.calls)


async def test_one_run_at_the_largest_n_covers_every_smaller_one() -> None:
    for index in range(6):
        cell = Cell("held_out", index, 0)
        whole = await moody_runner().run(best_of_all(32), cell)
        assert len(whole.steps) == 33
        for budget in BUDGETS:
            alone = await moody_runner().run(best_of_all(budget), cell)
            assert alone.answer(budget) == (unjudged(whole.answer(0)) if budget == 0 else whole.answer(budget))
            assert alone.cost(budget) == whole.cost(budget)


async def test_both_kinds_of_best_of_n_share_what_was_generated(tmp_path: Path) -> None:
    """Both draw the same samples with the same seeds and get the same votes, so the second makes no new calls."""
    cells = [Cell("held_out", index, 0) for index in range(6)]
    until = main_arms(["best_of_n"], budget=8, best_of=8, best_of_all=8)[1]
    with CompletionStore(tmp_path / "store.sqlite") as store:
        cached = {name: CachedBackend(Moody(says), store, identity=name) for name, says in
                  (("actor", actor), ("refiner", refiner))}  # fmt: skip
        models = Backends(actor=cached["actor"], judge=cached["refiner"], refiner=cached["refiner"])
        runner = TrialRunner(models={"none": models}, live=models, templates=COMPACT)
        for cell in cells:
            whole = await runner.run(best_of_all(8), cell)
            misses = [one.misses for one in cached.values()]
            stopped = await runner.run(until, cell)
            assert [one.misses for one in cached.values()] == misses
            assert stopped.steps == whole.steps[: len(stopped.steps)]
            assert stopped.cost(8).tokens <= whole.cost(8).tokens


async def test_best_of_n_is_timed_at_every_budget(tmp_path: Path) -> None:
    models = Backends(actor=Moody(actor), judge=Moody(refiner), refiner=Moody(refiner))
    items = timing_items([best_of_all(4)], split="held_out", prompts=2, budgets=(0, 2, 8))
    times = Times.from_rows(await time_all(models, COMPACT, items, out=tmp_path / "seconds.jsonl")).seconds
    assert set(times[BEST_OF_ALL]) == {0, 2, 4}
    assert times[BEST_OF_ALL][0] < times[BEST_OF_ALL][4]


def unjudged(step: Step) -> Step:
    """The step without its judgement, which a search at budget 0 does not request."""
    return replace(step, outcome="unjudged", value=None, accepted=False, votes=0, vote_tokens=0)


async def test_a_seed_gives_the_same_trial_however_long_the_calls_take() -> None:
    arms = [
        *main_arms([*STRATEGIES, BEST_OF_ALL], budget=15, best_of=15, best_of_all=15),
        *(a for a in ablation_arms(deep=32) if a.nested),
    ]
    for arm in arms:
        trials = [await moody_runner().run(arm, Cell("held_out", 3, 1)) for _ in range(3)]
        assert trials[0] == trials[1] == trials[2], arm.name


async def test_a_text_gets_the_same_votes_in_every_search() -> None:
    judge = TextJudge(backend=Moody(refiner), templates=COMPACT, seed=7, early_stop=False)
    one = await judge.judge(ASK, "text 1", seed=1)
    assert await judge.judge(ASK, "text 1", seed=2) == one
    assert {vote.text for vote in (await judge.judge(ASK, "text 2", seed=1)).votes} != {v.text for v in one.votes}
    assert len({vote.text for vote in one.votes}) > 1
    early = await replace(judge, early_stop=True).judge(ASK, "text 1", seed=3)
    assert one.votes[: len(early.votes)] == early.votes
    assert early.accepted == one.accepted


async def test_equal_calls_are_made_once_but_charged_each_time(tmp_path: Path) -> None:
    inner = ScriptedBackend(actor, latency_s=0.01)
    with CompletionStore(tmp_path / "store.sqlite") as store:
        cached = CachedBackend(inner, store, identity="a")
        same = [cached.complete(ASK, Sampling(seed=1, max_tokens=9)) for _ in range(5)]
        completions = await asyncio.gather(*same, cached.complete(ASK, Sampling(seed=2, max_tokens=9)))
        assert len(inner.calls) == 2
        assert len(set(map(repr, completions[:5]))) == 1
        assert completions[0].usage.completion_tokens == 2
    with CompletionStore(tmp_path / "store.sqlite") as store:
        again = CachedBackend(ScriptedBackend(always("other")), store, identity="a")
        assert await again.complete(ASK, Sampling(seed=1, max_tokens=9)) == completions[0]
        assert (again.calls, again.misses) == (1, 0)
        other_weights = CachedBackend(ScriptedBackend(always("other")), store, identity="b")
        assert (await other_weights.complete(ASK, Sampling(seed=1, max_tokens=9))).text == "other"


async def test_a_cancelled_caller_does_not_cancel_the_shared_call(tmp_path: Path) -> None:
    with CompletionStore(tmp_path / "store.sqlite") as store:
        cached = CachedBackend(ScriptedBackend(always("yes"), latency_s=0.02), store, identity="a")
        first, second = (asyncio.create_task(cached.complete(ASK, Sampling(seed=1))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).text == "yes"


def test_everything_that_changes_an_answer_changes_its_key() -> None:
    base = Sampling(temperature=0.7, top_p=0.9, max_tokens=5, seed=3)
    others = [
        call_key("n", ASK, base),
        call_key("m", (*ASK, *ASK), base),
        *(call_key("m", ASK, replace(base, **{name: value})) for name, value in
          (("temperature", 0.8), ("top_p", 1.0), ("max_tokens", 6), ("seed", 4), ("stop", ("x",)))),
    ]  # fmt: skip
    assert len({call_key("m", ASK, base), *others}) == 8
    greedy = replace(base, temperature=0)
    assert call_key("m", ASK, greedy) == call_key("m", ASK, replace(greedy, seed=9))


def test_a_store_survives_the_kill_of_its_process(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from spar_core.types import Completion, Usage; from spar_core.backends.wrappers.cache import CompletionStore\n"
        "store = CompletionStore(Path(sys.argv[1])).__enter__()\n"
        "for n in range(1000): store.save(str(n).encode(), Completion(f'text {n}', 'stop', Usage(1, n)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code, str(file)], env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert done.returncode == -signal.SIGKILL
    with CompletionStore(file) as store:
        stored = [n for n in range(1000) if store.find(str(n).encode())]
        assert len(stored) > 850
        assert all(store.find(str(n).encode()) == Completion(f"text {n}", "stop", Usage(1, n)) for n in stored)


def test_a_file_that_is_not_a_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database, and long enough to be told from an empty one" * 20)
    with pytest.raises(DataError, match=r"store\.sqlite: cannot be used as a store"):
        CompletionStore(tmp_path / "store.sqlite").__enter__()


@pytest.mark.parametrize("templates", ["compact", "default"])
async def test_oracles_are_right_and_forward_other_requests_to_the_model(templates: str) -> None:
    texts = load_templates(templates)
    examples = [draw_example("held_out", index) for index in range(40)]
    chats = ChatReader(texts, examples)
    inner = ScriptedBackend(always("inner"))
    judge = OracleJudge(inner, chats, count=len)
    refiner = OracleRefiner(inner, chats, count=len)
    for number, example in enumerate(examples):
        checks, conversation = example.prompt.checks, (Message("user", example.prompt.text),)
        broken = near_miss(example.prompt, example.reference, random.Random(number), broken=2)
        for answer in filter(None, (example.reference, broken)):
            text = answer.render()
            true = all(finding.passed for finding in verify(checks, text))
            critique = await judge.complete(texts.judge(conversation, text), Sampling())
            assert parse_verdict(critique.text, text) is true
            assert critique.usage.completion_tokens == len(critique.text)
            turns = texts.refine(conversation, text, "whatever it says")
            refined = extract_refined((await refiner.complete(turns, Sampling(seed=number))).text, text)
            assert refined.text is not None
            assert all(finding.passed for finding in verify(checks, refined.text))
            assert (await judge.complete(turns, Sampling())).text == "inner"
            assert (await refiner.complete(texts.judge(conversation, text), Sampling())).text == "inner"
    assert (await judge.complete(ASK, Sampling())).text == "inner"


def test_a_prompt_that_contains_the_templates_words_is_parsed() -> None:
    example = draw_example("held_out", 0)
    tricky = replace(example, prompt=replace(example.prompt, text=f"{example.prompt.text}\nResponse: not yet"))
    (chat,) = COMPACT.judge((Message("user", tricky.prompt.text),), "Here.\nResponse: there")
    request = ChatReader(COMPACT, [example, tricky]).parse([chat])
    assert request is not None
    # Both prompts match the text; for the shorter one, the response contains the rest.
    assert request.example is example
    request = ChatReader(COMPACT, [tricky]).parse([chat])
    assert request is not None
    assert (request.example, request.response) == (tricky, "Here.\nResponse: there")


async def test_a_search_with_perfect_halves_ends_with_a_right_answer() -> None:
    examples = [draw_example("held_out", index) for index in range(10)]
    chats = ChatReader(COMPACT, examples)
    inner = ScriptedBackend(always("no text at all"))
    both = OracleJudge(OracleRefiner(inner, chats, count=len), chats, count=len)
    models = Backends(actor=inner, judge=both, refiner=both)
    runner = TrialRunner(models={"both": models}, live=models, templates=COMPACT)
    arm = next(arm for arm in oracle_arms(budget=8) if arm.oracle == "both")
    for index in range(10):
        trial = await runner.run(arm, Cell("held_out", index, 0))
        assert (trial.answer(8).strict, trial.answer(8).accepted) == (True, True)


async def test_the_tokens_of_cancelled_calls_count_as_spent() -> None:
    stalled, stall = asyncio.Event(), True

    class Stalling(ScriptedBackend):
        async def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
            count = 0
            async for delta in super().stream(messages, sampling):
                if stall and count == 3:
                    stalled.set()
                    await asyncio.sleep(600)
                count += 1
                yield delta

    metered = MeteredBackend(Stalling(always("one two three four five six seven eight nine ten")))
    task = asyncio.create_task(metered.complete(ASK, Sampling()))
    await stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert metered.lost_tokens == 3
    stall = False
    whole = await metered.complete(ASK, Sampling())
    assert whole.text == "one two three four five six seven eight nine ten"
    assert whole.usage.completion_tokens == 10


async def test_the_cost_of_a_search_that_cancels_calls_is_complete() -> None:
    arm = next(arm for arm in ablation_arms(deep=8) if arm.live)
    cancelled = 0
    for index in range(12):
        runner = moody_runner()
        trial = await runner.run(arm, Cell("held_out", index, 0))
        models = runner.live
        made = [backend.calls for backend in (models.actor, models.judge, models.refiner) if isinstance(backend, Moody)]
        assert trial.cost(8).calls == sum(map(len, made))
        assert len(trial.steps) <= 9
        cancelled += sum(step.outcome == "cancelled" for step in trial.steps)
    assert cancelled


async def test_a_finished_run_is_read_and_not_repeated(tmp_path: Path) -> None:
    arms = main_arms(METHODS, budget=4, best_of=6, best_of_all=5)
    items = grid_items(arms, split="held_out", prompts=4, seeds=2)
    rows = await run_grid(moody_runner(), items, out=tmp_path / "trials.jsonl")
    trials = by_arm(arms, rows)
    assert {len(ours) for ours in trials.values()} == {8}
    silent = ScriptedBackend(always("never asked"))
    models = Backends(actor=silent, judge=silent, refiner=silent)
    again = TrialRunner(models={"none": models}, live=models, templates=COMPACT)
    assert by_arm(arms, await run_grid(again, items, out=tmp_path / "trials.jsonl")) == trials
    assert not silent.calls
    drafts = {arm: [trial.steps[0].made_tokens for trial in ours] for arm, ours in trials.items() if arm != "greedy"}
    assert len({tuple(tokens) for tokens in drafts.values()}) == 1


async def test_a_search_that_no_budget_shortens_is_timed_once(tmp_path: Path) -> None:
    actor, refiner_ = ScriptedBackend(always("draft"), latency_s=0.01), ScriptedBackend(refiner, latency_s=0.01)
    models = Backends(actor=actor, judge=refiner_, refiner=refiner_)
    arms: list[Arm] = main_arms(["bfs"], budget=8, best_of=8, best_of_all=8)
    items = timing_items(arms, split="held_out", prompts=3, budgets=(0, 1, 2, 8))
    rows = await time_all(models, COMPACT, items, out=tmp_path / "seconds.jsonl")
    times = Times.from_rows(rows).seconds
    assert set(times["bfs"]) == {0, 1, 2, 8}
    assert set(times["greedy"]) == {0}
    assert times["bfs"][0] < times["bfs"][1] <= times["bfs"][8]


async def test_the_bench_searches_like_the_server() -> None:
    """Except for the seeds of the votes, a search of the bench is a `Searcher` with its config."""
    arm = main_arms(["bfs"], budget=6, best_of=6, best_of_all=6)[1]
    cell = Cell("held_out", 0, 0)
    backend = ScriptedBackend(lambda m, s: refiner(m, replace(s, seed=None)))
    models = Backends(actor=ScriptedBackend(always("draft")), judge=backend, refiner=backend)
    trial = await TrialRunner(models={"none": models}, live=models, templates=COMPACT).run(arm, cell)
    roles = Models(
        actor=models.actor,
        judge=Judge(backend=backend, templates=COMPACT),
        refiner=Refiner(backend=backend, templates=COMPACT),
    )
    config = SearchConfig(budget=6, stop="level", seed=cell.search_seed)
    result = await Searcher(roles, config).run((Message("user", cell.prompt.text),))
    assert trial.answer(6).value == result.value
    assert trial.cost(6).nodes == result.nodes
    assert trial.cost(6).tokens == sum(usage.completion_tokens for usage in result.usage.values())
