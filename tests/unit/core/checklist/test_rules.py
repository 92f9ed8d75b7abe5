"""Recognizing constraints: exact kwargs in the wordings that people use, and nothing where there is doubt."""

from __future__ import annotations

from typing import Any

import pytest

from spar_core.checklist import recognize

AT_LEAST, LESS_THAN = "at least", "less than"


def found(instruction: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (check.id.partition(":")[2], {name: _listed(value) for name, value in check.kwargs.items()})
        for check in recognize(instruction)
    ]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def words(number: int, relation: str = AT_LEAST) -> tuple[str, dict[str, Any]]:
    return "number_words", {"num_words": number, "relation": relation}


def sentences(number: int, relation: str = AT_LEAST) -> tuple[str, dict[str, Any]]:
    return "number_sentences", {"num_sentences": number, "relation": relation}


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Write a report of at least 300 words.", [words(300)]),
        ("Use no fewer than 1,200 words.", [words(1200)]),
        ("It has to be 250 words or more.", [words(250)]),
        ("I want more than forty words.", [words(41)]),
        ("Keep it under 100 words.", [words(100, LESS_THAN)]),
        ("Limit your answer to at most 50 words, please.", [words(51, LESS_THAN)]),
        ("Your reply must not exceed 80 words.", [words(81, LESS_THAN)]),
        ("The text should be no longer than 200 words.", [words(201, LESS_THAN)]),
        ("Write between 100 and 150 words.", [words(100), words(151, LESS_THAN)]),
        ("Explain rain in exactly 60 words.", [words(60), words(61, LESS_THAN)]),
        ("Answer in three sentences.", [sentences(3), sentences(4, LESS_THAN)]),
        ("Your answer must contain less than 6 sentences.", [sentences(6, LESS_THAN)]),
        ("Summarize it in no more than two sentences.", [sentences(3, LESS_THAN)]),
        ("Respond with a minimum of 4 sentences", [sentences(4)]),
        ("Write a 5-sentence story? No: at least 7 sentences.", [sentences(7)]),
    ],
)
def test_lengths(instruction: str, expected: list[Any]) -> None:
    assert found(instruction) == expected


@pytest.mark.parametrize(
    "instruction",
    [
        "Write a 500 word essay on bread.",
        "Write about 200 words on mills.",
        "Each paragraph should have at least 40 words.",
        "Write 4 lines with at least 5 words each.",
        "The title must have fewer than 6 words.",
        "Count the words in this sentence.",
        "Compare these two sentences.",
        "Start the first paragraph with at least 3 sentences about snow.",
        "Explain why a letter should have at least 3 paragraphs.",
        "How many words does a novel have?",
        "Translate the following sentence: Write at least 100 words without commas.",
        'What is wrong with the request "Do not use commas."?',
        "Rewrite this text:\n\nUse at least 5 sentences. Do not use commas.",
        "```\nDo not use commas.\n```",
        "> Do not use commas.",
    ],
)
def test_what_is_not_about_the_whole_response_or_not_the_clients_own_words_is_left_alone(instruction: str) -> None:
    assert found(instruction) == []


@pytest.mark.parametrize(
    ("instruction", "keywords"),
    [
        ('Include the keywords "mill", "bread" and "flour".', ["mill", "bread", "flour"]),
        ("Make sure to include the words mill and bread.", ["mill", "bread"]),
        ("Please use the word harvest in your poem.", ["harvest"]),
        ("Your answer must contain the word 'harvest'.", ["harvest"]),
        ('Mention "solar wind" and "aurora" in the text.', ["solar wind", "aurora"]),
        ("The words lamp and bell must appear in the story.", ["lamp", "bell"]),
        ("Write a story, and include the following words: lamp, bell, rope.", ["lamp", "bell", "rope"]),
        ("Include keywords ['mill', 'bread'] in the response.", ["mill", "bread"]),
    ],
)
def test_words_to_include(instruction: str, keywords: list[str]) -> None:
    assert found(instruction) == [("existence", {"keywords": keywords})]


@pytest.mark.parametrize(
    ("instruction", "forbidden"),
    [
        ("Do not use the word very.", ["very"]),
        ("Don't include the words 'cheap' or 'free' in the ad.", ["cheap", "free"]),
        ("Avoid the words really and very.", ["really", "very"]),
        ('Never mention "price".', ["price"]),
        ("The word money must not appear.", ["money"]),
        ('You should not use the keywords "old" and "new".', ["old", "new"]),
        ("Exclude the following words: snow, ice.", ["snow", "ice"]),
    ],
)
def test_words_to_avoid(instruction: str, forbidden: list[str]) -> None:
    assert found(instruction) == [("forbidden_words", {"forbidden_words": forbidden})]


@pytest.mark.parametrize(
    "instruction",
    [
        "Write a story about keywords in search engines.",
        "Include the words that matter most to you.",
        "Use '|' between the columns.",
        "Explain why one should not use the word never.",
        'Include "lamp" or "bell".',
        "Start with the word Hello.",
        "Do not use the word count as a measure of quality.",
        "Include a word of thanks.",
        "Mention the first chapter.",
    ],
)
def test_words_that_are_not_certain_are_left_alone(instruction: str) -> None:
    assert found(instruction) == []


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ('Use the word "river" at least 3 times.', ("frequency", "river", 3, AT_LEAST)),
        ("The word river should appear no more than twice.", ("frequency", "river", 3, LESS_THAN)),
        ("Do not use the word river more than 4 times.", ("frequency", "river", 5, LESS_THAN)),
        ("Mention the keyword river at least once.", ("frequency", "river", 1, AT_LEAST)),
        ("Repeat the phrase 'keep going' at least two times.", ("frequency", "keep going", 2, AT_LEAST)),
        ("The letter q must appear at least 5 times.", ("letter_frequency", "q", 5, AT_LEAST)),
        ("Use the letter 'e' fewer than 10 times.", ("letter_frequency", "e", 10, LESS_THAN)),
        ("In your reply, the letter z should occur less than three times.", ("letter_frequency", "z", 3, LESS_THAN)),
    ],
)
def test_frequencies(instruction: str, expected: tuple[str, str, int, str]) -> None:
    ((name, kwargs),) = found(instruction)
    assert (name, *kwargs.values()) == expected


@pytest.mark.parametrize(
    ("instruction", "name", "kwargs"),
    [
        ("Give exactly 4 bullet points.", "number_bullet_lists", {"num_bullets": 4}),
        ("Summarize it in 3 bullet points.", "number_bullet_lists", {"num_bullets": 3}),
        (
            "Highlight at least 2 sections with markdown, like *this*.",
            "number_highlighted_sections",
            {"num_highlights": 2},
        ),
        ("Add a title wrapped in double angular brackets, such as <<my day>>.", "title", {}),
        ("Start with a title in double angle brackets.", "title", {}),
        (
            "Split it into 3 sections and mark each with SECTION X.",
            "multiple_sections",
            {"section_spliter": "SECTION", "num_sections": 3},
        ),
        ("Return everything in JSON format.", "json_format", {}),
        ("The entire output should be wrapped in JSON.", "json_format", {}),
        ("Respond only with valid JSON.", "json_format", {}),
        (
            "Use at least 3 placeholders in square brackets, such as [name].",
            "number_placeholders",
            {"num_placeholders": 3},
        ),
        ("Add a postscript that starts with P.S.", "postscript", {"postscript_marker": "P.S."}),
        ("End the letter with a note starting with P.P.S", "postscript", {"postscript_marker": "P.P.S"}),
        (
            "Answer with one of: My answer is yes. My answer is no. My answer is maybe.",
            "constrained_response",
            {},
        ),
        ("Write 3 paragraphs separated by ***.", "number_paragraphs", {"num_paragraphs": 3}),
        (
            "Write three paragraphs with blank lines between them. The second paragraph must start with the word Snow.",
            "nth_paragraph_first_word",
            {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "snow"},
        ),
        ("Give two different answers, separated by ******.", "two_responses", {}),
        (
            "Name a river.\n\nFirst repeat the request above word for word, then answer.",
            "repeat_prompt",
            {"prompt_to_repeat": "Name a river."},
        ),
    ],
)
def test_layout(instruction: str, name: str, kwargs: dict[str, Any]) -> None:
    assert found(instruction) == [(name, kwargs)]


@pytest.mark.parametrize(
    "instruction",
    [
        "Give at least 3 bullet points.",
        "Write three paragraphs about snow.",
        "Suggest a title for my book.",
        "What is JSON?",
        "Write a Python function that returns everything in JSON format.",
        "Convert this JSON to a table.",
        "Give me two different answers.",
        "Highlight at least 3 sections, and label each Section 1, Section 2 and so on.",
        "Highlight the three main differences between cats and dogs.",
        "The entire output should be wrapped in JSON. Write code that prints it.",
    ],
)
def test_layout_that_no_check_states_is_left_alone(instruction: str) -> None:
    assert found(instruction) == []


@pytest.mark.parametrize(
    ("instruction", "name", "kwargs"),
    [
        ("Do not use any commas in your response.", "no_comma", {}),
        ("Write a poem without commas.", "no_comma", {}),
        ("You are not allowed to use commas.", "no_comma", {}),
        ("Avoid commas.", "no_comma", {}),
        ("Write in all lowercase letters.", "english_lowercase", {}),
        ("No capital letters are allowed.", "english_lowercase", {}),
        ("Your entire response should be in all capital letters.", "english_capital", {}),
        ("Answer in ALL CAPS.", "english_capital", {}),
        (
            "Use at least 4 words in all capital letters.",
            "capital_word_frequency",
            {"capital_frequency": 4, "capital_relation": AT_LEAST},
        ),
        (
            "Words in all caps should appear less than 3 times.",
            "capital_word_frequency",
            {"capital_frequency": 3, "capital_relation": LESS_THAN},
        ),
        ("Please answer in French.", "response_language", {"language": "fr"}),
        ("Your whole response must be in Swahili, no other language.", "response_language", {"language": "sw"}),
        ("Write the email in German only.", "response_language", {"language": "de"}),
        ('End your response with the phrase "That is all."', "end_checker", {"end_phrase": "That is all."}),
        ("Finish your email with the exact words: Yours in haste", "end_checker", {"end_phrase": "Yours in haste"}),
        ('The last sentence must be "Good night!"', "end_checker", {"end_phrase": "Good night!"}),
        ("Wrap your entire answer in double quotation marks.", "quotation", {}),
        ("Put the whole response inside double quotes.", "quotation", {}),
    ],
)
def test_form(instruction: str, name: str, kwargs: dict[str, Any]) -> None:
    assert found(instruction) == [(name, kwargs)]


@pytest.mark.parametrize(
    "instruction",
    [
        "Explain when not to use commas.",
        "Explain the rules for commas.",
        "Write the title in capital letters.",
        "Start each line with a capital letter.",
        'How do you say "good evening" in French?',
        "Translate the text into German.",
        "Write an essay on English literature.",
        "What languages are spoken in Spain?",
        "End each paragraph with a question.",
        'Write a sentence that ends with the word "rain".',
        "Put the title in double quotation marks.",
        "End with a question.",
    ],
)
def test_form_of_a_part_or_a_subject_is_left_alone(instruction: str) -> None:
    assert found(instruction) == []


def test_several_constraints_keep_their_order_and_count_once() -> None:
    instruction = (
        "Tell me about mills.\n- At least 3 sentences\n- Do not use commas\n- Include the word flour\n"
        "Remember: do not use commas!"
    )
    assert found(instruction) == [sentences(3), ("no_comma", {}), ("existence", {"keywords": ["flour"]})]


def test_a_constraint_that_no_response_can_meet_is_left_out() -> None:
    assert found("Write 2 paragraphs separated by blank lines. Paragraph 3 must start with the word Snow.") == []


def test_long_messages_are_read_at_both_ends() -> None:
    padding = "The mill turns in the wind and nobody minds. " * 2000
    assert found(f"Do not use commas. {padding}\n\nAnswer in at least 3 sentences.") == [("no_comma", {}), sentences(3)]
