"""Executed notebooks for a browser: one HTML file each, and what such a file shares with the book."""
