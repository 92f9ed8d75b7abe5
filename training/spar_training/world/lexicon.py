"""The words of the world: subjects, nouns, adjectives and the sentences they fill.

No noun in `NOUNS` is a substring of another word in this file, because IFEval's keyword checks search
for substrings. No sentence starts with a one-letter word, because `A` counts as a word in capitals.
"""

from __future__ import annotations

from typing import Final

PLACES: Final = (
    "river", "lighthouse", "bakery", "garden", "library", "market", "harbor", "museum",
    "station", "forest", "village", "castle", "bridge", "school", "farm", "beach",
)  # fmt: skip
ANIMALS: Final = (
    "fox", "owl", "cat", "dog", "horse", "turtle", "rabbit", "bear",
    "whale", "robin", "goat", "frog", "tiger", "pony", "duck", "wolf",
)  # fmt: skip
THINGS: Final = (
    "clock", "kite", "bicycle", "piano", "lantern", "telescope", "mirror", "violin",
    "camera", "boat", "train", "drum", "compass", "teapot", "blanket", "ladder",
)  # fmt: skip
FOODS: Final = ("soup", "bread", "cheese", "honey", "pizza", "salad", "pudding", "rice")
JOBS: Final = ("baker", "pilot", "farmer", "painter", "teacher", "doctor", "sailor", "gardener")
SUBJECTS: Final = PLACES + ANIMALS + THINGS + FOODS + JOBS

NOUNS: Final = (
    "lamp", "stone", "feather", "ribbon", "candle", "basket", "bottle", "button",
    "coin", "cushion", "hammer", "jacket", "kettle", "letter", "marble", "needle",
    "notebook", "pebble", "pencil", "pillow", "plate", "pocket", "poster", "puzzle",
    "radio", "robot", "rope", "scarf", "shell", "shovel", "spoon", "statue",
    "tent", "ticket", "towel", "toy", "tray", "tunnel", "vase", "wagon",
    "wallet", "wheel", "whistle", "window", "badge", "banner", "barrel", "bell",
    "bench", "bowl", "branch", "brick", "broom", "brush", "bucket", "cabin",
    "carpet", "chair", "chest", "cloud", "coat", "crown", "curtain", "desk",
    "door", "fence", "flag", "flower", "flute", "fountain", "gift", "glove",
    "guitar", "helmet", "jar", "knife", "leaf", "mask", "medal", "moon",
)  # fmt: skip
ADJECTIVES: Final = (
    "old", "small", "bright", "quiet", "green", "blue", "warm", "cold", "tall", "soft",
    "simple", "famous", "gentle", "lovely", "busy", "clean", "heavy", "round", "golden",
    "wooden", "strange", "happy", "calm", "plain",
)  # fmt: skip
TIMES: Final = ("morning", "evening", "night", "winter", "summer", "spring", "autumn", "weekend")

ENDINGS: Final = (
    "That is all.", "See you soon.", "Come and look.", "Have a nice day.", "Thank you for reading.",
    "The end.", "Good luck to you.", "More news will follow.", "Now you know.", "Take care of it.",
    "Life is good.", "This is my story.", "Tell your friends.", "Rest well tonight.",
    "Nothing else matters.", "We hope you smile.",
)  # fmt: skip

PLACEHOLDERS: Final[dict[str, tuple[str, str]]] = {
    "name": ("Please ask [name] about it.", "Please ask someone about it."),
    "date": ("It all began on [date].", "It all began on Monday."),
    "price": ("You can get it for [price].", "You can get it for nothing."),
    "address": ("Send your questions to [address].", "Send your questions to us."),
    "place": ("We saw it first in [place].", "We saw it first in town."),
    "number": ("Call us at [number] to hear more.", "Call us at home to hear more."),
}

_PLACE_LINES = (
    "The {S} is {a} and {b}.",
    "Many people visit the {S} in {season}.",
    "The {S} is {a} at night.",
    "Children play near the {S} every {t}.",
    "Everyone here knows the {S}.",
    "You can walk to the {S}.",
    "The {S} looks {a} in {season}.",
)
_ANIMAL_LINES = (
    "The {S} is {a} and {b}.",
    "The {S} sleeps for hours.",
    "Many people like the {S}.",
    "The {S} runs around every {t}.",
    "This {S} lives in our town.",
    "The {S} looks {a} in {season}.",
    "Children wait for the {S}.",
)
_THING_LINES = (
    "The {S} is {a} and {b}.",
    "My father made the {S}.",
    "This {S} was very {a}.",
    "We use the {S} every {t}.",
    "The {S} works well in {season}.",
    "Many people want the {S}.",
    "Everyone looks at the {S}.",
)
_FOOD_LINES = (
    "The {S} is {a} and fresh.",
    "We eat the {S} every {t}.",
    "My mother makes the {S}.",
    "Many people love the {S}.",
    "This {S} is best in {season}.",
    "The {S} smells {a}.",
    "Everyone wants more of the {S}.",
)
_JOB_LINES = (
    "The {S} is {a} and {b}.",
    "The {S} works every {t}.",
    "Many people thank the {S}.",
    "This {S} has a {a} smile.",
    "The {S} goes home in the evening.",
    "Children listen to the {S}.",
    "Everyone trusts the {S}.",
)
SUBJECT_LINES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(PLACES, _PLACE_LINES),
    **dict.fromkeys(ANIMALS, _ANIMAL_LINES),
    **dict.fromkeys(THINGS, _THING_LINES),
    **dict.fromkeys(FOODS, _FOOD_LINES),
    **dict.fromkeys(JOBS, _JOB_LINES),
}

# Sentences with room for a noun: this is where a required keyword goes.
NOUN_LINES: Final = (
    "There is a {n} near the {S}.",
    "You may see a {n} there.",
    "Someone left a {n} behind.",
    "We found a {n} that day.",
    "The {n} makes it special.",
    "People often bring a {n}.",
    "The {n} is very {a}.",
    "It reminds me of a {n}.",
    "Do not forget the {n}.",
)
# The same sentence with a comma, and without it.
COMMA_LINES: Final = (
    ("In the {t}, the {S} is {a}.", "In the {t} the {S} is {a}."),
    ("The {S} is {a}, {b} and {c}.", "The {S} is {a} and {b} and {c}."),
    ("Some say it is {a}, but few agree.", "Some say it is {a} but few agree."),
    ("After that, people go home.", "After that people go home."),
)
