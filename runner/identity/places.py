"""Moved to `fingerprints.places`."""

from fingerprints.places import PLACES as PLACES
from fingerprints.places import Place as Place
