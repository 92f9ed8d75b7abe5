"""The words that sentence splitting depends on, in lower case and without the final full stop.

They are the part of NLTK's English Punkt model that matters in real texts. IFEval counts sentences with that model, so
counts only agree if the same words are treated in the same way, including its oddities (`etc.`, `e.g.` and `Capt.` are
not abbreviations). The model's 20,000 word statistics are reduced to words that are frequent at the start of English
sentences.
"""

from __future__ import annotations

from typing import Final

# A full stop after one of these ends a sentence only before an opener.
ABBREVIATIONS: Final = frozenset(
    (
        # titles
        "mr mrs ms dr prof messrs sr jr st adm col gen lt maj rep reps sen "
        # months and days
        "jan feb aug sep sept oct nov dec tues wed fri "
        # companies
        "bros chg cie co corp inc ltd "
        # American states
        "ala ariz calif colo conn fla ga ill kan ky mich minn nev okla ore pa tenn va vt wash wis "
        # other words
        "ct yr vs ft ok mg sw ave cos "
        # places, degrees and times
        "a.d a.m a.m.e d.c l.a m.b.a p.m ph.d u.k u.n u.s u.s.a u.s.s.r n.c n.d n.h n.j n.m n.v n.y r.i s.c w.va "
        # initials of names
        "a.a a.c a.g a.h a.s a.t b.f b.v c.i.t c.o.m.b c.v d.h d.w e.f e.h e.l e.m f.g f.j g.d "
        "g.f g.k h.c h.f h.m i.m.s j.b j.c j.j j.k j.p j.r l.f l.p m.d.c m.j p.a.m r.a r.h r.j "
        "r.k r.t s.a s.a.y s.g s.p.a s.s t.j w.c w.r w.w "
        # single letters: the others only keep a sentence open before a name
        "c d e f g h k l m n p r s t v w"
    ).split()
)

# Words that open a sentence if capitalised after an abbreviation or an ellipsis: they are hardly ever capitalised
# inside a sentence.
OPENERS: Final = frozenset(
    """
    above according accordingly adding address administrations afterward alike allows ally almost along although
    altogether always amends among amount animals anyone anything anyway approximately arguing arrange article
    artist ask assume assuming atoms automobile begin believing besides between bias blood both breath broadly
    build businesses but calculate call carbon carrying categories cells certainly character check chest choice
    choices choose chose claim clashes closing collective combined combining comments communism compare compared
    complaining complete compounds compression conclusion conduct consider considering consistent context
    convert copyright correspondents craft create creating creation cultural currently custom customer damn date
    debates decide decrease decreased deep defendant define deny describe description desperate despite details
    detection determine develop developing dialogue die different direct discuss dividing document does draft
    earlier early eating eight either electrons embrace ensure establishes ethical evaluate even eventually
    evidence examination example examples except experience experiment experimental experiments explain
    explanation extending extract famous fearing female figure file fill finally finish follow following
    fundamental furthermore generate given global going governments he headline hearing helping hence her here
    highlight historian hoping horrified however hunting i if ignoring images imagine immediately implement
    implementing improve in include including incorporate increased indeed independent indirect individuals
    input inside instead instructions interesting intermittent invalid it item justify kids knowledge lack
    larceny larger likewise list located looking maintain male many marginal mathematics meanwhile medications
    mention message moments moreover most multiple murder muscle negative neighbor neither nevertheless
    nonetheless nor note nothing number okay older one-third otherwise overall paraphrase participants passage
    patients perfect person personal physical pick pill plastic play please political positive practice predict
    prepare present prince prior problem process product program programming promises prompt prosperity provide
    pulmonary put question questions readers realizing recently refer regarding regardless regular regularly
    rejected remember remove replace requires researchers residents respond response responses results right rob
    sales sample scenario section seeing select selected selling send sensation sent sentence separate separated
    separately seven shooting shortly similarly simple since sitting smaller smoking so solution solve solving
    some someone sometimes soon sorry sounds source speaking specifically spoiler spread starting statement step
    structure subsequent subsequently substituting subtracting such suddenly suggest sum sunny suppose surprised
    symptoms taking task taxi team temperature ten tension text thank thanks the there thereafter therefore
    these they think this though through throughout thus title together tourist traditional train trains
    transfer translate true try trying turn type ultimately under unfortunately unknown unlike upon user using
    utilize valid very viral wait warm were when whenever whereas whether which while within without writing yes
    yesterday yet your
    """.split()
)

# Ordinary words that are often capitalised inside a sentence as well. After an abbreviation they show nothing, but
# after a single letter they show that no name follows.
ORDINARY: Final = frozenset(
    """
    a about add after all also an and another answer any are art as at avoid based be because before bill bob
    business by can cats changing children china come congress could current data design did do due during each
    end every everything express false find first five food for four from further generally give go god good
    grace great group half have health help high his how human identify increase inflation intermediate is its
    just keep last late later let like line look love lower main make mark may maybe medical men more move my
    name never new next no none not now obviously of on once one only open options or other our out output over
    part peace people police president read representative research several she should six social start state
    students supreme sure take tell test that their then those three to today total two use vital was water we
    well what whatever where white who why will with women would write you
    """.split()
)

# Words that continue the sentence after a number and a full stop.
AFTER_NUMBER: Final = frozenset(
    (
        "international commodities insider aes credit corrections financing business leisure dividend "
        "review abreast who letters notable cooper pepper henley colgate"
    ).split()
)
