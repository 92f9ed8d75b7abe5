"""The scaling bench plays searches: one search tells all budgets, stored calls are exact, oracles are right."""

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
from spar_training.studies.scaling.grid import by_arm, play_all, plays
from spar_training.studies.scaling.oracle import ChatReader, OracleJudge, OracleRefiner
from spar_training.studies.scaling.player import Backends, Cell, Player, TextJudge
from spar_training.studies.scaling.timing import Times, time_all, timed
from spar_training.studies.scaling.trial import Step, Trial
from spar_training.world.example import draw_example
from spar_training.world.near_miss import near_miss

COMPACT = load_templates("compact")
ASK = (Message("user", "Hi"),)
BUDGETS = (0, 1, 2, 3, 4, 5, 8, 13, 32)


def draw(messages: Sequence[Message], sampling: Sampling) -> random.Random:
    said = "|".join(message.text for message in messages)
    return random.Random(hashlib.sha256(f"{said}#{sampling.seed}".encode()).digest())


@dataclass
class Moody(ScriptedBackend):
    """A model whose reply is a function of chat and seed, and which takes its time with some calls."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        return await super().complete(messages, sampling)


def actor(messages: Sequence[Message], sampling: Sampling) -> str:
    return f"draft {draw(messages, sampling).randrange(12)}"


def refiner(messages: Sequence[Message], sampling: Sampling) -> str:
    """Judges one text in eight good, mostly; refines to one of a few texts, so that siblings are often equal."""
    rng = draw(messages, sampling)
    if len(messages) == 3:
        text = f"[[start]]\ntext {rng.randrange(9)}\n" + " more" * rng.randrange(5)
        return text + ("\n[[end]]" if rng.random() < 0.85 else "")
    good = draw([Message("user", messages[0].text)], Sampling()).random() < 0.125
    verdict = "Yes" if good == (rng.random() < 0.85) else "No"
    return "so" + " so" * rng.randrange(4) + f"\nFinal Judgement: {verdict}"


def moody_player() -> Player:
    models = Backends(actor=Moody(actor), judge=Moody(refiner), refiner=Moody(refiner))
    return Player(models={"none": models}, live=models, templates=COMPACT)


@pytest.mark.parametrize("algorithm", STRATEGIES)
async def test_one_search_tells_the_outcome_of_every_smaller_budget(algorithm: str) -> None:
    playing = moody_player()
    lengths = set()
    for index in range(12):
        cell = Cell("held_out", index, 0)
        arm = main_arms([algorithm], budget=32, best_of=32, best_of_all=32)[1]
        whole = await playing.play(arm, cell)
        lengths.add(len(whole.steps))
        for budget in BUDGETS:
            alone = await playing.play(replace(arm, search=replace(arm.search, budget=budget)), cell)
            assert alone.answer(budget) == (unjudged(whole.answer(0)) if budget == 0 else whole.answer(budget))
            assert alone.spent(budget) == whole.spent(budget)
            assert alone.steps[1:] == whole.steps[1 : 1 + budget]
            # Nothing was generated that is on no node.
            assert (alone.lost_calls, alone.lost_tokens) == (0, 0)
    assert len(lengths) > 3


def best_of_all(budget: int) -> Arm:
    return main_arms([BEST_OF_ALL], budget=1, best_of=1, best_of_all=budget)[1]


def judging(*shares: tuple[str, float]) -> ScriptedBackend:
    """A judge that gives each text its share of Yes among five votes, one after the other."""
    asked: Counter[str] = Counter()

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        text = next(text for text, _ in shares if messages[0].text.endswith(text))
        asked[text] += 1
        return f"Final Judgement: {'Yes' if asked[text] <= 5 * dict(shares)[text] else 'No'}"

    return ScriptedBackend(reply)


def drawing(cell: Cell, *texts: str) -> ScriptedBackend:
    """An actor whose draft and samples are `texts`."""
    said = dict(zip(sample_seeds(cell.search_seed, len(texts) - 1), texts, strict=True))
    return ScriptedBackend(lambda messages, sampling: said[sampling.seed or 0])


async def play_all_judged(judge: ScriptedBackend, *texts: str, **changes: object) -> Trial:
    cell = Cell("held_out", 0, 0)
    models = Backends(actor=drawing(cell, *texts), judge=judge, refiner=judge)
    arm = best_of_all(len(texts) - 1)
    arm = replace(arm, search=replace(arm.search, **changes))  # type: ignore[arg-type]
    return await Player(models={"none": models}, live=models, templates=COMPACT).play(arm, cell)


async def test_best_of_n_judges_every_sample_and_takes_the_highest_score() -> None:
    judge = judging(("one", 0.6), ("two", 0.2), ("three", 0.8), ("four", 0.8), ("five", 1.0))
    trial = await play_all_judged(judge, "one", "two", "three", "four", "five", early_vote_stop=False)
    assert [step.value for step in trial.steps] == [0.6, 0.2, 0.8, 0.8, 1.0]
    # An accepted draft ends nothing, and of equals the earliest answers.
    assert trial.best == (0, 0, 2, 2, 4)
    assert len(judge.calls) == 25
    # At N = 1 there is nothing to choose from: one draft, and no votes.
    assert [trial.spent(budget).calls for budget in range(5)] == [1, 2 + 10, 3 + 15, 4 + 20, 5 + 25]
    made, vote = 1, 3
    assert [trial.spent(b).tokens for b in range(5)] == [made, *((1 + b) * (made + 5 * vote) for b in range(1, 5))]


async def test_best_of_n_stops_votes_early_as_other_methods_do() -> None:
    trial = await play_all_judged(judging(("one", 1.0), ("two", 0.0), ("three", 0.4)), "one", "two", "three")
    assert [step.votes for step in trial.steps] == [3, 3, 5]


async def test_a_sample_that_repeats_another_shares_its_votes() -> None:
    judge = judging(("one", 0.4), ("two", 0.8))
    trial = await play_all_judged(judge, "one", "two", "two", "one", early_vote_stop=False)
    assert [step.outcome for step in trial.steps] == ["judged", "judged", "duplicate", "duplicate"]
    assert [step.value for step in trial.steps] == [0.4, 0.8, 0.8, 0.4]
    assert [step.votes for step in trial.steps] == [5, 5, 0, 0]
    assert trial.best == (0, 1, 1, 1)


async def test_a_sample_without_a_score_is_the_last_choice() -> None:
    judge = ScriptedBackend(lambda m, s: "who knows" if "one" in m[0].text[-4:] else "Final Judgement: No")
    trial = await play_all_judged(judge, "one", "two", "one")
    assert [step.value for step in trial.steps] == [None, 0.0, None]
    assert trial.best == (0, 1, 1)
    assert trial.spent(2).calls == 3 + len(judge.calls)


async def test_one_run_at_the_largest_n_tells_every_smaller_one() -> None:
    for index in range(6):
        cell = Cell("held_out", index, 0)
        whole = await moody_player().play(best_of_all(32), cell)
        assert len(whole.steps) == 33
        for budget in BUDGETS:
            alone = await moody_player().play(best_of_all(budget), cell)
            assert alone.answer(budget) == (unjudged(whole.answer(0)) if budget == 0 else whole.answer(budget))
            assert alone.spent(budget) == whole.spent(budget)


async def test_both_kinds_of_best_of_n_share_what_was_generated(tmp_path: Path) -> None:
    """The same samples by the same seeds, and the same votes: after the one, the other asks only for what is new."""
    cells = [Cell("held_out", index, 0) for index in range(6)]
    until = main_arms(["best_of_n"], budget=8, best_of=8, best_of_all=8)[1]
    with CompletionStore(tmp_path / "store.sqlite") as store:
        cached = {name: CachedBackend(Moody(says), store, identity=name) for name, says in
                  (("actor", actor), ("refiner", refiner))}  # fmt: skip
        models = Backends(actor=cached["actor"], judge=cached["refiner"], refiner=cached["refiner"])
        playing = Player(models={"none": models}, live=models, templates=COMPACT)
        for cell in cells:
            whole = await playing.play(best_of_all(8), cell)
            misses = [one.misses for one in cached.values()]
            stopped = await playing.play(until, cell)
            assert [one.misses for one in cached.values()] == misses
            assert stopped.steps == whole.steps[: len(stopped.steps)]
            assert stopped.spent(8).tokens <= whole.spent(8).tokens


async def test_best_of_n_is_timed_at_every_budget(tmp_path: Path) -> None:
    models = Backends(actor=Moody(actor), judge=Moody(refiner), refiner=Moody(refiner))
    items = timed([best_of_all(4)], split="held_out", prompts=2, budgets=(0, 2, 8))
    times = Times.read(await time_all(models, COMPACT, items, out=tmp_path / "seconds.jsonl")).seconds
    assert set(times[BEST_OF_ALL]) == {0, 2, 4}
    assert times[BEST_OF_ALL][0] < times[BEST_OF_ALL][4]


def unjudged(step: Step) -> Step:
    """At budget 0 a search asks for no judgement, where a larger one knows it."""
    return replace(step, outcome="unjudged", value=None, accepted=False, votes=0, vote_tokens=0)


async def test_a_seed_gives_the_same_trial_whatever_the_calls_take() -> None:
    arms = [
        *main_arms([*STRATEGIES, BEST_OF_ALL], budget=15, best_of=15, best_of_all=15),
        *(a for a in ablation_arms(deep=32) if a.nested),
    ]
    for arm in arms:
        trials = [await moody_player().play(arm, Cell("held_out", 3, 1)) for _ in range(3)]
        assert trials[0] == trials[1] == trials[2], arm.name


async def test_a_text_hears_the_same_votes_wherever_it_stands() -> None:
    judge = TextJudge(backend=Moody(refiner), templates=COMPACT, seed=7, early_stop=False)
    one = await judge.judge(ASK, "text 1", seed=1)
    assert await judge.judge(ASK, "text 1", seed=2) == one
    assert {vote.text for vote in (await judge.judge(ASK, "text 2", seed=1)).votes} != {v.text for v in one.votes}
    assert len({vote.text for vote in one.votes}) > 1
    early = await replace(judge, early_stop=True).judge(ASK, "text 1", seed=3)
    assert one.votes[: len(early.votes)] == early.votes
    assert early.accepted == one.accepted


async def test_equal_calls_are_made_once_and_charged_each_time(tmp_path: Path) -> None:
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


async def test_a_caller_that_leaves_does_not_take_the_call_with_it(tmp_path: Path) -> None:
    with CompletionStore(tmp_path / "store.sqlite") as store:
        cached = CachedBackend(ScriptedBackend(always("yes"), latency_s=0.02), store, identity="a")
        first, second = (asyncio.create_task(cached.complete(ASK, Sampling(seed=1))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).text == "yes"


def test_whatever_changes_an_answer_changes_its_key() -> None:
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


def test_a_store_survives_its_killed_process(tmp_path: Path) -> None:
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
        kept = [n for n in range(1000) if store.find(str(n).encode())]
        assert len(kept) > 850
        assert all(store.find(str(n).encode()) == Completion(f"text {n}", "stop", Usage(1, n)) for n in kept)


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database, and long enough to be told from an empty one" * 20)
    with pytest.raises(DataError, match=r"store\.sqlite: cannot be used as a store"):
        CompletionStore(tmp_path / "store.sqlite").__enter__()


@pytest.mark.parametrize("templates", ["compact", "default"])
async def test_oracles_know_the_truth_and_leave_the_rest_to_the_model(templates: str) -> None:
    texts = load_templates(templates)
    examples = [draw_example("held_out", index) for index in range(40)]
    chats = ChatReader(texts, examples)
    inner = ScriptedBackend(always("inner"))
    judge = OracleJudge(inner, chats, count=len)
    mender = OracleRefiner(inner, chats, count=len)
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
            mended = extract_refined((await mender.complete(turns, Sampling(seed=number))).text, text)
            assert mended.text is not None
            assert all(finding.passed for finding in verify(checks, mended.text))
            assert (await judge.complete(turns, Sampling())).text == "inner"
            assert (await mender.complete(texts.judge(conversation, text), Sampling())).text == "inner"
    assert (await judge.complete(ASK, Sampling())).text == "inner"


def test_a_prompt_that_holds_the_judges_own_words_is_still_read() -> None:
    example = draw_example("held_out", 0)
    tricky = replace(example, prompt=replace(example.prompt, text=f"{example.prompt.text}\nResponse: not yet"))
    (chat,) = COMPACT.judge((Message("user", tricky.prompt.text),), "Here.\nResponse: there")
    asked = ChatReader(COMPACT, [example, tricky]).read([chat])
    assert asked is not None
    # Both prompts fit the text; the shorter one's response would hold the rest.
    assert asked.example is example
    asked = ChatReader(COMPACT, [tricky]).read([chat])
    assert asked is not None
    assert (asked.example, asked.response) == (tricky, "Here.\nResponse: there")


async def test_a_search_with_perfect_halves_ends_with_a_right_answer() -> None:
    examples = [draw_example("held_out", index) for index in range(10)]
    chats = ChatReader(COMPACT, examples)
    inner = ScriptedBackend(always("no text at all"))
    both = OracleJudge(OracleRefiner(inner, chats, count=len), chats, count=len)
    models = Backends(actor=inner, judge=both, refiner=both)
    playing = Player(models={"both": models}, live=models, templates=COMPACT)
    arm = next(arm for arm in oracle_arms(budget=8) if arm.oracle == "both")
    for index in range(10):
        trial = await playing.play(arm, Cell("held_out", index, 0))
        assert (trial.answer(8).strict, trial.answer(8).accepted) == (True, True)


async def test_what_cancelled_calls_had_said_counts_as_spent() -> None:
    class Slow(ScriptedBackend):
        async def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
            async for delta in super().stream(messages, sampling):
                await asyncio.sleep(0.005)
                yield delta

    metered = MeteredBackend(Slow(always("one two three four five six seven eight nine ten")))
    task = asyncio.create_task(metered.complete(ASK, Sampling()))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 1 <= metered.lost_tokens < 10
    whole = await metered.complete(ASK, Sampling())
    assert whole.text == "one two three four five six seven eight nine ten"
    assert whole.usage.completion_tokens == 10


async def test_the_account_of_a_search_that_cancels_is_whole() -> None:
    arm = next(arm for arm in ablation_arms(deep=8) if arm.live)
    cancelled = 0
    for index in range(12):
        playing = moody_player()
        trial = await playing.play(arm, Cell("held_out", index, 0))
        models = playing.live
        made = [backend.calls for backend in (models.actor, models.judge, models.refiner) if isinstance(backend, Moody)]
        assert trial.spent(8).calls == sum(map(len, made))
        assert len(trial.steps) <= 9
        cancelled += sum(step.outcome == "cancelled" for step in trial.steps)
    assert cancelled


async def test_a_run_is_played_once_and_its_rows_are_read_again(tmp_path: Path) -> None:
    arms = main_arms(METHODS, budget=4, best_of=6, best_of_all=5)
    items = plays(arms, split="held_out", prompts=4, seeds=2)
    rows = await play_all(moody_player(), items, out=tmp_path / "trials.jsonl")
    trials = by_arm(arms, rows)
    assert {len(ours) for ours in trials.values()} == {8}
    silent = ScriptedBackend(always("never asked"))
    models = Backends(actor=silent, judge=silent, refiner=silent)
    again = Player(models={"none": models}, live=models, templates=COMPACT)
    assert by_arm(arms, await play_all(again, items, out=tmp_path / "trials.jsonl")) == trials
    assert not silent.calls
    drafts = {arm: [trial.steps[0].made_tokens for trial in ours] for arm, ours in trials.items() if arm != "greedy"}
    assert len({tuple(tokens) for tokens in drafts.values()}) == 1


async def test_a_search_that_no_budget_cut_is_timed_once(tmp_path: Path) -> None:
    actor, refiner_ = ScriptedBackend(always("draft"), latency_s=0.01), ScriptedBackend(refiner, latency_s=0.01)
    models = Backends(actor=actor, judge=refiner_, refiner=refiner_)
    arms: list[Arm] = main_arms(["bfs"], budget=8, best_of=8, best_of_all=8)
    items = timed(arms, split="held_out", prompts=3, budgets=(0, 1, 2, 8))
    rows = await time_all(models, COMPACT, items, out=tmp_path / "seconds.jsonl")
    times = Times.read(rows).seconds
    assert set(times["bfs"]) == {0, 1, 2, 8}
    assert set(times["greedy"]) == {0}
    assert times["bfs"][0] < times["bfs"][1] <= times["bfs"][8]


async def test_the_bench_judges_as_the_server_does() -> None:
    """But for whose random stream a vote is drawn from, a played search is a `Searcher` with its config."""
    arm = main_arms(["bfs"], budget=6, best_of=6, best_of_all=6)[1]
    cell = Cell("held_out", 0, 0)
    backend = ScriptedBackend(lambda m, s: refiner(m, replace(s, seed=None)))
    models = Backends(actor=ScriptedBackend(always("draft")), judge=backend, refiner=backend)
    trial = await Player(models={"none": models}, live=models, templates=COMPACT).play(arm, cell)
    roles = Models(
        actor=models.actor,
        judge=Judge(backend=backend, templates=COMPACT),
        refiner=Refiner(backend=backend, templates=COMPACT),
    )
    config = SearchConfig(budget=6, stop="level", seed=cell.search_seed)
    result = await Searcher(roles, config).run((Message("user", cell.prompt.text),))
    assert trial.answer(6).value == result.value
    assert trial.spent(6).nodes == result.nodes
    assert trial.spent(6).tokens == sum(usage.completion_tokens for usage in result.usage.values())
