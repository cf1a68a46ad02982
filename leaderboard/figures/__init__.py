"""Figures, one function each: rows of results in, a Vega-Lite specification out, which `style.svg` draws.

Altair writes the specifications and vl-convert draws them without a browser; a page can show the same ones alive.
"""
