"""How long tests wait for what must happen, and for which nobody is promised a time.

A machine that is used by others may take twenty times as long as an idle one. What does have a promised time (a crash
is told within two seconds, a dead runner's browsers are gone after five) says so where it is tested.
"""

PATIENCE = 90.0  # seconds
