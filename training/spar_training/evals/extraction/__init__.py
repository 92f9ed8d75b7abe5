"""How well checklists are extracted from instructions."""
