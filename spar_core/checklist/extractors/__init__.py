"""Turn a conversation into a checklist: by rules, without a model, and by a model."""

from spar_core.checklist.extractors.base import Extraction, Extractor
from spar_core.checklist.extractors.model import ModelExtractor
from spar_core.checklist.extractors.rules import RuleExtractor

__all__ = ["Extraction", "Extractor", "ModelExtractor", "RuleExtractor"]
