"""What a browser shows of itself: fingerprints drawn from a seed. Standard library only; no I/O but its data file.

`draw` gives the fingerprint of a seed, an OS family and a country. `distributions.json` has the figures and their
sources.
"""

from fingerprints.drawing import draw as draw
from fingerprints.fingerprint import Fingerprint as Fingerprint
