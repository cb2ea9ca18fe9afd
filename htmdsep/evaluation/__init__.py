"""Evaluation: metrics, oracles, tables and pictures; needs `pip install 'htmdsep[eval]'`."""
