"""Judge by a checklist: an instruction item by item, by code where it can be verified and by votes where it cannot."""

from spar_core.checklist.extractors import Extraction, Extractor, ModelExtractor, RuleExtractor
from spar_core.checklist.items import Checklist, Dropped, Item
from spar_core.checklist.judge import ChecklistJudge
from spar_core.checklist.judgement import ChecklistJudgement, ItemResult, checklist_of
from spar_core.checklist.rules import recognize

__all__ = [
    "Checklist",
    "ChecklistJudge",
    "ChecklistJudgement",
    "Dropped",
    "Extraction",
    "Extractor",
    "Item",
    "ItemResult",
    "ModelExtractor",
    "RuleExtractor",
    "checklist_of",
    "recognize",
]
