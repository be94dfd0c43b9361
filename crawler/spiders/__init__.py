"""Spiders: what is visited, and what on a page is an image."""
