"""One check of every built-in type."""

from __future__ import annotations

from typing import Any, Final

from spar_core.checks import BUILT_IN_IDS, Check, build_check

# The kwargs of the types that have any.
KWARGS: Final[dict[str, dict[str, Any]]] = {
    "change_case:capital_word_frequency": {"capital_frequency": 2, "capital_relation": "at least"},
    "combination:repeat_prompt": {"prompt_to_repeat": "Write."},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:multiple_sections": {"section_spliter": "Section", "num_sections": 2},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "keywords:existence": {"keywords": ["river"]},
    "keywords:forbidden_words": {"forbidden_words": ["old"]},
    "keywords:frequency": {"keyword": "river", "frequency": 2, "relation": "at least"},
    "keywords:letter_frequency": {"letter": "e", "let_frequency": 2, "let_relation": "at least"},
    "language:response_language": {"language": "en"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "the"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_words": {"num_words": 2, "relation": "at least"},
    "startend:end_checker": {"end_phrase": "Bye."},
    "ifbench-train:copy": {"prompt_to_repeat": "Write."},
    "ifbench-train:copy_span_idx": {"prompt_to_repeat": "Write.", "n_start": 0, "n_end": 3},
    "ifbench-train:copying_multiple": {"prompt_to_repeat": "Write.", "N": 2},
    "ifbench-train:copying_simple": {"prompt_to_repeat": "Write."},
    "ifbench-train:count_increment_word": {"keyword1": "river", "keyword2": "lamp"},
    "ifbench-train:counting_composition": {"n_sent": 1, "n_words": 2},
    "ifbench-train:exclude_word_harder": {"keyword": "old"},
    "ifbench-train:first_word_answer": {"first_word": "river"},
    "ifbench-train:first_word_sent": {"first_word": "river"},
    "ifbench-train:keyword_specific_position": {"keyword": "river", "n": 2, "m": 2},
    "ifbench-train:last_word_answer": {"last_word": "river"},
    "ifbench-train:last_word_sent": {"last_word": "river"},
    "ifbench-train:letter_counting": {"N": 4, "relation": "at least"},
    "ifbench-train:letter_counting2": {"letter": "e", "let_frequency": 2, "let_relation": "at least"},
    "ifbench-train:lowercase_counting": {"N": 2},
    "ifbench-train:repeat_phrase": {"phrase": "a a b a a", "small_n": 2},
    "ifbench-train:word_count_different_numbers": {"keyword": "river", "frequency": 2, "relation": "at least"},
    "ifbench-train:word_once": {"keyword": "river"},
}


def every_check() -> list[Check]:
    """The checks of all sets, in the order of their ids; a type with required kwargs needs a line in `KWARGS`."""
    return [build_check(check_id, KWARGS.get(check_id, {})) for check_id in BUILT_IN_IDS]
