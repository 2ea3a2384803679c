"""Finite differences that know their error: noise, steps, ladders with bounds."""
