"""Prompt template sets and their rendering."""

from spar_core.prompts.templates import SHIPPED_SETS, Templates, load_templates

__all__ = ["SHIPPED_SETS", "Templates", "load_templates"]
