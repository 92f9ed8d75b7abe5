"""Words for constraints, and the forms and topics of our own tasks. All written for this project."""

from __future__ import annotations

from typing import Final

KEYWORDS: Final = tuple(
    """
    anchor apple autumn balance basket beach bicycle blanket border bottle bread breakfast breeze bridge butter camera
    candle carpet castle chance cheese choice circle climate coffee color comfort compass copper corner cotton courage
    courtyard culture curtain dance desert dinner distance dragon dream effort energy evening family farmer feather
    festival field flower forest fortune freedom friend future garden glass gravity guitar habit hammer harbor harvest
    history hobby holiday honey horizon hospital island jacket journey kitchen knowledge ladder lantern laughter lemon
    letter library light local machine market memory mirror moment morning mountain music nature neighbor notebook ocean
    orange palace paper patience pepper picture planet pocket promise puzzle quality question rabbit rainbow reason
    recipe respect rhythm river rocket sailor salad sample school season secret shadow signal silence silver simple
    skill soldier spirit spring station storm strategy street summer sunset support talent teacher texture theater
    thunder ticket tradition travel treasure tunnel umbrella valley victory village voice walnut weather window winter
    wisdom wonder yellow
    """.split()
)
# Words that models use often, so that forbidding them is a real constraint.
COMMON_WORDS: Final = tuple(
    """
    about after also always amazing another because before best better both could different each enjoy ensure every
    experience feel find first friends from good great have help however important include into just know like long love
    make many more most much need never other overall people perfect place really should some special such take than
    that their then there they things this through time together used very well what when which while will wonderful
    work world would your
    """.split()
)
OPENING_WORDS: Final = (
    "after", "although", "because", "before", "despite", "every", "finally", "first", "however", "imagine", "many",
    "most", "nature", "once", "people", "perhaps", "some", "there", "today", "together", "when", "while", "yesterday",
)  # fmt: skip
END_PHRASES: Final = (
    "That is all for now.",
    "I hope this helps you.",
    "Now it is your turn.",
    "And so the story ends.",
    "Let me know what you think.",
    "There is nothing more to say.",
    "Thank you for your time.",
    "What would you do?",
    "Is there anything to add?",
    "Good luck with it!",
    "Please write back soon.",
    "The rest is up to you.",
    "This is where I stop.",
    "Take care until then.",
    "Everything else can wait.",
    "Do you see it differently?",
)
TASK_FORMS: Final = (
    "Write a short story about {topic}.",
    "Write a poem about {topic}.",
    "Write a letter to a friend about {topic}.",
    "Write an email to a colleague about {topic}.",
    "Write a short essay about {topic}.",
    "Write a blog post about {topic}.",
    "Write an advertisement for {topic}.",
    "Explain {topic} to a child.",
    "Give some advice about {topic}.",
    "Describe {topic}.",
    "What should everybody know about {topic}?",
    "What are the good and the bad sides of {topic}?",
    "Write a dialogue between two neighbors about {topic}.",
    "Write a limerick about {topic}.",
    "Tell me a joke about {topic}.",
    "Write a product review of {topic}.",
    "Draft a short speech about {topic}.",
    "Make a plan for a day with {topic}.",
    "Write a riddle about {topic}.",
    "Summarize what is known about {topic}.",
    "Write a song about {topic}.",
    "Write a newspaper article about {topic}.",
    "Can {topic} make people happy?",
    "Will {topic} still matter in fifty years?",
    "Should everyone know about {topic}?",
    "Does everybody like {topic}?",
    "Did people a hundred years ago care about {topic}?",
    "Write a social media post about {topic}.",
    "Give three reasons for {topic}.",
    "Compare {topic} with something similar.",
)
TOPICS: Final = (
    "a bakery that never closes", "a birthday party", "a broken clock", "a camping trip", "a chess club",
    "a cold winter morning", "a day at the zoo", "a family reunion", "a farmers market", "a first day at work",
    "a flat tire", "a flower shop", "a garden in spring", "a ghost in the attic", "a lighthouse", "a long train ride",
    "a lost suitcase", "a mountain hike", "a museum visit", "a new neighbor", "a noisy office", "a pet hamster",
    "a pottery class", "a power outage", "a rainy afternoon", "a robot cook", "a roller coaster", "a school play",
    "a small boat", "a soccer match", "a street musician", "a swimming lesson", "a treehouse", "a used car",
    "a vegetarian diet", "a walk in the fog", "a weekend in the city", "a yard sale", "afternoon naps", "baking bread",
    "bird watching", "board games", "carpooling", "city parks", "climbing", "cold showers", "collecting stamps",
    "cooking for one", "cycling to work", "drinking more water", "early mornings", "electric scooters", "fishing",
    "folk music", "gardening on a balcony", "growing tomatoes", "handwritten letters", "hot air balloons",
    "house plants", "ice skating", "jazz", "jigsaw puzzles", "juggling", "keeping a diary", "kites", "knitting",
    "learning the piano", "living abroad", "making soup", "meditation", "moving house", "night buses", "old maps",
    "online lessons", "paper airplanes", "photography", "public libraries", "reading aloud", "recycling",
    "remote work", "road trips", "running a marathon", "sailing", "saving money", "second-hand clothes", "snow days",
    "solar panels", "street food", "sunflowers", "swapping books", "tea", "the first snow", "the moon",
    "the northern lights", "the tides", "thunderstorms", "time management", "traveling alone", "video calls",
    "volunteering",
    "wild mushrooms", "wooden toys", "yoga",
)  # fmt: skip
