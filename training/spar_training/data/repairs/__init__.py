"""Repairs of answers by program, where their constraints allow one."""
